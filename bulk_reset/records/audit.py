"""The audit: one line of JSON for each run that kept a report, in ``NAME.audit.jsonl`` beside it.

A report has the results of rows; the audit has the facts of runs: which sheet (by its SHA-256),
with which options, when, by which version, and how it ended. Lines are appended and never
rewritten, so a report of several runs has one line of each. This is the file's only writer and
reader.

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
from bulk_reset.core.option_names import option
from bulk_reset.core.totals import Totals, Verification
from bulk_reset.records.report_reader import beside

AUDIT: Final = "audit.jsonl"
_START: Final = b'{"version":'
"""The start of every line; a file without it is not an audit."""
Record = dict[str, Any]


class SheetName(Protocol):
    """The part of a sheet that an audit needs."""

    @property
    def label(self) -> str:
        """Its name in messages."""
        ...

    @property
    def path(self) -> Path | None:
        """Its file; None for standard input and data frames."""
        ...


def read_audit(report: Path) -> list[Record]:
    """Read the audit of a report.

    Returns: one record for each run, in order; none without an audit. A torn line is ignored.

    Raises:
        InputError: it cannot be read.
    """
    path = beside(report, AUDIT)
    try:
        lines = path.read_bytes().split(b"\n") if path.is_file() else []
    except OSError as exc:
        raise InputError(
            f"{path}: cannot be read ({exc.strerror}). Make the file readable for this user."
        ) from exc
    records = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict) and "version" in record:
                records.append(record)
    return records


def scope_of(report: Path) -> str:
    """Return the API that the last run of a report used; empty if it is not known."""
    scopes = [record.get("scope") for record in read_audit(report)]
    return next((scope for scope in reversed(scopes) if isinstance(scope, str)), "")


def append_audit(report: Path, record: Mapping[str, Any]) -> None:
    """Append a line and write it to the disk; a torn line before it is not changed.

    Raises:
        InputError: the file is not an audit, or cannot be written.
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
        raise InputError(
            f"{path}: the audit cannot be written ({exc.strerror}). Free disk space, or use "
            f"{option('report', 'FILE')} to write elsewhere."
        ) from exc


def refuse_other(report: Path) -> None:
    """Check that the file of that name is an audit, if it exists.

    Raises:
        InputError: it is another file; it was not changed.
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
            f"{path}: not an audit of bulk-reset; the file was not changed. Move it, or use "
            f"{option('report', 'FILE')} to write elsewhere."
        )


class Audit:
    """The audit of a run in progress; use ``audited`` to get one."""

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
        """Write the result of the run."""
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
        """Write the error that ended the run; there are no totals."""
        if isinstance(error, InputError | LockedError):
            return  # nothing was sent
        code: object = ExitCode.INTERNAL
        if isinstance(error, BulkResetError):
            code = error.exit_code
        elif isinstance(error, KeyboardInterrupt):
            code = ExitCode.INTERRUPTED
        elif isinstance(error, SystemExit):
            code = error.code
        stop = {"reason": "error", "message": str(error) or type(error).__name__}
        ending = {"stop": stop, "exit_code": code if isinstance(code, int) else None}
        self._write(ending, waits=False)

    def _write(self, ending: Record, *, waits: bool = True) -> None:
        record = {
            **self._record,
            "ended_at": round(time.time(), 3),
            **self._fingerprint.facts(waits=waits),
            **ending,
        }
        try:
            append_audit(self._report, record)
        except InputError as error:
            # The rows are sent and reported; only this line is missing.
            self._callbacks.on_notice(str(error))


@contextlib.contextmanager
def audited(
    report: Path | None,
    sheet: SheetName,
    scope: str,
    options: Mapping[str, object],
    callbacks: Callbacks,
) -> Iterator[Callable[[Totals], None]]:
    """Audit a run until the block ends; a run without a report has no audit.

    Args:
        sheet: its label, and its path if it is a file.
        options: those that are not at their default.
        scope: identifies the API: its address, or the sandbox.

    Yields: a function to call with the totals at the end.

    Raises:
        InputError: the audit's file is another file; nothing was sent.
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
    """The SHA-256 and size of a sheet, computed in a thread during the run."""

    def __init__(self, path: Path | None) -> None:
        self._facts: Record = {"sheet_sha256": "", "sheet_bytes": None}
        self._thread = threading.Thread(target=self._read, args=(path,), daemon=True)
        self._thread.start()

    def _read(self, path: Path | None) -> None:
        if path is None:
            return
        with contextlib.suppress(OSError):
            sha256, size_bytes = hash_file(path)
            self._facts = {"sheet_sha256": sha256, "sheet_bytes": size_bytes}

    def facts(self, *, waits: bool) -> Record:
        """Return what is known; nothing of standard input and data frames."""
        self._thread.join(None if waits else 0)
        return self._facts
