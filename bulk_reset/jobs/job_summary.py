"""A job in words: what it would do, when it is due next, and what looks wrong just now."""

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

from bulk_reset.api.credentials import find_credentials
from bulk_reset.core.errors import BulkResetError
from bulk_reset.jobs.job import Job
from bulk_reset.jobs.job_schema import PullFrom
from bulk_reset.jobs.job_value_types import seconds_of
from bulk_reset.jobs.timetable import Timetable

SHOWN_DUES: Final = 5
_CATCH_UP: Final = {
    "skip": "runs that were missed are left out",
    "once": "of runs that were missed the last one is run, up to {within} late",
    "all": "runs that were missed are run one after the other, up to {within} late",
}


def describe(job: Job) -> list[tuple[str, str]]:
    """Return what a job does, aspect by aspect."""
    told = [
        ("Rows", _source(job)),
        *(("Sets", f"{field} = {template}") for field, template in job.set.items()),
        *(("Column", f"{field} stands in {column!r}") for field, column in job.columns.items()),
        ("Sends", _sending(job)),
        ("Safety", _safety(job)),
        ("To", _place(job)),
        ("Keeps", _keeping(job)),
        ("Tells", _telling(job)),
        *_schedule(job),
    ]
    return [(name, text) for name, text in told if text]


def next_dues(job: Job, now_at: float) -> list[str]:
    """Return the next moments at which a job is due, in its zone and in UTC."""
    timetable = Timetable.of(job)
    if timetable is None:
        return []
    lines = []
    for due in itertools.islice(timetable.after(now_at), SHOWN_DUES):
        moment = dt.datetime.fromtimestamp(due.due_at, timetable.zone)
        line = f"{moment:%a %Y-%m-%d %H:%M %Z}"
        if moment.utcoffset():
            line += f" ({moment.astimezone(dt.UTC):%H:%M} UTC)"
        if due.starts_at > due.due_at:
            line += f", starts {dt.datetime.fromtimestamp(due.starts_at, timetable.zone):%H:%M:%S}"
        if due.deadline_at is not None:
            deadline = dt.datetime.fromtimestamp(due.deadline_at, timetable.zone)
            line += f", stops {deadline:%a %H:%M}"
        lines.append(line + _clock_change(moment))
    return lines


def concerns(job: Job) -> Iterator[str]:
    """Yield what is no mistake in the file, and still looks wrong here and now."""
    if job.api.sandbox or job.api.sandbox_state:
        yield "it is a rehearsal: all goes to the built-in sandbox, and nothing to the API"
    else:
        yield from _key_concerns(job)
    sheet = job.source.sheet
    if sheet is not None and not job.beside(sheet).is_file():
        yield f"the sheet {from_here(job.beside(sheet))} is not there now"
    if job.source.newest and job.source.afterwards == "leave":
        yield (
            "the newest sheet is sent again each time until there is a newer one; afterwards = "
            '"done" moves it away'
        )
    yield from _command_concerns(job)
    yield from _place_concerns(job)
    yield from _schedule_concerns(job)


def _key_concerns(job: Job) -> Iterator[str]:
    key_file = job.beside(job.api.app_key_file) if job.api.app_key_file else None
    try:
        found = find_credentials(app_key_file=key_file, base_url=job.api.base_url)
    except BulkResetError as error:
        yield f"a run here and now would find no key: {error}"
    else:
        if found.warning:
            yield found.warning


def _command_concerns(job: Job) -> Iterator[str]:
    command = job.notify.command[0] if job.notify and job.notify.command else None
    if command is None:
        return
    # As the system looks for it: a bare name among the programs, a path from the job's folder.
    beside = job.path.parent / command
    is_path = Path(command).name != command
    if shutil.which(str(beside) if is_path else command) is None:
        hint = f"; for the one beside the job file write ./{command}" if beside.is_file() else ""
        yield f"notify.command: there is no program {command} here{'' if is_path else hint}"


def _place_concerns(job: Job) -> Iterator[str]:
    if job.report.copy_to:
        place = job.beside(job.report.copy_to).parent
        while not place.exists() and place != place.parent:
            place = place.parent
        if not _takes_files(place):
            yield f"report.copy_to: nothing can be written into {from_here(place)}"
    if job.report.metrics_file:
        place = job.beside(job.report.metrics_file).parent
        if not _takes_files(place):
            yield f"report.metrics_file: nothing can be written into {from_here(place)}"


def _takes_files(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _schedule_concerns(job: Job) -> Iterator[str]:
    timetable = Timetable.of(job)
    if timetable is None:
        yield "it has no [schedule]: bulk-reset schedule does not run it, only job run does"
        return
    due = next(timetable.after(time.time()))
    if due.deadline_at is not None and due.deadline_at - due.due_at <= timetable.jitter_s:
        yield "the jitter can be longer than the time to the deadline: such runs are missed"


def from_here(path: Path) -> str:
    """Return a path as short as it can be typed in this folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def describe_due(job: Job) -> str:
    """Return when a job is due, in a line."""
    timetable = Timetable.of(job)
    if timetable is None:
        return "not scheduled"
    return f"{timetable.words()}, {timetable.zone.key}"


def _source(job: Job) -> str:
    source = job.source
    if source.pull is not None:
        return f"the incidents {_pull(source.pull)}"
    if source.sheet is not None:
        text = f"the sheet {from_here(job.beside(source.sheet))}"
    else:
        text = f"the newest of {from_here(job.beside(source.newest or ''))}"
    more = [
        f"worksheet {source.worksheet!r}" if source.worksheet else "",
        "without one there is nothing to do" if source.if_none == "nothing" else "",
        "moved to done/ once it is through" if source.afterwards == "done" else "",
    ]
    return "; ".join([text, *filter(None, more)])


def _pull(told: PullFrom) -> str:
    until = f" until {told.until}" if told.until != "now" else ""
    filters: dict[str, list[str]] = {
        "query": [told.query] if told.query else [],
        "severity": list(told.severity),
        "progress": list(told.progress),
        "channel": told.channel,
        "team": [str(one) for one in told.team],
        "num": told.num,
    }
    more = [f"{name} {' or '.join(some)}" for name, some in filters.items() if some]
    which = ", ".join([f"since {told.since}{until}", *more])
    return f"{which}; times are counted from when it is due"


def _sending(job: Job) -> str:
    ways, limits = job.run, job.limits
    told = [f"at most {limits.max_rows:,} rows (more are a mistake, and nothing is sent)"]
    if ways.canary:
        told.append(f"{ways.canary} first, the rest if they are well when read back")
    if limits.max_failures is not None:
        told.append(f"stops when more than {limits.max_failures} fail")
    if ways.skip_invalid:
        told.append("rows with mistakes are left out")
    if ways.on_conflict != "error":
        told.append(f"rows that contradict one another: {ways.on_conflict}")
    if ways.verify:
        told.append("reads back what was written")
    return "; ".join(told)


def _safety(job: Job) -> str:
    if not job.run.before:
        return "sends without a look: no way back, and nobody's newer edit is seen"
    if job.run.overwrite:
        return "what somebody has changed meanwhile is overwritten; what stood there is kept"
    return "what somebody has changed meanwhile is held back; what stood there is kept for undo"


def _place(job: Job) -> str:
    api = job.api
    per_second, per_minute = (max(1, int(n * api.share)) for n in (api.per_second, api.per_minute))
    quota = f"{per_second:,} requests a second and {per_minute:,} a minute at most"
    if api.sandbox_state:
        return f"the built-in sandbox, kept in {from_here(job.beside(api.sandbox_state))}; {quota}"
    if api.sandbox:
        return f"the built-in sandbox; {quota}"
    return f"{urlsplit(api.base_url).hostname if api.base_url else 'the API'}; {quota}"


def _keeping(job: Job) -> str:
    told = ["sheet, report, before-images and log in the run's own folder"]
    if job.report.html:
        told.append("a page to look at")
    if job.report.copy_to:
        told.append(f"copies at {from_here(job.beside(job.report.copy_to))}")
    if job.report.metrics_file:
        told.append(f"metrics in {from_here(job.beside(job.report.metrics_file))}")
    return "; ".join(told)


def _telling(job: Job) -> str:
    if job.notify is None:
        return "nobody"
    whom = [job.notify.command[0]] if job.notify.command else []
    if job.notify.webhook:
        whom.append(urlsplit(job.notify.webhook).hostname or "a webhook")
    when = "always" if job.notify.when == "always" else "when not all is done"
    return f"{' and '.join(whom)}, {when}"


def _schedule(job: Job) -> Iterator[tuple[str, str]]:
    told = job.schedule
    if told is None:
        return
    late = f", up to {told.jitter} later" if seconds_of(told.jitter) else ""
    yield "Due", describe_due(job) + late
    yield "Missed", _CATCH_UP[told.catch_up].format(within=told.catch_up_within)
    yield "Outage", f"what the API does not answer is tried again every {told.again_after}"
    if told.deadline:
        yield "Stops", f"at {told.deadline}; what is left stays pending"


def _clock_change(moment: dt.datetime) -> str:
    """Say that the clock is changed around a moment, where it is."""
    day = dt.timedelta(hours=12)
    before, after = (
        dt.datetime.fromtimestamp(moment.timestamp() + sign * day.total_seconds(), moment.tzinfo)
        for sign in (-1, 1)
    )
    change = (after.utcoffset() or dt.timedelta()) - (before.utcoffset() or dt.timedelta())
    if not change:
        return ""
    return f", the clock goes {'forward' if change > dt.timedelta() else 'back'} that night"
