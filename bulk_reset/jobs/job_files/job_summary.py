"""A job in words: what it will do, when it is due next, and what may prevent it."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bulk_reset.api.credentials import DEFAULT_BASE_URL, find_credentials
from bulk_reset.core.counting import counted
from bulk_reset.core.errors import BulkResetError
from bulk_reset.core.option_names import OptionStyle, name_options_as
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_schema import PullFrom
from bulk_reset.jobs.job_files.job_value_types import seconds_of
from bulk_reset.jobs.notify.notify_webhook import host_of
from bulk_reset.jobs.schedule.timetable import Timetable
from bulk_reset.sheets.file_types import is_remote
from bulk_reset.sheets.remote.address import RemoteAddress

SHOWN_DUES: Final = 5
FREE_TEXT: Final = frozenset({"Update", "Column"})
"""Aspects with texts of the job file, which may contain any characters."""
_CATCH_UP: Final = {
    "skip": "skipped",
    "once": "the last one runs, up to {within} late",
    "all": "each one runs, up to {within} late",
}


def describe(job: Job) -> list[tuple[str, str]]:
    """Return what a job does: aspect and text, several statements separated by ``"; "``."""
    return [
        ("Source", _source(job)),
        *(("Update", f"{field} = {template}") for field, template in job.set.items()),
        *(("Column", f"{field} = {column!r}") for field, column in job.columns.items()),
        ("Sending", _sending(job)),
        ("Safety", _safety(job)),
        ("API", _api(job)),
        ("Files", _files(job)),
        ("Notifications", _notifications(job)),
        *_schedule(job),
    ]


def next_dues(job: Job, now_at: float) -> list[str]:
    """Return the next due times of a job, in its zone and in UTC."""
    timetable = Timetable.of(job)
    if timetable is None:
        return []
    lines = []
    for due in itertools.islice(timetable.after(now_at), SHOWN_DUES):
        time_due = dt.datetime.fromtimestamp(due.due_at, timetable.zone)
        line = f"{time_due:%a %Y-%m-%d %H:%M %Z}"
        if time_due.utcoffset():
            line += f" ({time_due.astimezone(dt.UTC):%H:%M} UTC)"
        if due.starts_at > due.due_at:
            line += f", starts {dt.datetime.fromtimestamp(due.starts_at, timetable.zone):%H:%M:%S}"
        if due.deadline_at is not None:
            deadline = dt.datetime.fromtimestamp(due.deadline_at, timetable.zone)
            line += f", stops {deadline:%a %H:%M}"
        lines.append(line + _clock_change(time_due))
    return lines


def concerns(job: Job) -> Iterator[str]:
    """Yield what is valid in the file and may still be wrong on this machine, at this time."""
    if job.api.sandbox or job.api.sandbox_state:
        yield "requests go to the built-in sandbox, not to the API"
    else:
        yield from _key_concerns(job)
    sheet = job.source.sheet
    if sheet is not None and not is_remote(sheet) and not job.beside(sheet).is_file():
        yield f"the sheet {from_here(job.beside(sheet))} does not exist now"
    if job.source.newest and job.source.afterwards == "leave":
        yield (
            "every run sends the newest sheet, even if it was sent before; use afterwards = "
            '"done" to move sent sheets away'
        )
    yield from _command_concerns(job)
    yield from _place_concerns(job)
    yield from _schedule_concerns(job)


def _key_concerns(job: Job) -> Iterator[str]:
    try:
        with name_options_as(OptionStyle.JOB_FILE):
            found = find_credentials(
                access_token_file=job.beside_or_none(job.api.access_token_file),
                app_key_file=job.beside_or_none(job.api.app_key_file),
                base_url=job.api.base_url,
            )
    except BulkResetError as error:
        yield f"a run as this user has no app key now: {error}"
    else:
        if found.warning:
            yield found.warning


def _command_concerns(job: Job) -> Iterator[str]:
    command = job.notify.command[0] if job.notify and job.notify.command else None
    if command is None:
        return
    # As the system finds it: a bare name on the PATH, a path relative to the job's folder.
    beside = job.path.parent / command
    is_path = Path(command).name != command
    if shutil.which(str(beside) if is_path else command) is None:
        hint = f"; for the file beside the job file use ./{command}" if beside.is_file() else ""
        yield f"notify.command: no program {command}{'' if is_path else hint}"


def _place_concerns(job: Job) -> Iterator[str]:
    if job.report.copy_to:
        place = job.beside(job.report.copy_to).parent
        while not place.exists() and place != place.parent:
            place = place.parent
        if not _is_writable(place):
            yield f"report.copy_to: the folder {from_here(place)} cannot be written"
    if job.report.metrics_file:
        place = job.beside(job.report.metrics_file).parent
        if not _is_writable(place):
            yield f"report.metrics_file: the folder {from_here(place)} cannot be written"


def _is_writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _schedule_concerns(job: Job) -> Iterator[str]:
    timetable = Timetable.of(job)
    if timetable is None:
        yield "no [schedule]: the job runs only when you start it"
        return
    due = next(timetable.after(time.time()))
    if due.deadline_at is not None and due.deadline_at - due.due_at <= timetable.jitter_s:
        yield "the jitter can exceed the time to the deadline; such runs are missed"


def from_here(path: Path) -> str:
    """Return a path relative to the current folder, if it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def describe_due(job: Job) -> str:
    """Return the due times of a job, in a line."""
    timetable = Timetable.of(job)
    if timetable is None:
        return "not scheduled"
    return f"{timetable.description()}, {timetable.zone.key}"


def _source(job: Job) -> str:
    source = job.source
    if source.pull is not None:
        return f"incidents {_pull(source.pull)}"
    if source.sheet is not None:
        is_address = is_remote(source.sheet)
        place = RemoteAddress.of(source.sheet).shown if is_address else ""
        text = f"sheet {place or from_here(job.beside(source.sheet))}"
    else:
        text = f"newest of {from_here(job.beside(source.newest or ''))}"
    more = [
        f"worksheet {source.worksheet!r}" if source.worksheet else "",
        f"read by the profile {from_here(job.beside(source.profile))}" if source.profile else "",
        f"checked by the rules {from_here(job.beside(source.rules))}" if source.rules else "",
        "no error if there is none" if source.if_none == "nothing" else "",
        "moved to done/ after sending" if source.afterwards == "done" else "",
    ]
    return "; ".join([text, *filter(None, more)])


def _pull(pull: PullFrom) -> str:
    until = f" until {pull.until}" if pull.until != "now" else ""
    filters: dict[str, list[str]] = {
        "query": [pull.query] if pull.query else [],
        "severity": list(pull.severity),
        "progress": list(pull.progress),
        "channel": pull.channel,
        "team": [str(one) for one in pull.team],
        "num": pull.num,
    }
    more = [f"{name} {' or '.join(some)}" for name, some in filters.items() if some]
    which = ", ".join([f"since {pull.since}{until}", *more])
    return f"{which}; times are relative to the due time"


def _sending(job: Job) -> str:
    run, limits = job.run, job.limits
    texts = [f"up to {counted(limits.max_rows, 'row')}; with more rows, nothing is sent"]
    if run.canary:
        texts.append(f"canary of {counted(run.canary, 'row')}, then the rest if it passes")
    if limits.max_failures is not None:
        texts.append(f"stops if more than {limits.max_failures} fail")
    if isinstance(limits.max_change, str):
        texts.append(f"sends nothing if more than {limits.max_change} of the rows change")
    elif limits.max_change < limits.max_rows:
        rows = counted(limits.max_change, "row")
        texts.append(f"sends nothing if more than {rows} will change")
    if limits.max_critical is not None:
        incidents = counted(limits.max_critical, "Critical incident")
        texts.append(f"sends nothing if more than {incidents} change")
    if limits.max_duration is not None:
        texts.append(f"stops after {limits.max_duration}; remaining rows stay pending")
    if run.skip_invalid:
        texts.append("invalid rows are skipped")
    if run.on_conflict != "error":
        texts.append(f"contradicting rows: {run.on_conflict}")
    return "; ".join([*texts, *_sending_flags(job)])


def _sending_flags(job: Job) -> Iterator[str]:
    if job.run.mute_reply:
        yield "webhooks are not called for comments"
    if job.run.only_unpinned:
        yield "leaves out fields that were edited by hand before"
    if job.run.verify:
        yield "verifies the updated incidents"


def _safety(job: Job) -> str:
    if job.run.approved_by:
        names = " or ".join(job.run.approved_by)
        return f"sends only a saved plan that {names} approved; {_safety_of_values(job)}"
    return _safety_of_values(job)


def _safety_of_values(job: Job) -> str:
    if not job.run.before:
        return "current values are not read; no undo and no conflict detection"
    if job.run.overwrite:
        return "overwrites conflicts (incidents modified since the pull); keeps previous values"
    return "skips conflicts (incidents modified since the pull); keeps previous values for undo"


def _api(job: Job) -> str:
    api = job.api
    per_second, per_minute = (max(1, int(n * api.share)) for n in (api.per_second, api.per_minute))
    quota = f"up to {counted(per_second, 'request')} per second and {per_minute:,} per minute"
    if api.sandbox_state:
        return f"built-in sandbox, stored in {from_here(job.beside(api.sandbox_state))}; {quota}"
    if api.sandbox:
        return f"built-in sandbox; {quota}"
    return f"{urlsplit(api.base_url or DEFAULT_BASE_URL).hostname}; {quota}"


def _files(job: Job) -> str:
    texts = ["sheet, report, previous values and log in the run's own folder"]
    if job.report.html:
        texts.append("report page")
    if job.report.copy_to:
        texts.append(f"copies at {from_here(job.beside(job.report.copy_to))}")
    if job.report.metrics_file:
        texts.append(f"metrics in {from_here(job.beside(job.report.metrics_file))}")
    if job.keep:
        texts.append(f"runs older than {job.keep} are removed, except the last one")
    return "; ".join(texts)


def _notifications(job: Job) -> str:
    if job.notify is None:
        return "none"
    recipients = [job.notify.command[0]] if job.notify.command else []
    if job.notify.webhook:
        recipients.append(host_of(job.notify.webhook))
    when = "always" if job.notify.when == "always" else "if not all rows are done"
    texts = [f"{' and '.join(recipients)}, {when}"] if recipients else []
    texts += [
        f"ping at {event}: {host_of(address)}"
        for event in ("start", "success", "failure")
        if (address := getattr(job.notify, f"ping_{event}"))
    ]
    return "; ".join(texts)


def _schedule(job: Job) -> Iterator[tuple[str, str]]:
    schedule = job.schedule
    if schedule is None:
        return
    late = f", up to {schedule.jitter} later" if seconds_of(schedule.jitter) else ""
    yield "Due", describe_due(job) + late
    missed = _CATCH_UP[schedule.catch_up].format(within=schedule.catch_up_within)
    is_limited = schedule.deadline and schedule.catch_up != "skip"
    yield "Missed runs", missed + (f", before {schedule.deadline}" if is_limited else "")
    yield "Outage", f"resumes every {schedule.again_after} until the API responds"
    if schedule.deadline:
        yield "Deadline", f"stops at {schedule.deadline}; remaining rows stay pending"


def _clock_change(due: dt.datetime) -> str:
    """Return a note if the clock changes within 12 hours of this time; else nothing."""
    day = dt.timedelta(hours=12)
    before, after = (
        dt.datetime.fromtimestamp(due.timestamp() + sign * day.total_seconds(), due.tzinfo)
        for sign in (-1, 1)
    )
    change = (after.utcoffset() or dt.timedelta()) - (before.utcoffset() or dt.timedelta())
    if not change:
        return ""
    direction = "forward" if change > dt.timedelta() else "back"
    return f", the clock is set {direction} that night"
