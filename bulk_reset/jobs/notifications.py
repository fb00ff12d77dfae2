"""Telling somebody how a run of a job ended: a command, or a POST to an address.

Both get one JSON object. The address may be a secret in itself (chat services give out such
ones), so nothing but its host is ever said. It never raises: a run is not worse for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

from bulk_reset.api.credentials import KEY_VARIABLE, redact
from bulk_reset.core.safe_text import one_line
from bulk_reset.jobs.job import Job
from bulk_reset.jobs.run_records import MISSED, RunRecord

_LONGEST_S: Final = 60
_TRIES: Final = 3
_MOST_BYTES: Final = 1 << 16
_MOST_SHOWN: Final = 200
Sleep = Callable[[float], Awaitable[object]]


def tell(job: Job, record: RunRecord, folder: Path, *, sleep: Sleep = asyncio.sleep) -> str:
    """Tell whom the job names; return who was told, and ``failed: …`` who was not.

    Args:
        folder: of the run.
        sleep: waits between two tries, so many seconds.
    """
    if job.notify is None:
        return ""
    summary = summary_of(record, folder)
    told: list[str] = []
    failed: list[str] = []
    if job.notify.command is not None:
        problem = _tell_command(job.notify.command, summary, job.path.parent)
        (failed if problem else told).append(problem or job.notify.command[0])
    if job.notify.webhook is not None:
        from bulk_reset.engine.event_loop import (  # noqa: PLC0415  (brings aiohttp along)
            in_new_loop,
        )

        address = job.notify.webhook
        problem = in_new_loop(lambda: _tell_webhook(address, summary, sleep))
        (failed if problem else told).append(problem or _host(job.notify.webhook))
    return one_line("; ".join([*told, *([f"failed: {', '.join(failed)}"] if failed else [])]))


def summary_of(record: RunRecord, folder: Path) -> dict[str, Any]:
    """Return what is told: the record, moments as ISO 8601 in UTC, paths in full."""
    told = dataclasses.asdict(record)
    for name in ("due_at", "started_at", "ended_at", "deadline_at", "last_due_at"):
        moment_at = told[name]
        told[name] = (
            dt.datetime.fromtimestamp(moment_at, dt.UTC).isoformat(timespec="seconds")
            if moment_at
            else None
        )
    for name in ("sheet", "report", "page"):
        told[name] = str(folder / told[name]) if told[name] else ""
    text = f"{record.job}: {record.words} (exit code {record.exit_code})"
    if record.state == MISSED:
        text = f"{record.job}: missed {record.missed}: {record.words}"
    # What chat services show of a message that they do not know more of.
    return {"text": text, **told}


def _tell_command(command: list[str], summary: dict[str, Any], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
    environment |= {
        "BULK_RESET_JOB": str(summary["job"]),
        "BULK_RESET_RUN": str(summary["id"]),
        "BULK_RESET_EXIT_CODE": "" if summary["exit_code"] is None else str(summary["exit_code"]),
        # Half of a surrogate pair, from a broken sheet, is no text for the system.
        "BULK_RESET_TEXT": str(summary["text"]).encode(errors="replace").decode(),
    }
    try:
        # Not into a pipe: what it leaves running in the background would keep that open.
        with tempfile.TemporaryFile() as errors:
            code = _run(command, json.dumps(summary).encode(), folder, environment, errors)
            errors.seek(0)
            said = redact(errors.read(_MOST_BYTES).decode(errors="replace").strip())
    except subprocess.TimeoutExpired:
        return f"{command[0]}: has not ended within {_LONGEST_S} s"
    except (OSError, ValueError) as exc:
        return f"{command[0]}: {getattr(exc, 'strerror', None) or exc}"
    return f"{command[0]}: exit code {code}: {said[-_MOST_SHOWN:]}" if code else ""


def _run(
    command: list[str],
    told: bytes,
    folder: Path,
    environment: dict[str, str],
    errors: IO[bytes],
) -> int:
    """Run a command to its end, or end it and all that it has started; return its exit code.

    Raises:
        OSError: there is no such command.
        ValueError: there can be none.
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
            process.communicate(told, timeout=_LONGEST_S)
        finally:
            if process.poll() is None:
                _end(process)
    return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process at once, and where groups are known all that it has started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


async def _tell_webhook(address: str, summary: dict[str, Any], sleep: Sleep) -> str:
    """POST the summary; three tries, for whoever is down for a moment."""
    import aiohttp  # noqa: PLC0415  (rarely needed)

    problem = ""
    timeout = aiohttp.ClientTimeout(total=_LONGEST_S / _TRIES)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
        for again in range(_TRIES):
            try:
                # Whoever redirects would be told what was meant for another.
                async with session.post(address, json=summary, allow_redirects=False) as answer:
                    if answer.ok and answer.status < 300:  # noqa: PLR2004
                        return ""
                    problem = f"{_host(address)}: HTTP {answer.status}"
                    if answer.status < 500 and answer.status != 429:  # noqa: PLR2004
                        return problem
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
                problem = f"{_host(address)}: {type(exc).__name__}"
            if again + 1 < _TRIES:
                await sleep(2.0**again)
    return problem


def _host(address: str) -> str:
    return urlsplit(address).hostname or "webhook"
