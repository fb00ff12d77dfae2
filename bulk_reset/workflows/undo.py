"""The way back: a sheet that sets again what stood there before a run, made of its before-images.

The sheet says too what the run wrote, as a pulled one says what it was made from: so it is a
run like any other, and sends nothing where somebody has changed an incident since. Of an
incident that was written several times, the images are gone through from the last to the
first, as if each were taken back in turn.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.custom_fields import COMMENT_FIELD, header_of, is_custom, is_same, text_of
from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import ID_FIELD, SETTABLE_FIELDS
from bulk_reset.core.outcome import Status
from bulk_reset.core.safe_text import guard_formula
from bulk_reset.records.history import WRITES
from bulk_reset.records.previous_values import (
    PreviousValues,
    read_previous_values,
    why_not_restorable,
)
from bulk_reset.records.report_file import refuse_while_written
from bulk_reset.records.report_reader import beside, read_report
from bulk_reset.sheets.columns import OWN_PREFIX, WAS_PREFIX
from bulk_reset.workflows.verify import BEFORE

_ROW: Final = OWN_PREFIX + "row"
_LOST_COLUMNS: Final = (ID_FIELD, "field", "it was", "it is", "why", "link")


@dataclass(frozen=True, slots=True)
class NotRestored:
    """A value that cannot be set again.

    Attributes:
        was: before the run.
        wrote: by the run.
    """

    incident_id: str
    field: str
    was: Any
    wrote: Any
    reason: str
    link: str


@dataclass(frozen=True, slots=True)
class UndoSheet:
    """What it takes to undo a run.

    Attributes:
        sheet: sets again what can be; a file beside the report.
        report: what is to become of its rows.
        rows: of the sheet.
        values: that the run set, those that cannot be restored among them.
        lost: those; ``lost_file`` has them, empty where there are none.
        comments: rows that added one, which stays.
        not_known: rows written without a look, so that nobody knows what stood there.
    """

    sheet: Path
    report: Path
    rows: int
    values: int
    lost: tuple[NotRestored, ...]
    lost_file: str
    comments: int
    not_known: int


@dataclass(slots=True)
class _Step:
    """A field of an incident on its way back."""

    image: PreviousValues
    was: Any
    wrote: Any


def make_undo_sheet(report: Path) -> UndoSheet:
    """Write the sheet that undoes the run of a report.

    Raises:
        InputError: no report, or no before-images beside it.
        LockedError: its run goes on, and would send what is not taken back.
    """
    refuse_while_written(report)
    last = {outcome.digest: outcome for outcome in read_report(report)}
    comments = sum(
        COMMENT_FIELD in outcome.fields and outcome.status is Status.UPDATED
        for outcome in last.values()
    )
    # A row of several requests may have failed with some of them done.
    refused = {
        digest
        for digest, outcome in last.items()
        if outcome.status is Status.FAILED and set(SETTABLE_FIELDS).issuperset(outcome.fields)
    }
    before = beside(report, BEFORE)
    blind = {digest for digest, outcome in last.items() if outcome.status in WRITES}
    if not before.exists():
        raise InputError(
            f"{before}: no such file, so nobody knows what stood there before {report}: its run "
            "went without a look (--no-before), or the file was moved."
        )
    images = list(read_previous_values(before))
    blind -= {image.digest for image in images}
    steps = _steps(images, refused)
    lost = tuple(
        NotRestored(incident_id, name, step.was, step.wrote, reason, step.image.link)
        for incident_id, fields in steps.items()
        for name, step in fields.items()
        if (reason := why_not_restorable(name, step.was))
    )
    gone = {(one.incident_id, one.field) for one in lost}
    left = {
        incident_id: kept
        for incident_id, fields in reversed(steps.items())
        if (kept := {name: s for name, s in fields.items() if (incident_id, name) not in gone})
    }
    sheet, lost_file = beside(report, "undo.csv"), beside(report, "not-restored.csv")
    _refuse_other(sheet)
    _write_sheet(sheet, left)
    _write_lost(lost_file, lost)
    return UndoSheet(
        sheet,
        beside(report, "undo.report.csv"),
        len(left),
        sum(map(len, steps.values())),
        lost,
        str(lost_file) if lost else "",
        comments,
        len(blind),
    )


def _steps(
    images: Sequence[PreviousValues], refused: Collection[str]
) -> dict[str, dict[str, _Step]]:
    """Return incident -> field -> the way back, incidents in the order of their last writing.

    Args:
        refused: digests of rows that were not applied: there is nothing to take back of them. A
            later row of the incident was judged as if they were, so they lead further back.
    """
    steps: dict[str, dict[str, _Step]] = {}
    for image in reversed(images):
        fields = steps.setdefault(image.incident_id, {})
        for name, was in image.before.items():
            step = fields.get(name)
            if step is None:
                if image.digest not in refused:
                    fields[name] = _Step(image, was, image.wrote[name])
            elif is_same(image.wrote[name], step.was):
                # What stood there before the later writing was written by this one.
                step.was = was
    return dict(reversed(steps.items()))


def _refuse_other(sheet: Path) -> None:
    """See that a sheet of that name was made by an undo, and is nobody's own.

    Raises:
        InputError: it is somebody's.
    """
    if sheet.is_file():
        with sheet.open("rb") as file:
            if (OWN_PREFIX + "row").encode() not in file.readline(1 << 16):
                raise InputError(
                    f"{sheet}: is there already, and was not made by an undo. Move it away: the "
                    "undo needs a sheet of that name."
                )


def _write_sheet(path: Path, steps: Mapping[str, Mapping[str, _Step]]) -> None:
    customs = dict.fromkeys(name for fields in steps.values() for name in fields if is_custom(name))
    columns = {name: name for name in SETTABLE_FIELDS} | {name: f"{name}:json" for name in customs}
    names = [header_of(column) for column in columns.values()]
    header = [ID_FIELD, *names, _ROW, *(WAS_PREFIX + name for name in names)]
    with atomic_file(path) as content, _as_csv(content) as file:
        writer = csv.writer(file)
        writer.writerow(map(guard_formula, header))
        for incident_id, fields in steps.items():
            writer.writerow(
                [
                    incident_id,
                    *(_cell(column, fields.get(name), "was") for name, column in columns.items()),
                    next(iter(fields.values())).image.row_number,
                    *(_cell(column, fields.get(name), "wrote") for name, column in columns.items()),
                ]
            )


def _cell(column: str, step: _Step | None, which: str) -> str:
    return "" if step is None else guard_formula(text_of(column, getattr(step, which)))


def _write_lost(path: Path, lost: Iterable[NotRestored]) -> None:
    rows = [
        [
            one.incident_id,
            one.field,
            guard_formula(text_of(one.field, one.was)),
            guard_formula(text_of(one.field, one.wrote)),
            one.reason,
            guard_formula(one.link),
        ]
        for one in lost
    ]
    if not rows:
        if path.is_file():
            path.unlink()
        return
    with atomic_file(path) as content, _as_csv(content) as file:
        csv.writer(file).writerows([_LOST_COLUMNS, *rows])


@contextlib.contextmanager
def _as_csv(content: BinaryIO) -> Iterator[TextIO]:
    file = io.TextIOWrapper(content, encoding="utf-8-sig", newline="", errors="backslashreplace")
    yield file
    file.flush()
    file.detach()
