"""The report file: one line a finished row, appended, never rewritten.

This is its only writer; ``replay`` is its reader.

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
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from filelock import lock_descriptor

from bulk_reset.core.errors import InputError, InternalError, LockedError, RunError
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.safe_text import escape_formula
from bulk_reset.records.report_reader import (
    HEADER,
    csv_cells,
    is_resaved,
    read_history,
    read_report,
)

_LONGEST_CELL: Final = 2_000
"""Beyond 131,072 characters the csv module would refuse to read a cell back."""
_STATUS_OF: Final = {status.value: status for status in Status}


class Report:
    """An open report file, locked, its torn end mended.

    Attributes:
        path: the file.
        history: what earlier runs made of rows.
        mended_bytes: how much of a torn last line was cut off.
        notices: what was mended when it was opened, in sentences.
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
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(
                f"{path}: a pipe or a device cannot be a report. Say --report FILE for another."
            )
        self._open()
        self.notices: list[str] = []
        try:
            with _disk_errors(path):
                if is_resaved(path):
                    self._write_anew()
                self.truncated_bytes = _repair(self._file.fileno(), path)
            if self.truncated_bytes:
                text = "its last line was torn and is cut off; that row is pending"
                self.notices.append(f"{path}: {text}")
            self.history = read_history(path)
        except BaseException:
            self._file.close()
            raise
        self._start = self._end = os.fstat(self._file.fileno()).st_size
        self._lines: list[str] = []
        self._unwritten = b""
        self._is_dirty = False

    def _open(self) -> None:
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as exc:
            raise InputError(
                f"{self.path}: the report cannot be written ({exc.strerror}). "
                "Say --report FILE to write it elsewhere."
            ) from exc
        self._file = os.fdopen(descriptor, "ab", buffering=0)  # closed by close()
        try:
            with _disk_errors(self.path):
                _lock(descriptor, self.path)
        except BaseException:
            self._file.close()
            raise

    def _write_anew(self) -> None:
        """Write a report as it should be that another program has saved; keep the old one."""
        path = self.path.resolve()  # a link goes on to lead to it
        kept, fresh = (path.with_name(path.name + end) for end in ("~", ".tmp"))
        lines = [_line(outcome) for outcome in read_report(self.path)]
        try:
            fresh.unlink(missing_ok=True)
            with fresh.open("xb") as file:
                shutil.copymode(path, fresh)
                file.write(HEADER + "".join(lines).encode(errors="backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
            shutil.copy2(path, kept)
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        self._file.close()
        self._open()
        self.notices.append(
            f"{self.path}: another program has saved it; that is kept as {kept}, and the report "
            "is written anew"
        )

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
                self._end += written
                self._is_dirty = True

    def sync(self) -> None:
        """See that what was handed over survives a power cut, if something was.

        Raises:
            RunError: the disk is full or gone, or another program has changed the file.
        """
        if self._is_dirty:
            self._is_dirty = False
            with _disk_errors(self.path):
                os.fsync(self._file.fileno())
            self._check_place()

    def _check_place(self) -> None:
        # Read first: lines may be added beside, and the file is never shorter than it was then.
        end = self._end
        ours = os.fstat(self._file.fileno())
        with contextlib.suppress(OSError):
            if os.path.samestat(ours, self.path.stat()) and ours.st_size >= end:
                return
        raise RunError(
            f"{self.path}: another program has moved, removed, replaced or shortened it while the "
            "run wrote it, so the run stopped. Put it back if it was moved; then give the same "
            "command again: rows without a line are sent again, which changes nothing."
        )

    def close(self) -> None:
        """Write everything to the disk and release the lock.

        Raises:
            RunError: as ``sync``; the lock is released all the same.
        """
        if not self._file.closed:
            try:
                self.flush()
                self.sync()
                if self.written:
                    self._check_place()
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
                    status = line.split(b",", 3)[2].decode() if is_plain else csv_cells(line)[2]
                    found[_STATUS_OF[status]] += line.endswith(b"\n")
        except (OSError, ValueError, LookupError, csv.Error):
            found[Status.PENDING] += 1  # which is never written
        if found != self.written:
            raise InternalError(
                f"{self.path}: holds {dict(found)}, but {dict(self.written)} were written. "
                "Do not trust this report."
            )


def refuse_while_written(path: Path) -> None:
    """See that no run is writing a report.

    Raises:
        LockedError: one is.
        InputError: there is no such file.
    """
    try:
        with path.open("rb") as file:
            _lock(file.fileno(), path)
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc


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
    line = escape_formula(text)[:_LONGEST_CELL]
    return '"' + line.replace('"', '""') + '"' if '"' in line or "," in line else line


def _as_text(at: float) -> str:
    if not at:
        return ""
    milliseconds = round(at * 1000)
    return f"{_second_as_text(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@functools.lru_cache(maxsize=8)
def _second_as_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat()


def _repair(descriptor: int, path: Path) -> int:
    """Write the header into a new file; cut a torn line off an old one; return its bytes."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        _write_whole(descriptor, HEADER)
        return 0
    with path.open("rb") as file:
        start = file.read(len(HEADER))
        if HEADER.startswith(start) and start != HEADER:
            end = 0  # the header itself is torn: nothing was finished yet
        elif not start.startswith((HEADER, HEADER[3:])):
            raise InputError(
                f"{path}: this is not a report of bulk-reset, so it is left as it is. "
                "Say --report FILE to write the report elsewhere."
            )
        else:
            end = _end_of_last_line(file, size)
    if end < size:
        os.ftruncate(descriptor, end)
        if end == 0:
            _write_whole(descriptor, HEADER)
    return size - end


def _write_whole(descriptor: int, content: bytes) -> None:
    while content:  # a disk that is nearly full takes a part, and says why only the next time
        content = content[os.write(descriptor, content) :]


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
