"""``check``: every row of a sheet by the API's rules, with nothing sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bulk_reset.core.argument_types import or_default
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.custom_fields import is_custom
from bulk_reset.core.fields import ID_FIELD, SETTABLE_FIELDS
from bulk_reset.core.outcome import Status
from bulk_reset.core.row_error import RowError
from bulk_reset.engine.comment_groups import GROUPED, SharedRequests
from bulk_reset.engine.options import Options, PathLike
from bulk_reset.quota.windows import ideal_s
from bulk_reset.sheets.profile import Profile, write_profile
from bulk_reset.sheets.sheet import Sheet
from bulk_reset.sheets.validation import CheckedChunk
from bulk_reset.sheets.workbook_source import WorkbookSource
from bulk_reset.workflows.sheet_opening import SheetLike, check_sheet, opened_sheet


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check.

    Attributes:
        skipped: rows that are duplicates of another row.
        to_send: requests that a first run makes at least.
        estimate_s: the time they need, computed from the quota.
        fields: field -> rows that set it.
        row_errors: of invalid rows, in the sheet's order.
        not_edited: rows of a pulled sheet in which nothing was edited.
        header: the names of the sheet's columns.
    """

    sheet: str
    rows: int
    blank_rows: int
    skipped: int
    to_send: int
    estimate_s: float
    fields: dict[str, int]
    row_errors: tuple[RowError, ...]
    not_edited: int = 0
    header: tuple[str, ...] = ()


def check(
    sheet: SheetLike,
    options: Options | None = None,
    callbacks: Callbacks | None = None,
    *,
    save_profile: PathLike | None = None,
    xlsx: PathLike | None = None,
) -> CheckResult:
    """Check every row of a sheet; nothing is sent, and no key is needed.

    Args:
        save_profile: a new file for the profile by which the sheet was read.
        xlsx: a copy of the sheet as a workbook, with each error at its cell.

    Raises:
        SheetError: the sheet cannot be read as a table of incidents.
        InputError: the profile cannot be written, or the file exists already.
    """
    options = or_default("options", options, Options)
    callbacks = or_default("callbacks", callbacks, Callbacks)
    with opened_sheet(sheet, options, callbacks) as table:
        if any(map(is_custom, table.columns.position)):
            from bulk_reset.workflows.custom_fields import check_types  # noqa: PLC0415  (aiohttp)

            check_types(table, options, callbacks)
        fields: Counter[str] = Counter()
        further, shared = 0, SharedRequests()

        def count(checked: CheckedChunk) -> None:
            nonlocal further
            for name, cells in checked.columns.items():
                fields[name] += len(cells) - cells.count("")
            for values in map(checked.values, checked.further_places()):
                further += _further_requests(values)
                for name in values.keys() & GROUPED:
                    shared.add(name, values[name])

        sheet_check = check_sheet(table, options, callbacks, count)
        if save_profile is not None:
            write_profile(Path(save_profile), _profile_in_use(table, options))
        if xlsx is not None:
            from bulk_reset.reports.check_workbook import write_check  # noqa: PLC0415  (openpyxl)

            for notice in write_check(table, Path(xlsx), sheet_check.row_errors):
                callbacks.on_notice(f"{xlsx}: {notice}")
        invalid = len({row_error.row_number for row_error in sheet_check.row_errors})
        skipped = sum(d.status is Status.SKIPPED for d in sheet_check.decisions.values())
        to_send = sheet_check.rows - invalid - skipped - sheet_check.untouched + further
        to_send = max(0, to_send - shared.saved)
        return CheckResult(
            table.label,
            sheet_check.rows,
            sheet_check.blank_rows,
            skipped,
            to_send,
            ideal_s(to_send, options.windows()),
            {name: n for name, n in fields.items() if n and name != ID_FIELD},
            sheet_check.row_errors,
            sheet_check.untouched,
            tuple(table.columns.header),
        )


def _profile_in_use(table: Sheet, options: Options) -> Profile:
    """Return the profile of a sheet with what options added, and the columns that were found."""
    columns, source = table.columns, table.source
    found = {name: columns.name(name) for name in columns.position if name not in columns.made_from}
    profile = table.profile or Profile()
    return replace(
        profile,
        columns=found,
        templates={name: profile.templates[name] for name in columns.made_from},
        worksheet=source.worksheet if isinstance(source, WorkbookSource) else profile.worksheet,
        header_row=source.header_row if source.header_row > 1 else None,
        encoding=options.encoding or profile.encoding,
        delimiter=options.delimiter or profile.delimiter,
    )


def _further_requests(values: Mapping[str, str]) -> int:
    """Return how many requests a row needs besides its first."""
    own = sum(name not in SETTABLE_FIELDS for name in values)
    return own - (own == len(values) and own > 0)
