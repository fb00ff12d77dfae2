"""A job as a systemd timer or a line of a crontab.

Source of the calendar syntax: systemd.time(7). A crontab has no time zones, so a job with
another time zone than the machine's is checked every few minutes with ``--if-due``.
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
import shlex
import sys
from pathlib import Path
from typing import Final

from cronsim import CronSim
from tzlocal import get_localzone_name

from bulk_reset.core.errors import InputError
from bulk_reset.core.safe_text import without_controls
from bulk_reset.jobs.job import Job
from bulk_reset.jobs.job_schema import ScheduleTable
from bulk_reset.jobs.job_value_types import seconds_of

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_CRONSIM_ONLY: Final = re.compile("[#LW]")
"""Syntax of cronsim that crontabs do not have: last day of a month, second Monday."""
_NAMES: Final = re.compile("jul|wed", re.IGNORECASE)


def systemd_units(job: Job, state: Path | None) -> dict[str, str]:
    """Return the units of a job: file name -> text.

    Raises:
        InputError: it has no schedule, or one that systemd cannot express.
    """
    schedule = _schedule_of(job)
    name = f"bulk-reset-{job.name}"
    try:
        calendars = "\n".join(f"OnCalendar={one}" for one in calendars_of(schedule))
    except InputError as error:
        error.with_next("Or run all jobs of the folder", "schedule", job.path.parent)
        raise
    # A backslash at the end would continue the line.
    description = (
        without_controls(" ".join(job.description.split())).rstrip("\\ ").replace("%", "%%")
    )
    jitter_s = seconds_of(schedule.jitter)
    jitter = f"RandomizedDelaySec={jitter_s}\n" if jitter_s else ""
    command = " ".join(_quoted(word) for word in _command(job, state))
    return {
        f"{name}.service": f"""\
[Unit]
Description={description or f"Job {job.name} of bulk-reset"}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={command}
# The app key: use app_key_file in the job file, or one line FLASHDUTY_APP_KEY=… in this file.
EnvironmentFile=-/etc/bulk-reset/{job.name}.env
KillSignal=SIGTERM
TimeoutStopSec=30
NoNewPrivileges=yes
""",
        f"{name}.timer": f"""\
[Unit]
Description=Timer of {name}

[Timer]
{calendars}
{jitter}Persistent={"no" if schedule.catch_up == "skip" else "yes"}
AccuracySec=1s

[Install]
WantedBy=timers.target
""",
    }


def cron_lines(job: Job, state: Path | None) -> str:
    """Return the lines to add to a crontab.

    Raises:
        InputError: it has no schedule.
    """
    schedule = _schedule_of(job)
    command = _command(job, state)
    if not all(word.isprintable() for word in command):
        raise InputError(f"{job.path}: not allowed in a crontab. Rename the file.")
    cron = " ".join(schedule.cron.split())
    is_plain = schedule.time_zone == _local_zone() and not _CRONSIM_ONLY.search(
        _NAMES.sub("", cron.upper())
    )
    lines = [f"# {job.name}: {cron}, {schedule.time_zone}"]
    if is_plain and not seconds_of(schedule.jitter) and schedule.catch_up == "skip":
        when = cron
    else:
        # Without catching up, a due time has to be found while it is on time.
        often, when = ("minute", "*") if schedule.catch_up == "skip" else ("five minutes", "*/5")
        lines.append(f"# cron starts this every {often}, and the job runs only if it is due: a")
        lines.append(
            "# crontab has no time zones and no jitter, and does not catch up missed runs."
        )
        when, command = f"{when} * * * *", [*command, "--if-due"]
    text = shlex.join([*command, "--quiet"]).replace("%", r"\%")
    return "\n".join([*lines, f"{when} {text}", ""])


def calendars_of(schedule: ScheduleTable) -> list[str]:
    """Return a cron expression in systemd's calendar syntax.

    Day of the month and day of the week together mean "either" in cron and "both" in systemd,
    which takes two calendars. If one of them begins with a star, they mean "both" in cron, too.

    Raises:
        InputError: systemd cannot express it.
    """
    parsed = CronSim(schedule.cron, dt.datetime.now(dt.UTC))
    time = f"{_numbers(parsed.hours, 24)}:{_numbers(parsed.minutes, 60)}:00 {schedule.time_zone}"
    months = _numbers(parsed.months, 12)
    if parsed.days == {CronSim.LAST}:
        on_day = f"*-{months}~01"
    elif min(parsed.days) > 0:
        on_day = f"*-{months}-{_numbers(parsed.days, 31)}"
    else:
        raise _not_expressible(schedule)
    weekdays = _weekdays(parsed, schedule)
    if parsed.day_and:
        return [f"{weekdays}{on_day} {time}"]
    return [f"{on_day} {time}", f"{weekdays}*-{months}-* {time}"]


def _local_zone() -> str:
    """Return the name of the machine's time zone; empty if it has none."""
    try:
        return get_localzone_name()
    except LookupError:
        return ""


def _schedule_of(job: Job) -> ScheduleTable:
    if job.schedule is None:
        raise InputError(
            f"{job.path}: no [schedule], so there is nothing to install. Add this table."
        )
    return job.schedule


def _command(job: Job, state: Path | None) -> list[str]:
    program = Path(sys.executable).parent / "bulk-reset"
    words = [str(program)] if program.exists() else [sys.executable, "-P", "-m", "bulk_reset"]
    where = ["--state-dir", str(state.absolute())] if state is not None else []
    return [*words, "job", "run", str(job.path), *where]


def _quoted(word: str) -> str:
    """Return a word quoted for systemd."""
    word = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$").replace('"', '\\"')
    word = "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in word)
    return word if re.fullmatch(r"[\w./=:,@%+-]+", word) else f'"{word}"'


def _numbers(numbers: set[int], how_many: int) -> str:
    """Return numbers in systemd's syntax: ``*``, ``09..17``, ``00..45/15``, ``05,35``."""
    ordered = sorted(numbers)
    steps = {later - earlier for earlier, later in itertools.pairwise(ordered)}
    if len(ordered) == how_many:
        return "*"
    if len(steps) == 1 and len(ordered) > 2:  # noqa: PLR2004  (two are a list)
        [step] = steps
        return f"{ordered[0]:02}..{ordered[-1]:02}" + (f"/{step}" if step > 1 else "")
    return ",".join(f"{number:02}" for number in ordered)


def _weekdays(parsed: CronSim, schedule: ScheduleTable) -> str:
    """Return the days of the week followed by a space; empty for all seven."""
    if not all(isinstance(one, int) for one in parsed.weekdays):
        raise _not_expressible(schedule)
    # Monday first; cron's Sunday is 0 and 7.
    days = sorted({(int(one) - 1) % 7 for one in parsed.weekdays if isinstance(one, int)})
    return "" if len(days) == len(_DAYS) else ",".join(_DAYS[day] for day in days) + " "


def _not_expressible(schedule: ScheduleTable) -> InputError:
    return InputError(f"schedule.cron: {schedule.cron!r}: systemd cannot express this. Use --cron.")
