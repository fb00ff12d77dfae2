"""Notifications about a run: a command, a POST to a webhook, and pings of a monitoring service.

Command and webhook get one JSON object. Of an address only the host is ever shown, and of a
header only its name. A notification that fails never fails the run.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
from pathlib import Path
from typing import Any, Final

from bulk_reset.core.counting import counted
from bulk_reset.core.errors import ExitCode
from bulk_reset.core.safe_text import one_line
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_schema import Notify
from bulk_reset.jobs.job_runs.run_record import MISSED, RunRecord
from bulk_reset.jobs.notify.notify_command import run_command
from bulk_reset.jobs.notify.notify_limit import NotifyLimit
from bulk_reset.jobs.notify.notify_payload import payload_of
from bulk_reset.jobs.notify.notify_webhook import Sleep, host_of, ping, post

_ROWS_IN_TEXT: Final = 3
"""Invalid rows in the text for people; the summary has more of them."""


def send_notification(
    job: Job,
    record: RunRecord,
    folder: Path,
    *,
    limit: NotifyLimit | None = None,
    sleep: Sleep = asyncio.sleep,
) -> str:
    """Notify as the job's ``[notify]`` says; return who was notified, and ``failed: …``.

    Args:
        folder: of the run.
        limit: of the time that it may take.
        sleep: waits between two attempts, in seconds.
    """
    if job.notify is None:
        return ""
    limit = limit or NotifyLimit()
    return send_to(job.notify, job.path.parent, record, folder, limit, sleep=sleep)


def send_to(  # noqa: PLR0913  (what a notification needs)
    notify: Notify,
    job_folder: Path,
    record: RunRecord,
    folder: Path,
    limit: NotifyLimit,
    *,
    sleep: Sleep = asyncio.sleep,
) -> str:
    """Notify these recipients; see ``send_notification``."""
    content = notification_of(record, folder)
    sent: list[str] = []
    failed: list[str] = []
    if notify.command is not None:
        scratch = folder if folder.is_dir() else job_folder
        problem = run_command(notify.command, content, job_folder, scratch, limit)
        (failed if problem else sent).append(problem or notify.command[0])
    if notify.webhook is not None:
        problem = _post(notify, content, sleep, limit)
        (failed if problem else sent).append(problem or host_of(notify.webhook))
    return one_line("; ".join([*sent, *([f"failed: {', '.join(failed)}"] if failed else [])]))


def ping_start(job: Job, limit: NotifyLimit) -> str:
    """Ping that a run of the job starts; return what failed, or nothing."""
    address = job.notify.ping_start if job.notify else None
    return ping(address, limit) if address else ""


def ping_end(job: Job, record: RunRecord, limit: NotifyLimit) -> str:
    """Ping how a run ended: success or failure; return what failed, or nothing."""
    if job.notify is None:
        return ""
    is_success = record.state != MISSED and record.exit_code == ExitCode.DONE
    address = job.notify.ping_success if is_success else job.notify.ping_failure
    return ping(address, limit) if address else ""


def _post(notify: Notify, content: dict[str, Any], sleep: Sleep, limit: NotifyLimit) -> str:
    assert notify.webhook is not None  # noqa: S101  (the caller has checked)
    try:
        body = (
            payload_of(notify.payload, content) if notify.payload else json.dumps(content).encode()
        )
    except ValueError as exc:
        return f"notify.payload: {exc}"
    return post(notify.webhook, body, notify.headers, sleep, limit)


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
    if record.note:
        text += f" Note: {one_line(record.note)}"
    if record.row_errors:
        more = ["…"] if len(record.row_errors) > _ROWS_IN_TEXT else []
        text += f" {' '.join([*record.row_texts()[:_ROWS_IN_TEXT], *more])}"
    if record.state == MISSED:
        text = f"{record.job}: {counted(record.missed, 'run')} missed: {record.words}"
    # Chat services show this key of a message whose other keys they do not know.
    return {"text": text, **content}
