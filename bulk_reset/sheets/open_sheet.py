"""Opens a sheet of any type: CSV, Excel, standard input, a data frame, a saved plan.

What a profile says about the file holds where no option says something else.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from bulk_reset.core.errors import InputError, SheetError
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.core.option_names import option, option_name
from bulk_reset.core.saved_plan import SavedPlan, is_saved_plan
from bulk_reset.core.temporary_folder import temporary_folder
from bulk_reset.sheets.exact_table import ExactTable
from bulk_reset.sheets.file_types import (
    PARQUET_EXTENSIONS,
    TEXT_EXTENSIONS,
    WORKBOOK_TYPES,
    is_remote,
    kind_of,
)
from bulk_reset.sheets.frame_source import FrameSource
from bulk_reset.sheets.parquet_source import ParquetSource
from bulk_reset.sheets.plan_source import PlanSource
from bulk_reset.sheets.profile import Profile, find_profile, read_profile
from bulk_reset.sheets.sheet import Sheet, Source, unreadable_error
from bulk_reset.sheets.text_files.delimited import DelimitedSource
from bulk_reset.sheets.user_rules import UserRules, read_rules
from bulk_reset.sheets.workbook_source import WorkbookSource
from bulk_reset.sheets.workbooks.workbook import large_workbook_notice

if TYPE_CHECKING:
    import pandas as pd

PathLike = str | os.PathLike[str]
STDIN: Final = "-"


class _Reading(NamedTuple):
    """How a sheet is read; auto-detected where None."""

    mapping: dict[str, str]
    delimiter: str | None
    encoding: str | None
    sheet_name: str | None
    header_row: int | None
    profile: Profile | PathLike | None
    rules: PathLike | None

    def given(self) -> list[str]:
        """Return the names of the options that were set."""
        return [name for name, value in self._asdict().items() if value not in (None, {})]

    def profile_for(self, path: Path | None) -> Profile | None:
        """Return the profile that was given, or the one beside a file; None if there is none."""
        if isinstance(self.profile, Profile):
            return self.profile
        found = find_profile(path) if self.profile is None and path else self.profile
        return None if found is None else read_profile(Path(found))

    def by(self, profile: Profile | None, *, is_text: bool) -> _Reading:
        """Return it with what the profile says about such a file."""
        if profile is None:
            return self
        return self._replace(
            delimiter=self.delimiter or (profile.delimiter if is_text else None),
            encoding=self.encoding or (profile.encoding if is_text else None),
            sheet_name=self.sheet_name or (None if is_text else profile.worksheet),
            header_row=self.header_row or profile.header_row,
        )

    def sheet(
        self, source: Source, label: str, path: Path | None, profile: Profile | None
    ) -> Sheet:
        """Return the sheet of a source."""
        rules = None if self.rules is None else read_rules(Path(self.rules))
        if rules is None and profile is not None and profile.rules:
            rules = UserRules(profile.rules)
        return Sheet(source, label, path, self.mapping, profile, rules=rules)


@contextmanager
def open_sheet(  # noqa: PLR0913  (the reading options)
    sheet: str | os.PathLike[str] | pd.DataFrame | ExactTable,
    *,
    mapping: dict[str, str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    sheet_name: str | None = None,
    header_row: int | None = None,
    profile: Profile | PathLike | None = None,
    rules: PathLike | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Iterator[Sheet]:
    """Open a sheet of any type, find its header and match its columns to fields.

    Args:
        sheet: a path (.csv, .tsv, .txt, .xlsx, .ods), ``-`` for CSV on standard input, a frame, or
            a table in memory.
        mapping: field -> column name, for columns that are not matched by name.
        delimiter: ``comma``, ``semicolon``, ``tab``, ``pipe`` or one character; auto-detected
            if None.
        encoding: a Python codec name; auto-detected if None.
        sheet_name: the worksheet of a workbook; auto-detected if None.
        header_row: the 1-based row of the header; auto-detected if None.
        profile: a profile or its file; the one beside the sheet if None. The other options win.
        rules: a file with the user's own rules; those of the profile if None.
        notify: called with a sentence before an operation that takes long.

    Raises:
        SheetError: the sheet cannot be used; nothing was sent.
        InputError: an option does not fit the sheet.
    """
    if is_remote(sheet):
        from bulk_reset.sheets.remote.address import RemoteAddress  # noqa: PLC0415  (yarl)

        raise InputError(
            f"{RemoteAddress.of(str(sheet)).shown}: an address, not a file. Copy the sheet first: "
            "bulk_reset.workflows.remote_sheet.fetch, or use run, plan or check."
        )
    reading = _Reading(mapping or {}, delimiter, encoding, sheet_name, header_row, profile, rules)
    if not isinstance(sheet, (str, os.PathLike, ExactTable)):
        if header_row is not None:
            raise InputError(
                f"{option_name('header_row')}: a data frame has column names already. "
                "Remove this option."
            )
        yield reading.sheet(FrameSource(sheet), "data frame", None, reading.profile_for(None))
    elif isinstance(sheet, ExactTable):
        yield Sheet(sheet, sheet.label, Path(sheet.label), {})
    elif os.fspath(sheet) == STDIN:
        with _copied_input() as copy:
            yield _text_sheet(copy, None, reading)
    else:
        path = Path(sheet)
        try:
            table = _file_as_sheet(path, reading, notify)
        except OSError as exc:
            raise unreadable_error(str(path), exc) from exc
        yield table


def _file_as_sheet(path: Path, reading: _Reading, notify: Callable[[str], None]) -> Sheet:
    if is_saved_plan(path):
        return _plan_as_sheet(path, reading)
    extension = require_file(path)
    if extension in TEXT_EXTENSIONS:
        return _text_sheet(path, path, reading)
    if extension in PARQUET_EXTENSIONS:
        return _parquet_sheet(path, reading)
    if reading.delimiter is not None or reading.encoding is not None:
        raise InputError(
            f"{option_name('delimiter')}, {option_name('encoding')}: {path} is a workbook. "
            "Remove these options."
        )
    if notice := large_workbook_notice(path):
        notify(f"{path}: {notice}")
    profile = reading.profile_for(path)
    how = reading.by(profile, is_text=False)
    source = WorkbookSource(path, how.sheet_name, how.header_row)
    return reading.sheet(source, str(path), path, profile)


def _parquet_sheet(path: Path, reading: _Reading) -> Sheet:
    for name in ("delimiter", "encoding", "sheet_name", "header_row"):
        if getattr(reading, name) is not None:
            raise InputError(
                f"{option_name(name)}: {path} is a Parquet file, which has named columns. Remove "
                "this option."
            )
    return reading.sheet(ParquetSource(path), str(path), path, reading.profile_for(path))


def _text_sheet(file: Path, path: Path | None, reading: _Reading) -> Sheet:
    """Open a text file; ``path`` is None for a copy of standard input."""
    label = "standard input" if path is None else str(path)
    if reading.sheet_name is not None:
        name = option("sheet_name", reading.sheet_name)
        raise InputError(f"{name}: {label} is not a workbook. Remove this option.")
    profile = reading.profile_for(path)
    how = reading.by(profile, is_text=True)
    source = DelimitedSource(file, label, how.delimiter, how.encoding, how.header_row)
    table = reading.sheet(source, label, path, profile)
    source.id_column = table.columns.position[ID_FIELD]
    return table


def _plan_as_sheet(path: Path, reading: _Reading) -> Sheet:
    """Open a saved plan, whose columns were matched when it was made.

    Raises:
        SheetError: it was altered or is incomplete.
        InputError: an option says how a sheet is read.
    """
    if given := reading.given():
        name = option_name(given[0])
        raise InputError(f"{name}: {path} is a saved plan, not a sheet. Remove this option.")
    return Sheet(PlanSource(SavedPlan.open(path)), str(path), path, {})


@contextmanager
def _copied_input() -> Iterator[Path]:
    """Copy standard input to a file, because it is read twice and a pipe can be read once."""
    if sys.stdin is None:
        raise SheetError("standard input: closed. Use a file name instead of -.")
    path = temporary_folder() / f"bulk-reset-{secrets.token_hex(8)}.csv"
    try:  # starts before the file exists, so that Ctrl-C never leaves it behind
        try:
            path.touch(mode=0o600, exist_ok=False)
            with path.open("wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        except OSError as exc:
            raise SheetError(
                f"standard input: cannot be copied to {path.parent} ({exc.strerror}). "
                "Free disk space there, or use a file name instead of -."
            ) from exc
        yield path
    finally:
        path.unlink(missing_ok=True)


def require_file(path: Path) -> str:
    """Return the extension of a file that exists and can be read."""
    if not path.exists():
        raise SheetError(
            f"{path}: file not found. Check the name; the current folder is {Path.cwd()}."
        )
    if path.is_dir():
        raise SheetError(f"{path}: is a folder. Use the name of a file.")
    if not os.access(path, os.R_OK):
        raise SheetError(f"{path}: permission denied. Change the file's permissions.")
    if not path.is_file():
        raise SheetError(f"{path}: not a regular file. To read a pipe, use - as the file name.")
    if path.stat().st_size == 0:
        raise SheetError(f"{path}: the file is empty. Add a header line and rows.")
    extension = path.suffix.lower()
    if extension not in (*TEXT_EXTENSIONS, *WORKBOOK_TYPES, *PARQUET_EXTENSIONS):
        kind, _ = kind_of(path)
        named = f"{extension} files are" if extension else "a file name without an extension is"
        is_news = kind and extension not in kind
        raise SheetError(
            f"{path}: {named} not supported{f' (the file is {kind})' if is_news else ''}. "
            "Save it as .xlsx or .csv (.xlsb, .ods, .parquet, .tsv and .txt are also supported)."
        )
    return extension
