"""A job as a systemd timer or a line of a crontab, for machines that have those anyway.

Source of the calendar's writing: systemd.time(7). A crontab knows no time zone, so a job whose
zone is not the machine's is asked every few minutes whether it is due.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Final

from tzlocal import get_localzone_name

from bulk_reset.errors import InputError
from bulk_reset.job import Job, ScheduleTable, seconds_of

_DAYS: Final = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        "jan feb mar apr may jun jul aug sep oct nov dec".split(),  # noqa: SIM905
        1,
    )
}
_PART: Final = re.compile(r"(\*|[\w]+)(?:-(\w+))?(?:/(\d+))?")


def systemd_units(job: Job, state: Path | None) -> dict[str, str]:
    """Return the units of a job: file name -> text.

    Raises:
        InputError: it has no schedule, or one that systemd cannot say.
    """
    told = _schedule_of(job)
    name = f"bulk-reset-{job.name}"
    calendars = "\n".join(f"OnCalendar={one}" for one in calendars_of(told))
    description = (job.description or f"bulk-reset job {job.name}").replace("%", "%%")
    jitter = f"RandomizedDelaySec={seconds_of(told.jitter)}\n" if seconds_of(told.jitter) else ""
    command = " ".join(_quoted(word) for word in _command(job, state))
    return {
        f"{name}.service": f"""\
[Unit]
Description={" ".join(description.split())}
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
PrivateTmp=yes
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
    here = get_localzone_name()
    lines = [f"# {job.name}: {told.cron}, {told.time_zone}"]
    if told.time_zone == here and not seconds_of(told.jitter) and told.catch_up == "skip":
        when = told.cron
    else:
        lines.append("# Asked every five minutes whether it is due: a crontab knows neither time")
        lines.append("# zones nor jitter, and catches up nothing.")
        when, command = "*/5 * * * *", [*command, "--if-due"]
    text = shlex.join([*command, "--quiet"]).replace("%", r"\%")
    return "\n".join([*lines, f"{when} {text}", ""])


def calendars_of(told: ScheduleTable) -> list[str]:
    """Return a cron expression as systemd writes it.

    Days of the month and of the week together mean either in cron, and both in systemd: that
    makes two calendars.

    Raises:
        InputError: systemd cannot say it.
    """
    minute, hour, day, month, weekday = told.cron.split()
    time = f"{_field(hour, 0, 23, told)}:{_field(minute, 0, 59, told)}:00"
    date = f"*-{_field(month, 1, 12, told, _MONTHS)}-"
    on_day = f"{date}{_field(day, 1, 31, told)} {time} {told.time_zone}"
    on_weekday = f"{_weekdays(weekday, told)} {date}* {time} {told.time_zone}"
    if weekday.startswith("*"):
        return [on_day]
    return [on_weekday] if day.startswith("*") else [on_day, on_weekday]


def _schedule_of(job: Job) -> ScheduleTable:
    if job.schedule is None:
        raise InputError(
            f"{job.path}: has no [schedule], so there is nothing to install. Write it."
        )
    return job.schedule


def _command(job: Job, state: Path | None) -> list[str]:
    program = Path(sys.executable).parent / "bulk-reset"
    words = [str(program)] if program.exists() else [sys.executable, "-m", "bulk_reset"]
    where = ["--state-dir", str(state.absolute())] if state is not None else []
    return [*words, "job", "run", str(job.path), *where]


def _quoted(word: str) -> str:
    """Return a word as systemd reads it."""
    word = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
    return f'"{word}"'.replace("\n", "\\n") if re.search(r"[\s'\";]", word) else word


def _field(
    text: str, least: int, most: int, told: ScheduleTable, names: dict[str, int] | None = None
) -> str:
    return ",".join(_part(one, least, most, told, names or {}) for one in text.split(","))


def _part(text: str, least: int, most: int, told: ScheduleTable, names: dict[str, int]) -> str:
    found = _PART.fullmatch(text)
    ends = [names.get(one.lower(), one) for one in found.groups()[:2] if one] if found else [""]
    if found is None or not all(one == "*" or str(one).isdecimal() for one in ends):
        raise InputError(
            f"schedule.cron: '{told.cron}': systemd cannot say {text!r}. Use bulk-reset schedule, "
            "or --cron."
        )
    first, step = ends[0], found[3]
    if first == "*":
        return "*" if step in {None, "1"} else f"{least:02}..{most:02}/{step}"
    start = f"{int(first):02}"
    if len(ends) > 1:
        return f"{start}..{int(ends[1]):02}" + (f"/{step}" if step else "")
    return f"{start}..{most:02}/{step}" if step else start


def _weekdays(text: str, told: ScheduleTable) -> str:
    names = {name.lower(): number for number, name in enumerate(_DAYS[:7])}
    days: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"(\w+)(?:-(\w+))?(?:/(\d+))?", part)
        if found is None:
            raise InputError(
                f"schedule.cron: '{told.cron}': systemd cannot say {part!r}. Use bulk-reset "
                "schedule, or --cron."
            )
        first = names.get(found[1].lower(), found[1])
        last = names.get(found[2].lower(), found[2]) if found[2] else (7 if found[3] else first)
        first, last = int(first), int(last)
        last = last + 7 if last < first else last
        days |= {number % 7 for number in range(first, last + 1, int(found[3] or 1))}
    # Monday first, as people write weeks.
    return ",".join(_DAYS[number] for number in sorted(days, key=lambda n: (n - 1) % 7))
