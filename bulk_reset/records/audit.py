"""The audit: one line of JSON for each run that kept a report, in ``NAME.audit.jsonl`` beside it.

A report says what became of rows; this says who asked for it: which sheet (by its SHA-256), with
which options, when, by which version, and how it ended. Lines are appended and never rewritten,
so a report that several runs have worked on has a line of each. This is the file's only writer
and reader.

Units: ``*_at`` UTC epoch seconds, ``*_s`` seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

from bulk_reset.api.credentials import redact
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import BulkResetError, ExitCode, InputError, LockedError
from bulk_reset.core.file_hash import hash_file
from bulk_reset.core.totals import Totals, Verification
from bulk_reset.records.report_reader import beside

AUDIT: Final = "audit.jsonl"
_START: Final = b'{"version":'
"""Every line begins so; a file that does not is somebody else's."""
Record = dict[str, Any]


class SheetName(Protocol):
    """A sheet, as far as an audit names it."""

    @property
    def label(self) -> str:
        """How it is called in messages."""
        ...

    @property
    def path(self) -> Path | None:
        """Where it is; None for standard input and data frames."""
        ...


def read_audit(report: Path) -> list[Record]:
    """Read what the runs of a report said of themselves, in their order.

    Returns: a record of each run, none where there is no such file; a torn line is left out.

    Raises:
        InputError: it cannot be read.
    """
    path = beside(report, AUDIT)
    try:
        lines = path.read_bytes().split(b"\n") if path.is_file() else []
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}).") from exc
    records = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict) and "version" in record:
                records.append(record)
    return records


def append_audit(report: Path, record: Mapping[str, Any]) -> None:
    """Add a line, and see it onto the disk; a torn one before it is left as it is.

    Raises:
        InputError: the file is somebody else's, or cannot be written.
    """
    path = beside(report, AUDIT)
    refuse_other(report)
    text = redact(json.dumps({"version": "", **record}, ensure_ascii=True, separators=(",", ":")))
    try:
        mode = report.stat().st_mode & 0o666 if report.exists() else 0o666
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, mode)
        with os.fdopen(descriptor, "a+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            is_torn = file.read(1) not in {b"", b"\n"}
            file.write(b"\n" * is_torn + text.encode() + b"\n")
            os.fsync(descriptor)
    except OSError as exc:
        raise InputError(f"{path}: the audit cannot be written ({exc.strerror}).") from exc


def refuse_other(report: Path) -> None:
    """See that a file of that name is an audit, if there is one.

    Raises:
        InputError: it is something else; it is as it was.
    """
    path = beside(report, AUDIT)
    if not path.exists():
        return
    start = b"?"
    with contextlib.suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                start = file.read(len(_START))
    if not _START.startswith(start):
        raise InputError(
            f"{path}: this is not an audit of bulk-reset, so it is left as it is. Move it away, "
            "or say --report FILE to write elsewhere."
        )


class Audit:
    """The record of a run on its way; use ``audited`` to get one."""

    def __init__(
        self,
        report: Path,
        sheet: SheetName,
        scope: str,
        options: Mapping[str, object],
        callbacks: Callbacks,
    ) -> None:
        self._report, self._callbacks = report, callbacks
        self._fingerprint = _Fingerprint(sheet.path)
        self._record: Record = {
            "version": version("bulk-reset"),
            "user": _user(),
            "host": _host(),
            "started_at": round(time.time(), 3),
            "sheet": sheet.label,
            "scope": scope,
            "options": _as_json(options),
        }

    def end(self, totals: Totals) -> None:
        """Write down how the run ended."""
        stop, seen = totals.stop, totals.verification
        self._write(
            {
                "rows": totals.rows,
                "counts": {str(status): n for status, n in totals.counts.items() if n},
                "requests": totals.requests,
                "throttled": totals.throttled,
                "peaks": [dataclasses.asdict(peak) for peak in totals.peaks],
                "waited_s": {cause: round(s, 3) for cause, s in totals.waited_s.items()},
                "not_as_written": None if seen is None else _rows_wrong(seen),
                "stop": None if stop is None else dataclasses.asdict(stop),
                "exit_code": int(totals.exit_code),
            }
        )

    def fail(self, error: BaseException) -> None:
        """Write down what ended the run from outside: nobody has counted what it did."""
        if isinstance(error, InputError | LockedError):
            return  # nothing was sent
        code: object = ExitCode.INTERNAL
        if isinstance(error, BulkResetError):
            code = error.exit_code
        elif isinstance(error, KeyboardInterrupt):
            code = ExitCode.INTERRUPTED
        elif isinstance(error, SystemExit):
            code = error.code
        what = {"reason": "error", "message": str(error) or type(error).__name__}
        ending = {"stop": what, "exit_code": code if isinstance(code, int) else None}
        self._write(ending, waits=False)

    def _write(self, ending: Record, *, waits: bool = True) -> None:
        record = {
            **self._record,
            "ended_at": round(time.time(), 3),
            **self._fingerprint.told(waits=waits),
            **ending,
        }
        try:
            append_audit(self._report, record)
        except InputError as error:
            # All is sent and reported; only the line about it is missing.
            self._callbacks.on_notice(str(error))


@contextlib.contextmanager
def audited(
    report: Path | None,
    sheet: SheetName,
    scope: str,
    options: Mapping[str, object],
    callbacks: Callbacks,
) -> Iterator[Callable[[Totals], None]]:
    """Have a run audited until the block ends; a run that keeps no report is not.

    Args:
        sheet: its label, and its path where it is a file.
        options: those that are not at their default.
        scope: what stands for the API: its address, or that it is a rehearsal.

    Yields: whom to tell how it ended.

    Raises:
        InputError: where the audit goes is somebody else's file; nothing was sent.
    """
    if report is None:
        yield lambda _: None
        return
    refuse_other(report)
    audit = Audit(report, sheet, scope, options, callbacks)
    try:
        yield audit.end
    except BaseException as error:
        audit.fail(error)
        raise


def _user() -> str:
    """Return the user's login name; empty where the system knows none."""
    # A container's user may have neither a name nor an environment (OSError since Python 3.13).
    with contextlib.suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return ""


def _host() -> str:
    with contextlib.suppress(OSError):
        return socket.gethostname()
    return ""


def _as_json(options: Mapping[str, object]) -> Record:
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in options.items()
    }


def _rows_wrong(verification: Verification) -> int:
    return len({mismatch.row_number for mismatch in verification.mismatches})


class _Fingerprint:
    """The SHA-256 and size of a sheet, read in a thread beside the run."""

    def __init__(self, path: Path | None) -> None:
        self._told: Record = {"sheet_sha256": "", "sheet_bytes": None}
        self._thread = threading.Thread(target=self._read, args=(path,), daemon=True)
        self._thread.start()

    def _read(self, path: Path | None) -> None:
        if path is None:
            return
        with contextlib.suppress(OSError):
            sha256, size_bytes = hash_file(path)
            self._told = {"sheet_sha256": sha256, "sheet_bytes": size_bytes}

    def told(self, *, waits: bool) -> Record:
        """Return what is known; of standard input and data frames, nothing is."""
        self._thread.join(None if waits else 0)
        return self._told
