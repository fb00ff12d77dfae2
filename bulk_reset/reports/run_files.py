"""The files of a run in memory: the last line of each row, and its previous values.

Values are held as JSON text: about as much memory as the files have bytes. Objects would take ten
times as much.

Units: ``*_at`` UTC epoch seconds, ``*_s`` seconds.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bulk_reset.core.json_codec import dumps, loads
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.records.history import code_of
from bulk_reset.records.previous_values import read_previous_values
from bulk_reset.records.report_reader import read_report
from bulk_reset.records.restorability import why_not_restorable

NO_VALUES: Final[dict[str, Any]] = {"link": "", "before": {}, "wrote": {}, "lost": {}}
"""The previous values of a row that has none."""


class JsonStore:
    """Values by digest, as JSON in one stretch of memory."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._start_of: dict[bytes, int] = {}

    def put(self, digest: str, value: Mapping[str, Any]) -> None:
        """Keep a value, in place of an older one."""
        self._start_of[bytes.fromhex(digest)] = len(self._bytes)
        try:
            self._bytes += dumps(value)
        except (ValueError, TypeError):  # half of a surrogate pair
            self._bytes += json.dumps(value).encode()
        self._bytes += b"\n"

    def get(self, digest: str) -> Any:  # noqa: ANN401  (JSON)
        """Return a value, None where there is none."""
        start = self._start_of.get(bytes.fromhex(digest))
        if start is None:
            return None
        return loads(bytes(self._bytes[start : self._bytes.index(b"\n", start)]))


class RowPreviousValues:
    """The previous values of each row; a row that was sent twice has one entry.

    Attributes:
        rows: rows that have previous values.
        not_restorable: values that cannot be restored.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = self.not_restorable = 0
        self._values = JsonStore()
        for line in read_previous_values(path) if path.exists() else ():
            earlier = self._values.get(line.digest)
            self.rows += earlier is None
            earlier = earlier or NO_VALUES
            lost = {
                name: why
                for name, old in line.before.items()
                if (why := why_not_restorable(name, old))
            }
            # A field that the first attempt updated is not in the line of the second one.
            values = {
                "link": line.link,
                "before": {**earlier["before"], **line.before},
                "wrote": {**earlier["wrote"], **line.wrote},
                "lost": {**earlier["lost"], **lost},
            }
            self.not_restorable += len(values["lost"]) - len(earlier["lost"])
            self._values.put(line.digest, values)

    def of(self, digest: str) -> dict[str, Any]:
        """Return the ``link``, the values ``before``, those it ``wrote``, and why some are lost."""
        return self._values.get(digest) or NO_VALUES


@dataclass(slots=True)
class ReportLines:
    """The lines of a report: the last one of each row, and the times of all.

    Attributes:
        row_of: digest -> row number.
        starts, finishes: times of requests and of results; ``codes`` are the statuses of the
            latter (``code_of``).
        elapsed_s: duration of each last attempt.
        request_ids: distinct ids; ``first_id`` and ``last_id`` in the report's order.
    """

    row_of: dict[str, int] = field(default_factory=dict)
    starts: array[float] = field(default_factory=lambda: array("d"))
    finishes: array[float] = field(default_factory=lambda: array("d"))
    codes: array[int] = field(default_factory=lambda: array("B"))
    elapsed_s: array[float] = field(default_factory=lambda: array("d"))
    request_ids: int = 0
    first_id: str = ""
    last_id: str = ""
    _last: JsonStore = field(default_factory=JsonStore)

    @classmethod
    def of(cls, report: Path) -> ReportLines:
        """Read a report; see ``read_report`` for what it raises."""
        lines, ids = cls(), set[int]()
        for outcome in read_report(report):
            lines._add(outcome)
            if outcome.request_id:
                ids.add(hash(outcome.request_id))
                lines.first_id = lines.first_id or outcome.request_id
                lines.last_id = outcome.request_id
        lines.request_ids = len(ids)
        return lines

    def _add(self, outcome: Outcome) -> None:
        self._last.put(outcome.digest, outcome._asdict())
        self.row_of[outcome.digest] = outcome.row_number
        if outcome.started_at:
            self.starts.append(outcome.started_at)
        if outcome.finished_at:
            self.finishes.append(outcome.finished_at)
            self.codes.append(code_of(outcome.status))
        if outcome.attempts and outcome.started_at and outcome.finished_at:
            self.elapsed_s.append(max(0.0, outcome.finished_at - outcome.started_at))

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the last outcome of each row, in the sheet's order."""
        for digest in sorted(self.row_of, key=self.row_of.__getitem__):
            values = self._last.get(digest)
            status, fields = Status(values.pop("status")), tuple(values.pop("fields"))
            yield Outcome(status=status, fields=fields, **values)
