"""A notification by a command: the JSON object on its standard input, a text in its environment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Any, Final

from bulk_reset.api.credentials import SECRET_VARIABLES, redact
from bulk_reset.jobs.notify.notify_limit import POLL_S, NotifyLimit

_TIMEOUT_S: Final = 60
_MOST_BYTES: Final = 1 << 16
_MOST_SHOWN: Final = 200


def run_command(
    command: list[str], content: dict[str, Any], job_folder: Path, scratch: Path, limit: NotifyLimit
) -> str:
    """Run the command; return what failed, or nothing.

    Args:
        content: of the notification.
        scratch: a folder that can be written; elsewhere there may be none.
    """
    environment = {
        name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES
    }
    exit_code = content["exit_code"]
    environment |= {
        "BULK_RESET_JOB": str(content["job"]),
        "BULK_RESET_RUN": str(content["id"]),
        "BULK_RESET_EXIT_CODE": "" if exit_code is None else str(exit_code),
        # The system takes no half of a surrogate pair, which a corrupt sheet may contain.
        "BULK_RESET_TEXT": str(content["text"]).encode(errors="replace").decode(),
    }
    try:
        # Not a pipe: processes that the command leaves running would keep it open.
        with tempfile.TemporaryFile(dir=scratch) as errors:
            code = _run(
                command, json.dumps(content).encode(), job_folder, environment, errors, limit
            )
            errors.seek(0)
            output = redact(errors.read(_MOST_BYTES).decode(errors="replace").strip())
    except subprocess.TimeoutExpired:
        why = "stopped by a signal" if limit.stop.is_set() else f"timed out after {_TIMEOUT_S} s"
        return f"{command[0]}: {why}"
    except (OSError, ValueError) as exc:
        return f"{command[0]}: {getattr(exc, 'strerror', None) or exc}"
    return f"{command[0]}: exit code {code}: {output[-_MOST_SHOWN:]}" if code else ""


def _run(  # noqa: PLR0913, PLR0917  (what a process is started with)
    command: list[str],
    content: bytes,
    folder: Path,
    environment: dict[str, str],
    errors: IO[bytes],
    limit: NotifyLimit,
) -> int:
    """Run a command to its end, or kill it with all its processes; return its exit code.

    Raises:
        OSError: there is no such command.
        ValueError: the command is not valid.
        subprocess.TimeoutExpired: it took too long.
    """
    with subprocess.Popen(  # noqa: S603  (what the job file names)
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        cwd=folder,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            _wait(process, content, limit)
        finally:
            if process.poll() is None:
                _kill(process)
    return process.returncode


def _wait(process: subprocess.Popen[bytes], content: bytes, limit: NotifyLimit) -> None:
    ends_at = time.monotonic() + _TIMEOUT_S
    given: bytes | None = content
    while True:
        try:
            process.communicate(given, timeout=POLL_S)
        except subprocess.TimeoutExpired:
            given = None  # the rest of it is still passed on
            if limit.is_over() or time.monotonic() >= ends_at:
                raise
        else:
            return


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and, where process groups exist, all that it has started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
