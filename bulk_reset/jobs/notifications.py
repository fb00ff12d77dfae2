"""Notifications at the end of a run: a command, or a POST to a webhook.

Both get one JSON object. The webhook's address may be a secret in itself (chat services issue
such addresses), so only its host is ever shown. A notification that fails never fails the run.
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
from bulk_reset.core.counting import counted
from bulk_reset.core.errors import InputError
from bulk_reset.core.safe_text import one_line
from bulk_reset.jobs.job import Job
from bulk_reset.jobs.run_record import MISSED, RunRecord

_TIMEOUT_S: Final = 60
_ATTEMPTS: Final = 3
_MOST_BYTES: Final = 1 << 16
_MOST_SHOWN: Final = 200
Sleep = Callable[[float], Awaitable[object]]


def send_notification(
    job: Job, record: RunRecord, folder: Path, *, sleep: Sleep = asyncio.sleep
) -> str:
    """Notify as the job's ``[notify]`` says; return who was notified, and ``failed: …``.

    Args:
        folder: of the run.
        sleep: waits between two attempts, in seconds.
    """
    if job.notify is None:
        return ""
    content = notification_of(record, folder)
    sent: list[str] = []
    failed: list[str] = []
    if job.notify.command is not None:
        problem = _run_command(job.notify.command, content, job.path.parent)
        (failed if problem else sent).append(problem or job.notify.command[0])
    if job.notify.webhook is not None:
        from bulk_reset.engine.event_loop import in_new_loop  # noqa: PLC0415  (imports aiohttp)

        address = job.notify.webhook
        problem = in_new_loop(lambda: _post(address, content, sleep))
        (failed if problem else sent).append(problem or _host(address))
    return one_line("; ".join([*sent, *([f"failed: {', '.join(failed)}"] if failed else [])]))


def notification_of(record: RunRecord, folder: Path) -> dict[str, Any]:
    """Return what is sent: the record with times as ISO 8601 in UTC and absolute paths."""
    content = dataclasses.asdict(record)
    for name in ("due_at", "started_at", "ended_at", "deadline_at", "last_due_at"):
        epoch_s = content[name]
        content[name] = (
            dt.datetime.fromtimestamp(epoch_s, dt.UTC).isoformat(timespec="seconds")
            if epoch_s
            else None
        )
    for name in ("sheet", "report", "page"):
        content[name] = str(folder / content[name]) if content[name] else ""
    text = f"{record.job}: {record.words} (exit code {record.exit_code})"
    if record.state == MISSED:
        text = f"{record.job}: {counted(record.missed, 'run')} missed: {record.words}"
    # Chat services show this key of a message whose other keys they do not know.
    return {"text": text, **content}


def _run_command(command: list[str], content: dict[str, Any], folder: Path) -> str:
    """Run the command; return what failed, or nothing."""
    environment = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
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
        with tempfile.TemporaryFile() as errors:
            code = _run(command, json.dumps(content).encode(), folder, environment, errors)
            errors.seek(0)
            output = redact(errors.read(_MOST_BYTES).decode(errors="replace").strip())
    except subprocess.TimeoutExpired:
        return f"{command[0]}: timed out after {_TIMEOUT_S} s"
    except (OSError, ValueError) as exc:
        return f"{command[0]}: {getattr(exc, 'strerror', None) or exc}"
    return f"{command[0]}: exit code {code}: {output[-_MOST_SHOWN:]}" if code else ""


def _run(
    command: list[str],
    content: bytes,
    folder: Path,
    environment: dict[str, str],
    errors: IO[bytes],
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
            process.communicate(content, timeout=_TIMEOUT_S)
        finally:
            if process.poll() is None:
                _kill(process)
    return process.returncode


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and, where process groups exist, all that it has started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


async def _post(address: str, content: dict[str, Any], sleep: Sleep) -> str:
    """POST the notification, with retries for a short outage; return what failed, or nothing."""
    import aiohttp  # noqa: PLC0415  (rarely needed)

    from bulk_reset.api.proxy import proxy_arguments  # noqa: PLC0415  (imports aiohttp)

    try:
        proxy = proxy_arguments(address)
    except InputError as error:
        return f"{_host(address)}: {error}"
    problem = ""
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S / _ATTEMPTS)
    # Not trust_env, which would send what ~/.netrc has.
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for attempt in range(_ATTEMPTS):
            try:
                # A redirect would send the content to another host.
                async with session.post(
                    address, json=content, allow_redirects=False, **proxy
                ) as answer:
                    if answer.ok and answer.status < 300:  # noqa: PLR2004
                        return ""
                    problem = f"{_host(address)}: HTTP {answer.status}"
                    if answer.status < 500 and answer.status != 429:  # noqa: PLR2004
                        return problem
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
                problem = f"{_host(address)}: {type(exc).__name__}"
            if attempt + 1 < _ATTEMPTS:
                await sleep(2.0**attempt)
    return problem


def _host(address: str) -> str:
    return urlsplit(address).hostname or "webhook"
