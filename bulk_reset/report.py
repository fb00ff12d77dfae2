"""The report file: one line a finished row, appended, never rewritten.

This is its only writer and reader.

CSV, UTF-8 with BOM so that Excel reads it right. No cell holds a line break, so a line
without its end is a torn write: it is cut off, and its row is pending again. Where a row has
several lines (an unknown outcome, sent again), the last one counts. While a run writes
the file, it holds a lock on it.

State: the file's end, moved by ``write`` alone; ``sync`` may run in another thread.
"""

from __future__ import annotations

import contextlib
import csv
import os
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from filelock import lock_descriptor

from bulk_reset.errors import InputError, InternalError, LockedError, RunError
from bulk_reset.history import History
from bulk_reset.model import ErrorGroup, Outcome, Status, one_line

COLUMNS: Final = (
    "row",
    "incident_id",
    "status",
    "fields",
    "attempts",
    "http_status",
    "error_code",
    "error_message",
    "request_id",
    "started_at",
    "finished_at",
    "digest",
)
_BOM: Final = "\ufeff"
_HEADER: Final = (_BOM + ",".join(COLUMNS) + "\n").encode()
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
_RECENT_LINES: Final = 10_000
_LONGEST_CELL: Final = 2_000
"""Beyond 131,072 characters the csv module would refuse to read a cell back."""
_STATUS_OF: Final = {status.value: status for status in Status}


def inert(text: str) -> str:
    """Return the text on one line, and so that no spreadsheet runs it as a formula."""
    line = one_line(text)
    return f"'{line}" if line.startswith(_FORMULA_STARTS) else line


class Report:
    """An open report file, locked, its torn end mended.

    Attributes:
        path: the file.
        history: what earlier runs made of rows.
        mended_bytes: how much of a torn last line was cut off.
        finished_at: when the last rows of earlier runs were finished; at most 10,000 of them.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            LockedError: another run is writing it.
            InputError: it cannot be opened, or it is not a report.
            RunError: the disk is full or gone; nothing was sent.
        """
        self.path = path
        self.history = History()
        self.finished_at: deque[float] = deque(maxlen=_RECENT_LINES)
        self.written: Counter[Status] = Counter()
        if path.is_fifo() or path.is_socket():
            raise InputError(f"{path}: a pipe cannot be a report. Say --report FILE.")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as exc:
            raise InputError(
                f"{path}: the report cannot be written ({exc.strerror}). "
                "Say --report FILE to write it elsewhere."
            ) from exc
        self._file: IO[str] = os.fdopen(  # closed by close()
            descriptor, "a", encoding="utf-8", errors="backslashreplace", newline=""
        )
        try:
            with _disk_errors(path):
                _lock(descriptor, path)
                self.mended_bytes = _mend(descriptor, path)
            for outcome in read_report(path):
                self.history.add(outcome)
                if outcome.attempts:
                    self.finished_at.append(outcome.finished_at)
        except BaseException:
            self._file.close()
            raise
        self._start = os.fstat(descriptor).st_size
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._is_dirty = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, outcome: Outcome) -> None:
        """Append a line; it has left this process when the call returns.

        Raises:
            RunError: the disk is full or gone; the row has no line and stays pending.
        """
        with _disk_errors(self.path):
            self._writer.writerow(_cells(outcome))
            self._file.flush()
        self.written[outcome.status] += 1
        self._is_dirty = True

    def sync(self) -> None:
        """See that what was written survives a power cut, if something was.

        Raises:
            RunError: the disk is full or gone.
        """
        if self._is_dirty:
            self._is_dirty = False
            with _disk_errors(self.path):
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write everything to the disk and release the lock.

        Raises:
            RunError: the disk is full or gone; the lock is released all the same.
        """
        if not self._file.closed:
            try:
                self.sync()
            finally:
                # Writes once more what a failed write has left behind.
                with _disk_errors(self.path):
                    self._file.close()

    def check_written(self) -> None:
        """Read this run's lines back and compare them with what was written.

        Raises:
            InternalError: the file does not hold what it should.
        """
        found: Counter[Status] = Counter()
        try:
            with self.path.open("rb") as file:
                file.seek(self._start)
                for cells in csv.reader(_whole_lines(file)):
                    found[_STATUS_OF.get("".join(cells[2:3]), Status.PENDING)] += 1
        except (OSError, UnicodeError, csv.Error):
            found[Status.PENDING] += 1  # which is never written
        if found != self.written:
            raise InternalError(
                f"{self.path}: holds {dict(found)}, but {dict(self.written)} were written. "
                "Do not trust this report."
            )


def _lock(descriptor: int, path: Path) -> None:
    if not lock_descriptor(descriptor, blocking=False):
        raise LockedError(f"{path}: another run is writing it. Wait until it has ended.")


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise RunError(
            f"{path}: the report cannot be written ({exc.strerror}), so the run stopped. "
            "Make room, then give the same command again: it goes on where it stopped."
        ) from exc


def _cells(outcome: Outcome) -> tuple[object, ...]:
    return (
        outcome.row_number,
        _cell(outcome.incident_id),
        outcome.status.value,
        " ".join(outcome.fields),
        outcome.attempts,
        outcome.http_status or "",
        _cell(outcome.error_code),
        _cell(outcome.error_message),
        _cell(outcome.request_id),
        _as_text(outcome.started_at),
        _as_text(outcome.finished_at),
        outcome.digest,
    )


def _cell(text: str) -> str:
    return inert(text)[:_LONGEST_CELL]


def _as_text(at: float) -> str:
    if not at:
        return ""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _as_epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def _mend(descriptor: int, path: Path) -> int:
    """Write the header into a new file; cut a torn line off an old one; return its bytes."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        os.write(descriptor, _HEADER)
        return 0
    with path.open("rb") as file:
        start = file.read(len(_HEADER))
        if _HEADER.startswith(start) and start != _HEADER:
            end = 0  # the header itself is torn: nothing was finished yet
        elif not start.startswith((_HEADER, _HEADER[3:])):
            raise InputError(
                f"{path}: this is not a report of bulk-reset, so it is left as it is. "
                "Say --report FILE to write the report elsewhere."
            )
        else:
            end = _end_of_last_line(file, size)
    if end < size:
        os.ftruncate(descriptor, end)
        if end == 0:
            os.write(descriptor, _HEADER)
    return size - end


def _end_of_last_line(file: IO[bytes], size: int) -> int:
    block_bytes, position = 1 << 16, size
    while position > 0:
        start = max(0, position - block_bytes)
        file.seek(start)
        found = file.read(position - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0


def read_report(path: Path) -> Iterator[Outcome]:
    """Read a report's lines, in the order of finishing.

    Yields: outcomes; several of one row where it was sent again. A torn last line is left out.

    Raises:
        InputError: no such file, not a report, or a line that cannot be one.
    """
    try:
        with path.open("rb") as file:
            lines = csv.reader(_whole_lines(file))
            header = next(lines, None)
            if header is None or ",".join(header).removeprefix(_BOM) != ",".join(COLUMNS):
                raise InputError(f"{path}: this is not a report of bulk-reset.")
            for number, cells in enumerate(lines, 2):
                yield _outcome(cells, number, path)
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc
    except (UnicodeError, csv.Error) as exc:
        raise InputError(f"{path}: this is not a report of bulk-reset ({exc}).") from exc


def _whole_lines(file: IO[bytes]) -> Iterator[str]:
    # Decoded one by one: a torn line may end in the middle of a character.
    return (line.decode() for line in file if line.endswith(b"\n"))


def _outcome(cells: list[str], number: int, path: Path) -> Outcome:
    try:
        row, incident_id, status, fields, attempts, http_status, code, message, request_id = cells[
            :9
        ]
        started_at, finished_at, digest = cells[9:]
        int(digest, 16)
        if Status(status) in {Status.UPDATED, Status.UNKNOWN}:
            int(incident_id, 16)
        return Outcome(
            int(row),
            incident_id,
            Status(status),
            tuple(fields.split()),
            digest,
            int(attempts),
            int(http_status or 0),
            code,
            message,
            request_id,
            _as_epoch(started_at),
            _as_epoch(finished_at),
        )
    except ValueError as exc:
        raise InputError(
            f"{path}: line {number} is not a line of a report; was it edited? "
            "Move the file away to start over, or undo the edit."
        ) from exc


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """What a report file alone tells: the last line of each row counts."""

    path: str
    lines: int
    counts: dict[Status, int]
    requests: int
    """Attempts that the lines tell of."""
    first_at: float
    """When the first attempt was started; 0 where nothing was sent."""
    last_at: float
    errors: tuple[ErrorGroup, ...]


class ErrorGroups:
    """Rows that ended badly, grouped by error code, with the first as the example."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, Status], tuple[int, Outcome]] = {}

    def add(self, outcome: Outcome) -> None:
        """Take an outcome in, if it is a bad one."""
        if outcome.status.is_done:
            return
        key = (outcome.error_code, outcome.status)
        rows, example = self._groups.get(key, (0, outcome))
        self._groups[key] = (rows + 1, example)

    def groups(self) -> tuple[ErrorGroup, ...]:
        """Return the groups, the largest first."""
        return tuple(
            ErrorGroup(code, status, rows, example.row_number, inert(example.error_message))
            for (code, status), (rows, example) in sorted(
                self._groups.items(), key=lambda item: -item[1][0]
            )
        )


def summarise(path: Path) -> ReportSummary:
    """Sum a report up; see ``read_report`` for what it raises."""
    last: dict[int, Outcome] = {}
    lines = requests = 0
    first_at, last_at = float("inf"), 0.0
    for outcome in read_report(path):
        last[int(outcome.digest, 16)] = outcome
        lines += 1
        requests += outcome.attempts
        if outcome.started_at:
            first_at = min(first_at, outcome.started_at)
        last_at = max(last_at, outcome.finished_at)
    groups = ErrorGroups()
    for outcome in last.values():
        groups.add(outcome)
    counts = Counter(outcome.status for outcome in last.values())
    return ReportSummary(
        str(path),
        lines,
        {status: counts[status] for status in Status if status is not Status.PENDING},
        requests,
        first_at if first_at <= last_at else 0.0,
        last_at,
        groups.groups(),
    )
