"""What an undo restores: for each field that a run wrote, the value before.

For an incident that was written several times, the previous values are followed from the last to
the first. Nothing is written here.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

from bulk_reset.core.custom_fields import is_same
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.row_keys import numbers_of
from bulk_reset.core.spool import Spool
from bulk_reset.records.line_reader import FEW
from bulk_reset.records.previous_index import PreviousIndex
from bulk_reset.records.previous_values import PreviousValues
from bulk_reset.records.report_index import ReportIndex
from bulk_reset.records.restorability import why_not_restorable
from bulk_reset.records.written_fields import not_applied_fields, unwritten_fields

_NONE: Final = frozenset[str]()
_SENT: Final = (Status.UPDATED, Status.FAILED, Status.UNKNOWN)


@dataclass(frozen=True, slots=True)
class NotRestored:
    """A value that was not restored.

    Attributes:
        was: the value before the run.
        wrote: the value that the run wrote.
    """

    incident_id: str
    field: str
    was: Any
    wrote: Any
    reason: str
    link: str


class Step(NamedTuple):
    """A field to restore.

    Attributes:
        row_number, digest, link: of the row that wrote the field last.
    """

    row_number: int
    digest: str
    link: str
    was: Any
    wrote: Any


StepCells = tuple[int, str, str, Any, Any]
"""The cells of a ``Step``, as a plain tuple: a million of them are written and read faster."""
Row = tuple[str, Mapping[str, StepCells]]
"""incident_id, and field -> what will be restored."""


class Steps(NamedTuple):
    """What an undo restores.

    Attributes:
        rows: from the incident written last to the first.
        fields: field -> in how many rows it is.
        lost: what cannot be restored.
    """

    rows: Spool[Row]
    fields: Mapping[str, int]
    lost: tuple[NotRestored, ...]


def steps_of(lines: ReportIndex, before: PreviousIndex) -> Steps:
    """Return what will be restored, and the rest."""
    steps, lost, counts = Spool[Row](), deque[NotRestored](), Counter[str]()
    for previous, rows in _incidents(lines, before):
        incident_id = previous[0].incident_id
        fields = _steps(previous, _unwritten(rows, previous))
        reasons = {
            name: why_not_restorable(name, step.was, step.wrote) for name, step in fields.items()
        }
        found = []
        for name, reason in reasons.items():
            step = fields[name]
            row = rows[step.digest] if reason else ()
            # What did not have the new value after the run still has the one before.
            if reason and not (row and name in not_applied_fields(row[-1])):
                cells = (incident_id, name, step.was, step.wrote, reason, step.link)
                found.append(NotRestored(*cells))
        lost.extendleft(reversed(found))
        if kept := {name: tuple(step) for name, step in fields.items() if not reasons[name]}:
            steps.append((incident_id, kept))
            counts.update(kept.keys())
    return Steps(steps, counts, tuple(lost))


def _incidents(
    lines: ReportIndex, before: PreviousIndex
) -> Iterator[tuple[Sequence[PreviousValues], Mapping[str, Sequence[Outcome]]]]:
    """Yield the previous values of each incident, and digest -> lines of each of its rows."""
    incidents = before.incidents_in_order(newest_first=True)
    while some := list(islice(incidents, FEW)):
        digests = dict.fromkeys(one.digest for previous in some for one in previous)
        rows = dict(zip(digests, lines.of_rows(numbers_of(digests)), strict=True))
        for previous in some:
            yield previous, {one.digest: rows[one.digest] for one in previous}


def _unwritten(
    rows: Mapping[str, Sequence[Outcome]], previous: Sequence[PreviousValues]
) -> dict[str, frozenset[str]]:
    """Return digest -> the fields that were never written, so there is nothing to undo.

    The last line with a field counts. A row that was sent more often than it has lines was killed
    before the API answered, and may have written its fields.

    Args:
        rows: digest -> the lines of the row, in their order.
    """
    found = {}
    for digest, outcomes in rows.items():
        if all(outcome.status is Status.UPDATED for outcome in outcomes):
            found[digest] = _NONE
            continue
        sent = Counter(name for one in previous if one.digest == digest for name in one.wrote)
        is_unwritten: dict[str, bool] = {}
        for outcome in outcomes:
            unwritten = unwritten_fields(outcome)
            if outcome.status in _SENT:
                sent.subtract(outcome.fields)
                is_unwritten.update((name, name in unwritten) for name in outcome.fields)
        found[digest] = frozenset(
            name for name, is_so in is_unwritten.items() if is_so and sent[name] < 1
        )
    return found


def _steps(
    previous: Sequence[PreviousValues], unwritten: Mapping[str, Collection[str]]
) -> dict[str, Step]:
    """Return field -> what to restore in an incident.

    Args:
        previous: of the incident.
        unwritten: digest -> fields that the row did not write, so there is nothing to undo. A later
            row of the incident was compared as if it had, so they lead further back.
    """
    fields: dict[str, Step] = {}
    for one in reversed(previous):
        for name, was in one.before.items():
            step = fields.get(name)
            if step is None:
                if name not in unwritten[one.digest]:
                    fields[name] = Step(one.row_number, one.digest, one.link, was, one.wrote[name])
            elif is_same(one.wrote[name], step.was):
                # This row wrote the value that the later row replaced.
                fields[name] = step._replace(was=was)
    return fields
