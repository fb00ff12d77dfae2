"""The report file: one line for each finished row, appended, never rewritten.

This is its only writer; ``report_reader`` is its reader.

CSV, UTF-8 with BOM so that Excel detects the encoding. No cell contains a line break, so a line
without its end is a torn write: it is removed, and its row is pending again. Of several lines for
one row (an unknown outcome, sent again), the last one counts. A run holds a lock on the file
while it writes it.

State: the file's end, moved only by ``flush``; ``sync`` may run in another thread.
"""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Final, Self

from filelock import lock_descriptor

from bulk_reset.core.atomic_file import opener_like
from bulk_reset.core.errors import InputError, InternalError, LockedError, RunError
from bulk_reset.core.file_hash import hash_file
from bulk_reset.core.input_file import open_input
from bulk_reset.core.option_names import option
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.records.history import History
from bulk_reset.records.report_columns import HEADER, line_of
from bulk_reset.records.report_reader import csv_cells, is_resaved, read_history, read_report

_STATUS_OF: Final = {status.value: status for status in Status}


class Report:
    """An open report file, locked; a torn last line is removed.

    Attributes:
        path: the file.
        is_known: whether the file has the SHA-256 that was given.
        truncated_bytes: the size of the torn last line that was removed.
        notices: what was repaired when the file was opened, in sentences.
        written: the lines of this run, by status.
    """

    def __init__(self, path: Path, like: Path | None = None, known_sha256: str = "") -> None:
        """Open the file, or create it.

        Args:
            like: the sheet; a new report gets no more permissions.
            known_sha256: of a report whose results are known; they are not read from it.

        Raises:
            LockedError: another run is writing it.
            InputError: it cannot be opened, or it is not a report.
            RunError: the disk is full or gone; nothing was sent.
        """
        self.path, self._like = path, like
        self.written: Counter[Status] = Counter()
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(
                f"{path}: a pipe or a device cannot be a report. Use {option('report', 'FILE')}."
            )
        self._open()
        self.notices: list[str] = []
        try:
            with _disk_errors(path):
                if is_resaved(path):
                    self._rewrite_resaved()
                self.truncated_bytes = _repair(self._file.fileno(), path)
            if self.truncated_bytes:
                text = "the last line was incomplete and was removed; its row is pending"
                self.notices.append(f"{path}: {text}")
            self._sha256 = ""
            with contextlib.suppress(OSError):  # as below, with a message
                self._sha256 = known_sha256 and hash_file(path).sha256
            self.is_known = self._sha256 == known_sha256 != ""
            if not self.is_known:
                self.history = read_history(path)
        except BaseException:
            self._file.close()
            raise
        self._start = self._end = os.fstat(self._file.fileno()).st_size
        self._lines: list[str] = []
        self._unwritten = b""
        self._is_dirty = False

    def sha256(self) -> str:
        """Return the SHA-256 of the file, in hexadecimal; raises OSError."""
        if not self._sha256 or self.written:
            self.flush()
            return hash_file(self.path).sha256
        return self._sha256

    @cached_property
    def history(self) -> History:
        """The results of earlier runs; get it before lines are added."""
        return read_history(self.path)

    @property
    def identity(self) -> str:
        """What distinguishes the file from others of this machine, and of others."""
        status = os.fstat(self._file.fileno())
        return f"{socket.gethostname()}:{status.st_dev}:{status.st_ino}"

    def _open(self) -> None:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
            descriptor = opener_like(self._like)(str(self.path), flags)
        except OSError as exc:
            raise InputError(
                f"{self.path}: the report cannot be written ({exc.strerror}). "
                f"Use {option('report', 'FILE')} to write it elsewhere."
            ) from exc
        self._file = os.fdopen(descriptor, "ab", buffering=0)  # closed by close()
        try:
            with _disk_errors(self.path):
                _lock(descriptor, self.path)
        except BaseException:
            self._file.close()
            raise

    def _rewrite_resaved(self) -> None:
        """Restore the format of a report that another program has saved; keep that file."""
        path = self.path.resolve()  # so that a link stays a link
        kept, fresh = (path.with_name(path.name + end) for end in ("~", ".tmp"))
        lines = [line_of(outcome) for outcome in read_report(self.path)]
        try:
            fresh.unlink(missing_ok=True)
            with open(fresh, "xb", opener=opener_like(path)) as file:
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
            f"{self.path}: saved by another program; kept that file as {kept} and restored the "
            "report's format"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, outcome: Outcome) -> None:
        """Append a line; it leaves this process with the next ``flush``."""
        self._lines.append(line_of(outcome))
        self.written[outcome.status] += 1

    def flush(self) -> None:
        """Pass the lines to the system: from then on, they survive a crash of this process.

        Raises:
            RunError: the disk is full or gone; rows without a complete line stay pending.
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
        """Write flushed lines to the disk, so that they survive a power failure.

        Raises:
            RunError: the disk is full or gone, or another program has changed the file.
        """
        if self._is_dirty:
            self._is_dirty = False
            with _disk_errors(self.path):
                os.fsync(self._file.fileno())
            self._check_place()

    def _check_place(self) -> None:
        # Read first: lines may be added at the same time, and the file never gets shorter.
        end = self._end
        ours = os.fstat(self._file.fileno())
        with contextlib.suppress(OSError):
            if os.path.samestat(ours, self.path.stat()) and ours.st_size >= end:
                return
        raise RunError(
            f"{self.path}: moved, removed, replaced or shortened by another program during the "
            "run, so the run stopped. If the file was moved, move it back. Then run the same "
            "command again: rows without a line are sent again, which changes nothing."
        )

    def close(self) -> None:
        """Write everything to the disk and release the lock.

        Raises:
            RunError: as ``sync``; the lock is released in any case.
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
        """Read this run's lines back and compare their counts with what was written.

        Raises:
            InternalError: they differ.
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
            found[Status.PENDING] += 1  # never written, so the counts differ
        if found != self.written:
            raise InternalError(
                f"{self.path}: contains {dict(found)}, but {dict(self.written)} were written. "
                "Do not rely on this report."
            )


def refuse_while_written(path: Path) -> None:
    """Check that no run is writing a report.

    Raises:
        LockedError: a run is writing it.
        InputError: there is no such file.
    """
    try:
        with open_input(path) as file:
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
            "Free disk space, then run the same command again to resume."
        ) from exc


def _repair(descriptor: int, path: Path) -> int:
    """Write the header of a new file; remove a torn last line, and return its bytes."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        _write_whole(descriptor, HEADER)
        return 0
    with path.open("rb") as file:
        start = file.read(len(HEADER))
        if HEADER.startswith(start) and start != HEADER:
            end = 0  # the header itself is torn: no row was finished
        elif not start.startswith((HEADER, HEADER[3:])):
            raise InputError(
                f"{path}: not a report of bulk-reset; the file was not changed. "
                f"Use {option('report', 'FILE')} to write the report elsewhere."
            )
        else:
            end = _end_of_last_line(file, size)
    if end < size:
        os.ftruncate(descriptor, end)
        if end == 0:
            _write_whole(descriptor, HEADER)
    return size - end


def _write_whole(descriptor: int, content: bytes) -> None:
    while content:  # a nearly full disk takes a part, and raises only the next time
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
