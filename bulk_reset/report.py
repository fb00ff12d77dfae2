"""The report file: one line a finished row, appended, never rewritten.

This is its only writer and reader.

CSV, UTF-8 with BOM so that Excel reads it right. No cell holds a line break, so a line
without its end is a torn write: it is cut off, and its row is pending again. Where a row has
several lines (an unknown outcome, sent again), the last one counts. While a run writes
the file, it holds a lock on it.

State: the file's end, moved by ``flush`` alone; ``sync`` may run in another thread.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import numpy as np
from filelock import lock_descriptor

from bulk_reset.errors import InputError, InternalError, LockedError, RunError
from bulk_reset.history import (
    History,
    Lines,
    code_of,
    is_write,
    lines_of,
    mask_of,
    numbers_at,
)
from bulk_reset.model import Outcome, Status, one_line

COLUMNS: Final = (
    "row",
    "incident_id",
    "status",
    "fields",
    "attempts",
    "throttled",
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
_DIGEST_BYTES: Final = 12
_BLOCK_BYTES: Final = 1 << 21
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
        written: the lines of this run, by status.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            LockedError: another run is writing it.
            InputError: it cannot be opened, or it is not a report.
            RunError: the disk is full or gone; nothing was sent.
        """
        self.path = path
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
        self._file = os.fdopen(descriptor, "ab", buffering=0)  # closed by close()
        try:
            with _disk_errors(path):
                _lock(descriptor, path)
                self.mended_bytes = _mend(descriptor, path)
            self.history = read_history(path)
        except BaseException:
            self._file.close()
            raise
        self._start = os.fstat(descriptor).st_size
        self._lines: list[str] = []
        self._unwritten = b""
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
        """Append a line; it leaves this process with the next ``flush``."""
        self._lines.append(_line(outcome))
        self.written[outcome.status] += 1

    def flush(self) -> None:
        """Hand the lines over to the system: from then on, a crash of this process keeps them.

        Raises:
            RunError: the disk is full or gone; rows without a whole line stay pending.
        """
        self._unwritten += "".join(self._lines).encode(errors="backslashreplace")
        self._lines.clear()
        with _disk_errors(self.path):
            while self._unwritten:
                written = os.write(self._file.fileno(), self._unwritten)
                self._unwritten = self._unwritten[written:]
                self._is_dirty = True

    def sync(self) -> None:
        """See that what was handed over survives a power cut, if something was.

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
                self.flush()
                self.sync()
            finally:
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
                for line in file:
                    is_plain = b'"' not in line
                    status = line.split(b",", 3)[2].decode() if is_plain else _csv_cells(line)[2]
                    found[_STATUS_OF[status]] += line.endswith(b"\n")
        except (OSError, ValueError, LookupError, csv.Error):
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


def _line(outcome: Outcome) -> str:
    return (
        f"{outcome.row_number},{_cell(outcome.incident_id)},{outcome.status},"
        f"{' '.join(outcome.fields)},{outcome.attempts},{outcome.throttled},"
        f"{outcome.http_status or ''},{_cell(outcome.error_code)},{_cell(outcome.error_message)},"
        f"{_cell(outcome.request_id)},{_as_text(outcome.started_at)},"
        f"{_as_text(outcome.finished_at)},{outcome.digest}\n"
    )


def _cell(text: str) -> str:
    if not text or (text.isalnum() and len(text) <= _LONGEST_CELL):
        return text
    line = inert(text)[:_LONGEST_CELL]
    return '"' + line.replace('"', '""') + '"' if '"' in line or "," in line else line


def _as_text(at: float) -> str:
    if not at:
        return ""
    milliseconds = round(at * 1000)
    return f"{_second_as_text(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@functools.lru_cache(maxsize=8)
def _second_as_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat()


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
                try:
                    outcome = _outcome(cells)
                except ValueError as exc:
                    raise InputError(
                        f"{path}: line {number} is not a line of a report; was it edited? "
                        "Move the file away to start over, or undo the edit."
                    ) from exc
                yield outcome
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc
    except (UnicodeError, csv.Error) as exc:
        raise InputError(f"{path}: this is not a report of bulk-reset ({exc}).") from exc


def _whole_lines(file: IO[bytes]) -> Iterator[str]:
    # Decoded one by one: a torn line may end in the middle of a character.
    return (line.decode() for line in file if line.endswith(b"\n"))


def read_history(path: Path) -> History:
    """Read what a report tells of rows, and no more; see ``read_report`` for what it raises.

    Lines without quotes are taken apart many at a time, which is some eight times faster.
    """
    try:
        with path.open("rb") as file:
            if file.readline() in {_HEADER, _HEADER[len(_BOM.encode()) :]}:
                return History(_blocks(file))
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc
    except (ValueError, csv.Error):
        pass  # Which line it is, only a closer look can tell.
    return History.of(read_report(path))


def _blocks(file: IO[bytes]) -> Iterator[Lines]:
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        whole, newline, rest = (rest + block).rpartition(b"\n")
        if b'"' in whole or b"\r" in whole:
            yield from lines_of(_outcome(_csv_cells(line)) for line in whole.split(b"\n"))
        elif newline:
            yield _plain_lines(whole + newline)


def _plain_lines(whole: bytes) -> Lines:
    """Take apart lines that have no quotes, and so a comma for each border of cells."""
    text = np.frombuffer(whole, np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    commas = np.flatnonzero(text == ord(","))
    if len(commas) != len(ends) * (len(COLUMNS) - 1):
        raise ValueError("more or fewer cells")
    borders = commas.reshape(len(ends), -1)
    if (ends - borders[:, -1] != _DIGEST_BYTES * 2 + 1).any() or (borders[1:, 0] < ends[:-1]).any():
        raise ValueError("cells of another kind")
    # Status and fields together are a few different texts, so each is looked at once.
    before, after = borders[:, 1].tolist(), borders[:, 3].tolist()
    texts = [whole[a + 1 : b] for a, b in zip(before, after, strict=True)]
    kinds = {kind: number for number, kind in enumerate(set(texts))}
    words = [kind.decode().split(",") for kind in kinds]
    statuses = np.array([code_of(Status(status)) for status, _ in words], np.uint8)
    fields = np.array([mask_of(names.split()) for _, names in words], np.uint8)
    kind_of = np.fromiter(map(kinds.__getitem__, texts), np.intp, len(texts))
    written = borders[is_write(statuses)[kind_of]]
    if (written[:, 1] - written[:, 0] != _DIGEST_BYTES * 2 + 1).any():
        raise ValueError("an id of another length")
    return Lines(
        numbers_at(text, borders[:, -1] + 1),
        numbers_at(text, written[:, 0] + 1),
        fields[kind_of],
        statuses[kind_of],
    )


def _csv_cells(line: bytes) -> list[str]:
    return next(csv.reader([line.decode()]))


def _outcome(cells: list[str]) -> Outcome:
    row, incident_id, status, fields, attempts, throttled, http_status, code, message = cells[:9]
    request_id, started_at, finished_at, digest = cells[9:]
    is_written = Status(status) in {Status.UPDATED, Status.UNKNOWN}
    for text in (digest, incident_id) if is_written else (digest,):
        if len(bytes.fromhex(text)) != _DIGEST_BYTES:
            raise ValueError(text)
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
        int(throttled),
    )
