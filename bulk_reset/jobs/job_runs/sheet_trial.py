"""Reads a sheet in a process of its own first, with a limit on the time.

No one is there to stop a job that reads a file for hours, or that fills the memory. So a workbook
and a large text file are read once in a child process. If that takes longer than
``source.read_within``, the system ends it, whatever it is doing, and the run ends with an error.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from bulk_reset.core.errors import SheetError
from bulk_reset.engine.options import ReadingOptions
from bulk_reset.jobs.job_files.job_value_types import seconds_of
from bulk_reset.sheets.file_types import PARQUET_EXTENSIONS, WORKBOOK_TYPES

_SMALL_TEXT_BYTES: Final = 1 << 24
"""A text file up to this size is read in seconds, whatever it contains."""
_START_S: Final = 60
"""For the start of the process, which is not part of the limit."""
_OPTIONS: Final = ("mapping", "delimiter", "encoding", "sheet_name", "header_row")


def require_readable(sheet: Path, options: ReadingOptions, limit: str) -> None:
    """Read a sheet in a child process.

    Errors of the sheet are left to the run, which reports them with all details.

    Args:
        limit: the duration of ``source.read_within``.

    Raises:
        SheetError: it took longer, or the process was killed; nothing was sent.
    """
    is_text = sheet.suffix.lower() not in {*WORKBOOK_TYPES, *PARQUET_EXTENSIONS}
    if is_text and sheet.stat().st_size < _SMALL_TEXT_BYTES:
        return
    how = {name: getattr(options, name) for name in _OPTIONS}
    how["profile"], how["rules"] = (
        None if path is None else str(path) for path in (options.profile, options.rules)
    )
    seconds = seconds_of(limit)
    try:
        done = subprocess.run(  # noqa: S603  (this program)
            _command(sheet, seconds),
            input=json.dumps(how).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=seconds + _START_S,
            check=False,
        )
        ended_by = -done.returncode
    except subprocess.TimeoutExpired:  # not even the alarm came, as on Windows
        ended_by = _ALARM
    if ended_by == _ALARM:
        raise SheetError(
            f"{sheet}: reading it takes longer than {limit}. Remove what is not needed from it, "
            "save it as CSV, or use a higher source.read_within."
        )
    if ended_by > 0:
        raise SheetError(
            f"{sheet}: the process that read it was ended by signal {ended_by}, probably because "
            "it needs too much memory. Save it as CSV, or free memory."
        )


def _command(sheet: Path, seconds: int) -> list[str]:
    return [sys.executable, "-P", "-m", __name__, os.fspath(sheet), str(seconds)]


_ALARM: Final = int(getattr(signal, "SIGALRM", 14))


def _read(sheet: str, options: dict[str, Any]) -> None:
    from bulk_reset.sheets.open_sheet import open_sheet  # noqa: PLC0415  (imports pandas)
    from bulk_reset.sheets.sheet_check import check_rows  # noqa: PLC0415

    if hasattr(signal, "setitimer"):
        # Its default action ends the process, even inside of native code.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
    with open_sheet(sheet, **options) as table:
        check_rows(table)


if __name__ == "__main__":
    try:
        _read(sys.argv[1], json.load(sys.stdin))
    except Exception:  # noqa: BLE001  (the run itself reports it)
        sys.exit(1)
