"""The audit: one line of JSON for each run that kept a report, in ``NAME.audit.jsonl`` beside it.

A report has the results of rows; the audit has the facts of runs: which sheet (by its SHA-256),
with which options, when, by which version, and how it ended. Lines are appended and never
rewritten, so a report of several runs has one line of each. Before the first row is sent to an
API, one line more names it: a run that is killed has no other. This is the file's only writer and
reader, but for ``audit_chain``, which links the lines and verifies the links.

Units: ``*_at`` UTC epoch seconds, ``*_s`` seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from filelock import lock_descriptor

from bulk_reset.api.credentials import redact
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import InputError, LockedError, exit_code_of
from bulk_reset.core.file_hash import hash_file
from bulk_reset.core.input_file import open_input
from bulk_reset.core.option_names import option
from bulk_reset.core.totals import Totals, Verification
from bulk_reset.records.audit_chain import next_link
from bulk_reset.records.audit_types import Record, wrong_types
from bulk_reset.records.login import host_name, user_name
from bulk_reset.records.report_reader import beside

AUDIT: Final = "audit.jsonl"
_START: Final = b'{"version":'
"""The start of every line; a file without it is not an audit."""
_EVENT: Final = "event"
"""Only the lines that are written before a run have it."""
_NO_FACTS: Final[Mapping[str, object]] = {}
EndAudit = Callable[[Totals, Mapping[str, object]], None]


class Destination(NamedTuple):
    """Where rows were sent.

    Attributes:
        scope: the API's address, or ``sandbox``.
        state: the file of the sandbox's incidents; empty if they ended with the command.
    """

    scope: str
    state: str = ""


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
    return [record for record in _records(report) if _EVENT not in record]


def destination_of(report: Path) -> Destination | None:
    """Return the API that the rows of a report were sent to; raises as ``read_audit``.

    The last one: a report without rows may have been begun for another. None without an audit.
    """
    records = _records(report)
    return _destination(records[-1]) if records else None


def sheet_names_of(report: Path) -> frozenset[str]:
    """Return the names of the sheets of a report's runs, without their folders."""
    return frozenset(Path(str(record.get("sheet", ""))).name for record in _records(report))


def note_start(report: Path, sheet: SheetName, scope: str, options: Mapping[str, object]) -> None:
    """Write which API a report's rows are about to be sent to, unless the audit's end has it.

    Raises:
        InputError: the audit cannot be read or written; nothing was sent.
    """
    start = {
        "started_at": round(time.time(), 3),
        _EVENT: "run_started",
        "sheet": sheet.label,
        "scope": scope,
        "options": _as_json(options),
    }
    if _destination(start) != destination_of(report):
        append_audit(report, {"version": version("bulk-reset"), **start})


def _destination(record: Mapping[str, Any]) -> Destination:
    options = record.get("options")
    state = options.get("sandbox_state") if isinstance(options, Mapping) else None
    return Destination(str(record.get("scope", "")), str(state or ""))


def _records(report: Path) -> list[Record]:
    path = beside(report, AUDIT)
    try:
        with open_input(path) as file:
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise InputError(
            f"{path}: cannot be read ({exc.strerror}). Make the file readable for this user, or "
            "move it away."
        ) from exc
    records = []
    for number, line in enumerate(lines, 1):
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict) and "version" in record:
                if wrong := wrong_types(record):
                    raise InputError(
                        f"{path}: line {number}: {wrong[0]} is {wrong[1]}; the line may have been "
                        "edited. Undo the edit, or remove the line."
                    )
                records.append(record)
    return records


def append_audit(report: Path, record: Mapping[str, Any]) -> None:
    """Append a line and write it to the disk; a torn line before it is not changed.

    Raises:
        InputError: the file is not an audit, or cannot be written.
    """
    path = beside(report, AUDIT)
    refuse_other(report)
    try:
        mode = report.stat().st_mode & 0o666 if report.exists() else 0o666
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, mode)
        with os.fdopen(descriptor, "a+b", buffering=0) as file:
            # Two runs that end at once must not continue the same line.
            lock_descriptor(descriptor)
            file.seek(0)
            content = file.read()
            link = next_link(content)._asdict()
            text = json.dumps({"version": "", **record, **link}, separators=(",", ":"))
            is_torn = content[-1:] not in {b"", b"\n"}
            file.write(b"\n" * is_torn + redact(text).encode() + b"\n")
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
            with open_input(path) as file:
                start = file.read(len(_START))
    if not _START.startswith(start):
        raise InputError(
            f"{path}: not an audit of bulk-reset; the file was not changed. Move it, or use "
            f"{option('report', 'FILE')} to write elsewhere."
        )


class Audit:
    """The audit of a run in progress; use ``audited`` to get one."""

    def __init__(  # noqa: PLR0913, PLR0917  (the facts of a run)
        self,
        report: Path,
        sheet: SheetName,
        scope: str,
        options: Mapping[str, object],
        callbacks: Callbacks,
        facts: Mapping[str, object] = _NO_FACTS,
    ) -> None:
        self._report, self._callbacks = report, callbacks
        self._fingerprint = _Fingerprint(sheet.path)
        self._record: Record = {
            "version": version("bulk-reset"),
            "user": user_name(),
            "host": host_name(),
            "started_at": round(time.time(), 3),
            "sheet": sheet.label,
            "scope": scope,
            "options": _as_json(options),
            **({"note": options["note"]} if options.get("note") else {}),
            **facts,
        }

    def end(self, totals: Totals, facts: Mapping[str, object] = _NO_FACTS) -> None:
        """Write the result of the run, with more keys that are known at its end."""
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
                **facts,
            }
        )

    def fail(self, error: BaseException) -> None:
        """Write the error that ended the run; there are no totals."""
        if isinstance(error, InputError | LockedError):
            return  # nothing was sent
        stop = {"reason": "error", "message": str(error) or type(error).__name__}
        ending = {"stop": stop, "exit_code": int(exit_code_of(error))}
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
def audited(  # noqa: PLR0913, PLR0917  (the facts of a run)
    report: Path | None,
    sheet: SheetName,
    scope: str,
    options: Mapping[str, object],
    callbacks: Callbacks,
    facts: Mapping[str, object] = _NO_FACTS,
) -> Iterator[EndAudit]:
    """Audit a run until the block ends; a run without a report has no audit.

    Args:
        sheet: its label, and its path if it is a file.
        options: those that are not at their default.
        scope: identifies the API: its address, or the sandbox.
        facts: more keys of the line, such as ``approvals``.

    Yields: ``Audit.end``, to call at the end.

    Raises:
        InputError: the audit's file is another file; nothing was sent.
    """
    if report is None:
        yield lambda *_: None
        return
    refuse_other(report)
    audit = Audit(report, sheet, scope, options, callbacks, facts)
    try:
        yield audit.end
    except BaseException as error:
        audit.fail(error)
        raise


def _as_json(options: Mapping[str, object]) -> Record:
    """Return options as JSON has them; the note is a key of the line itself."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in options.items()
        if name != "note"
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
