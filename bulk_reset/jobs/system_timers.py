"""A job as a systemd timer or a line of a crontab, for machines that have those anyway.

Source of the calendar's writing: systemd.time(7). A crontab knows no time zone, so a job whose
zone is not the machine's is asked every few minutes whether it is due.
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
_OWN_WAYS: Final = re.compile("[#LW]")
"""What cronsim knows and crontabs do not: the last day of a month, its second Monday."""
_NAMES: Final = re.compile("jul|wed", re.IGNORECASE)


def systemd_units(job: Job, state: Path | None) -> dict[str, str]:
    """Return the units of a job: file name -> text.

    Raises:
        InputError: it has no schedule, or one that systemd cannot say.
    """
    told = _schedule_of(job)
    name = f"bulk-reset-{job.name}"
    calendars = "\n".join(f"OnCalendar={one}" for one in calendars_of(told))
    # A backslash at its end would take the next line along.
    description = (
        without_controls(" ".join(job.description.split())).rstrip("\\ ").replace("%", "%%")
    )
    jitter = f"RandomizedDelaySec={seconds_of(told.jitter)}\n" if seconds_of(told.jitter) else ""
    command = " ".join(_quoted(word) for word in _command(job, state))
    return {
        f"{name}.service": f"""\
[Unit]
Description={description or f"bulk-reset job {job.name}"}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={command}
# The key: a file named by app_key_file in the job, or one line FLASHDUTY_APP_KEY=… in this file.
EnvironmentFile=-/etc/bulk-reset/{job.name}.env
KillSignal=SIGTERM
TimeoutStopSec=30
NoNewPrivileges=yes
""",
        f"{name}.timer": f"""\
[Unit]
Description=When {name} is due

[Timer]
{calendars}
{jitter}Persistent={"no" if told.catch_up == "skip" else "yes"}
AccuracySec=1s

[Install]
WantedBy=timers.target
""",
    }


def cron_lines(job: Job, state: Path | None) -> str:
    """Return what to add to a crontab.

    Raises:
        InputError: it has no schedule.
    """
    told = _schedule_of(job)
    command = _command(job, state)
    if not all(word.isprintable() for word in command):
        raise InputError(f"{job.path}: a crontab cannot say this name. Rename it.")
    is_plain = told.time_zone == _here() and not _OWN_WAYS.search(_NAMES.sub("", told.cron.upper()))
    lines = [f"# {job.name}: {' '.join(told.cron.split())}, {told.time_zone}"]
    if is_plain and not seconds_of(told.jitter) and told.catch_up == "skip":
        when = " ".join(told.cron.split())
    else:
        # What is not to be caught up has to be asked about while it is on time.
        often, when = ("minute", "*") if told.catch_up == "skip" else ("five minutes", "*/5")
        lines.append(f"# Asked every {often} whether it is due: a crontab knows neither time zones")
        lines.append("# nor jitter, and catches up nothing.")
        when, command = f"{when} * * * *", [*command, "--if-due"]
    text = shlex.join([*command, "--quiet"]).replace("%", r"\%")
    return "\n".join([*lines, f"{when} {text}", ""])


def calendars_of(told: ScheduleTable) -> list[str]:
    """Return a cron expression as systemd writes it.

    Days of the month and of the week together mean either in cron, and both in systemd: that
    makes two calendars. Where one of them begins with a star they mean both in cron, too.

    Raises:
        InputError: systemd cannot say it.
    """
    meant = CronSim(told.cron, dt.datetime.now(dt.UTC))
    time = f"{_said(meant.hours, 24)}:{_said(meant.minutes, 60)}:00 {told.time_zone}"
    months = _said(meant.months, 12)
    if meant.days == {CronSim.LAST}:
        on_day = f"*-{months}~01"
    elif min(meant.days) > 0:
        on_day = f"*-{months}-{_said(meant.days, 31)}"
    else:
        raise _unsayable(told)
    on_weekday = f"{_weekdays(meant, told)}*-{months}-*"
    if meant.day_and:
        return [f"{_weekdays(meant, told)}{on_day} {time}"]
    return [f"{on_day} {time}", f"{on_weekday} {time}"]


def _here() -> str:
    """Return the machine's zone by its name; empty where it has none."""
    try:
        return get_localzone_name()
    except LookupError:
        return ""


def _schedule_of(job: Job) -> ScheduleTable:
    if job.schedule is None:
        raise InputError(
            f"{job.path}: has no [schedule], so there is nothing to install. Write it."
        )
    return job.schedule


def _command(job: Job, state: Path | None) -> list[str]:
    program = Path(sys.executable).parent / "bulk-reset"
    words = [str(program)] if program.exists() else [sys.executable, "-P", "-m", "bulk_reset"]
    where = ["--state-dir", str(state.absolute())] if state is not None else []
    return [*words, "job", "run", str(job.path), *where]


def _quoted(word: str) -> str:
    """Return a word as systemd reads it."""
    word = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$").replace('"', '\\"')
    word = "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in word)
    return word if re.fullmatch(r"[\w./=:,@%+-]+", word) else f'"{word}"'


def _said(numbers: set[int], how_many: int) -> str:
    """Return numbers as systemd writes them: ``*``, ``09..17``, ``00..45/15``, ``05,35``."""
    told = sorted(numbers)
    steps = {later - earlier for earlier, later in itertools.pairwise(told)}
    if len(told) == how_many:
        return "*"
    if len(steps) == 1 and len(told) > 2:  # noqa: PLR2004  (two are a list)
        [step] = steps
        return f"{told[0]:02}..{told[-1]:02}" + (f"/{step}" if step > 1 else "")
    return ",".join(f"{number:02}" for number in told)


def _weekdays(meant: CronSim, told: ScheduleTable) -> str:
    """Return days of the week with a space behind them; nothing where it is all of them."""
    if not all(isinstance(one, int) for one in meant.weekdays):
        raise _unsayable(told)
    # Monday first, as people write weeks, and Sunday is 0 and 7.
    days = sorted({(int(one) - 1) % 7 for one in meant.weekdays if isinstance(one, int)})
    return "" if len(days) == len(_DAYS) else ",".join(_DAYS[day] for day in days) + " "


def _unsayable(told: ScheduleTable) -> InputError:
    return InputError(
        f"schedule.cron: {told.cron!r}: systemd cannot say this. Use bulk-reset schedule, or "
        "--cron."
    )
