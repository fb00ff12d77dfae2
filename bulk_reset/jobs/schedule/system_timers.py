"""A job as a systemd timer or a line of a crontab: both check every minute whether it is due.

Neither can express what a job file defines: what happens to a time within the hour that a clock
change skips or repeats, when a late run is too late, when an outage is retried, what was missed.
So both only call ``job run --if-due``, which decides as the schedule does. A check that has
nothing to do ends at once, and so does one during a run.

Source of the settings: systemd.timer(5), systemd.service(5), systemd.exec(5).
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Final

from bulk_reset.core.errors import InputError
from bulk_reset.core.safe_text import without_controls
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_schema import ScheduleTable

EVERY_MINUTE: Final = "*-*-* *:*:00 UTC"
"""In systemd's calendar syntax; in UTC, no clock change skips or repeats a minute."""
_STOP_S: Final = 30
"""A run ends within 20 s of SIGTERM."""


def systemd_units(job: Job, state: Path | None, *, user: str = "") -> dict[str, str]:
    """Return the units of a job: file name -> text.

    Args:
        user: whose files the run uses; root's when empty.

    Raises:
        InputError: it has no schedule.
    """
    schedule = _schedule_of(job)
    name = f"bulk-reset-{job.name}"
    # A backslash at the end would continue the line.
    description = (
        without_controls(" ".join(job.description.split())).rstrip("\\ ").replace("%", "%%")
    )
    command = " ".join(_quoted(word) for word in _command(job, state))
    due = " ".join(f"{schedule.cron}, {schedule.time_zone}".split())
    return {
        f"{name}.service": f"""\
[Unit]
Description={description or f"Job {job.name} of bulk-reset"}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
{f"User={user.replace('%', '%%')}" + chr(10) if user else ""}ExecStart={command}
# The app key: use app_key_file in the job file, or one line FLASHDUTY_APP_KEY=… in this file.
EnvironmentFile=-/etc/bulk-reset/{job.name}.env
# SIGTERM goes to the command alone, which ends its run gracefully; the run resumes later.
KillMode=mixed
TimeoutStopSec={_STOP_S}
SuccessExitStatus=143
# What the job prints is logged; that a check starts and ends every minute is not.
SyslogLevel=notice
LogLevelMax=notice
NoNewPrivileges=yes
""",
        f"{name}.timer": f"""\
[Unit]
Description=Timer of {name}

[Timer]
# Due: {due}. The command checks this, with clock changes and missed runs.
OnCalendar={EVERY_MINUTE}
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
    lines = [
        f"# {job.name}: {cron}, {schedule.time_zone}",
        "# cron starts this every minute, and the job runs only if it is due: a crontab has no",
        "# time zones and no jitter, and does not catch up missed runs.",
    ]
    text = shlex.join([*command, "--quiet"]).replace("%", r"\%")
    return "\n".join([*lines, f"* * * * * {text}", ""])


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
    return [*words, "job", "run", str(job.path), *where, "--if-due"]


def _quoted(word: str) -> str:
    """Return a word quoted for systemd."""
    word = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$").replace('"', '\\"')
    word = "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in word)
    return word if re.fullmatch(r"[\w./=:,@%+-]+", word) else f'"{word}"'
