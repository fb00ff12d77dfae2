"""A job as systemd units and crontab lines, which mean the same as the job file."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from bulk_reset.core.errors import InputError
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_file import read_job
from bulk_reset.jobs.schedule.system_timers import cron_lines, systemd_units
from bulk_reset.jobs.schedule.timetable import Timetable

# --- Units -----------------------------------------------------------------------------------


def job(folder: Path, *schedule: str, name: str = "nightly", description: str = "") -> Job:
    """Return a job with these lines in its schedule."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.toml"
    lines = [f"description = '''{description}'''", '[source]\nsheet = "in.csv"', *schedule]
    file.write_text("\n".join(lines))
    return read_job(file)


NIGHTLY = ("[schedule]", 'cron = "30 2 * * *"', 'time_zone = "Europe/Berlin"')


def settings(unit: str) -> dict[str, list[str]]:
    """Return the settings of a unit by their names."""
    found: dict[str, list[str]] = {}
    for line in unit.splitlines():
        name, sign, value = line.partition("=")
        if sign and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_a_job_is_a_service_and_a_timer(tmp_path: Path) -> None:
    """The service runs the job if it is due, the timer asks every minute, with the job's name."""
    told = job(tmp_path, *NIGHTLY, 'jitter = "10m"', description="Every\n night")
    units = systemd_units(told, tmp_path / "state")
    assert sorted(units) == ["bulk-reset-nightly.service", "bulk-reset-nightly.timer"]
    service, timer = map(settings, (units[name] for name in sorted(units)))
    [command] = service.pop("ExecStart")
    assert shlex.split(command)[-6:] == [
        *("job", "run", str(tmp_path / "nightly.toml")),
        *("--state-dir", str(tmp_path / "state"), "--if-due"),
    ]
    assert service == {
        "Description": ["Every night"],
        "Wants": ["network-online.target"],
        "After": ["network-online.target"],
        "Type": ["oneshot"],
        "EnvironmentFile": ["-/etc/bulk-reset/nightly.env"],
        "KillMode": ["mixed"],
        "TimeoutStopSec": ["30"],
        "SuccessExitStatus": ["143"],
        "SyslogLevel": ["notice"],
        "LogLevelMax": ["notice"],
        "NoNewPrivileges": ["yes"],
    }
    assert timer == {
        "Description": ["Timer of bulk-reset-nightly"],
        "OnCalendar": ["*-*-* *:*:00 UTC"],
        "AccuracySec": ["1s"],
        "WantedBy": ["timers.target"],
    }


def test_a_service_runs_as_the_user_who_made_it(tmp_path: Path) -> None:
    """So that it finds this user's key and runs, and the user finds its runs."""
    unit = systemd_units(job(tmp_path, *NIGHTLY), None, user="op%s")["bulk-reset-nightly.service"]
    assert settings(unit)["User"] == ["op%%s"]


SUMMER, WINTER = "2027-03-28 00:30:00 UTC", "2027-10-31 00:30:00 UTC"
"""Half an hour before Berlin's clock is set forward, and back."""
analyze = shutil.which("systemd-analyze")


@pytest.mark.skipif(analyze is None, reason="systemd is not installed")
@pytest.mark.parametrize("change", [SUMMER, WINTER])
def test_the_timer_asks_every_minute_over_both_clock_changes(change: str, tmp_path: Path) -> None:
    """As systemd itself reads the calendar of the unit."""
    told = job(tmp_path, *NIGHTLY)
    [calendar] = settings(systemd_units(told, None)["bulk-reset-nightly.timer"])["OnCalendar"]
    given = [str(analyze), "calendar", "--iterations=90", "--base-time", change, calendar]
    environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
    done = subprocess.run(given, capture_output=True, text=True, check=True, env=environment)
    times = re.findall(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", done.stdout)
    first = dt.datetime.fromisoformat(f"{change.removesuffix(' UTC')}+00:00")
    expected = [first + dt.timedelta(minutes=n) for n in range(1, 91)]
    assert list(dict.fromkeys(times)) == [f"{one:%Y-%m-%d %H:%M:%S}" for one in expected]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schedule", "change"),
    [
        (('cron = "30 2 * * *"', 'jitter = "10m"'), SUMMER),
        (('cron = "30 2 * * *"', 'deadline = "02:45"'), WINTER),
        (('cron = "*/15 * * * *"', 'catch_up = "skip"'), SUMMER),
        (('cron = "*/15 1-3 * * *"', 'catch_up = "all"'), WINTER),
        (('cron = "0 2 L * sun"', 'catch_up_within = "5m"'), WINTER),
    ],
)
def test_a_check_every_minute_starts_what_job_check_announces(
    schedule: tuple[str, ...], change: str, tmp_path: Path
) -> None:
    """Each due time of the two days around a clock change, within a minute, in order."""
    told = job(tmp_path, "[schedule]", NIGHTLY[2], *schedule)
    timetable = Timetable.of(told)
    assert timetable is not None
    middle_at = dt.datetime.fromisoformat(f"{change.removesuffix(' UTC')}+00:00").timestamp()
    begin_at, end_at = middle_at - 86_400, middle_at + 86_400
    announced = [
        (due.due_at, due.starts_at)
        for due in itertools.takewhile(
            lambda due: due.starts_at <= end_at - 60, timetable.after(begin_at)
        )
    ]
    handled_at, started = begin_at, []
    for minute_at in range(int(begin_at), int(end_at) + 60, 60):
        decision = timetable.decide(handled_at, minute_at + 1.0)
        assert decision.missed == ()
        if decision.run is not None:
            started.append((decision.run.due_at, minute_at))
            handled_at = decision.run.due_at
    assert announced
    assert [due_at for due_at, _ in started][: len(announced)] == [one for one, _ in announced]
    late_s = [
        minute_at + 1 - starts_at
        for (_, minute_at), (_, starts_at) in zip(started, announced, strict=False)
    ]
    assert all(0 <= one <= 60 for one in late_s), late_s


def test_a_unit_has_no_key_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody on the machine may read units."""
    monkeypatch.setenv("FLASHDUTY_APP_KEY", "k3y-of-no-one-0123456789")
    units = systemd_units(job(tmp_path, *NIGHTLY), None)
    assert "k3y-of-no-one" not in "".join(units.values())


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("plain-1.2_x", "{}/plain-1.2_x/nightly.toml"),
        ("two words", '"{}/two words/nightly.toml"'),
        ("it's", '"{}/it\'s/nightly.toml"'),
        ('a"b', '"{}/a\\"b/nightly.toml"'),
        ("50%i", "{}/50%%i/nightly.toml"),
        ("$HOME", '"{}/$$HOME/nightly.toml"'),
        ("a\\nb", '"{}/a\\\\nb/nightly.toml"'),
        ("a;b", '"{}/a;b/nightly.toml"'),
        ("a\nb", '"{}/a\\x0ab/nightly.toml"'),
        ("né", "{}/né/nightly.toml"),
    ],
)
def test_paths_are_written_as_systemd_reads_them(folder: str, said: str, tmp_path: Path) -> None:
    """Spaces, quotes, percents and dollars mean themselves, and no line is cut."""
    told = job(tmp_path / folder, *NIGHTLY)
    [command] = settings(systemd_units(told, None)["bulk-reset-nightly.service"])["ExecStart"]
    assert command.partition(" job run ")[2] == f"{said.format(tmp_path)} --if-due"


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ("", "Job nightly of bulk-reset"),
        ("50% of %i", "50%% of %%i"),
        ("a path \\", "a path"),
        ("a\n\n[Service]\nUser=x", "a [Service] User=x"),
        ("\\ \\\\", "Job nightly of bulk-reset"),
    ],
)
def test_a_description_is_one_line_and_no_more(description: str, said: str, tmp_path: Path) -> None:
    """Nothing in it adds settings, takes the next line along, or is filled in."""
    unit = systemd_units(job(tmp_path, *NIGHTLY, description=description), None)
    assert settings(unit["bulk-reset-nightly.service"])["Description"] == [said]


# --- Crontabs --------------------------------------------------------------------------------


def line_of(told: Job, state: Path | None = None) -> tuple[str, list[str]]:
    """Return when a job's line of a crontab is run, and what, as the shell gets it."""
    *comments, line, end = cron_lines(told, state).split("\n")
    assert all(one.startswith("#") for one in comments)
    assert end == ""
    *when, command = line.split(" ", 5)
    unescaped = command.replace(r"\%", "\0")
    assert "%" not in unescaped  # it would end the command there
    return " ".join(when), shlex.split(unescaped.replace("\0", "%"))


@pytest.mark.parametrize(
    "lines",
    [
        (*NIGHTLY, 'catch_up = "skip"'),
        (*NIGHTLY, 'jitter = "5m"', 'deadline = "06:00"'),
        (NIGHTLY[0], NIGHTLY[2], 'cron = "30 2 L * *"'),
        (*NIGHTLY[:2], 'time_zone = "America/New_York"'),
    ],
)
def test_a_crontab_checks_every_minute_whether_a_job_is_due(
    lines: tuple[str, ...], tmp_path: Path
) -> None:
    """A crontab has no zones, clock changes, catching up or retries of its own."""
    when, words = line_of(job(tmp_path, *lines), tmp_path / "state")
    assert when == "* * * * *"
    assert words[-7:] == [
        *("job", "run", str(tmp_path / "nightly.toml"), "--state-dir", str(tmp_path / "state")),
        *("--if-due", "--quiet"),
    ]


@pytest.mark.parametrize(
    "folder", ["two words", "it's", 'a"b', "50%i", "$HOME", "a\\%b", "a;b", "né"]
)
def test_paths_are_written_as_cron_and_the_shell_read_them(folder: str, tmp_path: Path) -> None:
    """A percent ends a line of a crontab, unless it is escaped."""
    _, words = line_of(job(tmp_path / folder, *NIGHTLY), tmp_path / folder / "state")
    assert str(tmp_path / folder / "nightly.toml") in words
    assert str(tmp_path / folder / "state") in words


def test_a_path_with_a_line_break_is_refused(tmp_path: Path) -> None:
    """Its second half would be a line of its own."""
    with pytest.raises(InputError, match="not allowed in a crontab"):
        cron_lines(job(tmp_path / "a\n* * * * * b", *NIGHTLY), None)


@pytest.mark.parametrize("install", [systemd_units, cron_lines])
def test_a_job_without_a_schedule_is_not_installed(install: object, tmp_path: Path) -> None:
    """It is never due."""
    with pytest.raises(InputError, match=r"no \[schedule\], so there is nothing to install"):
        install(job(tmp_path), None)  # type: ignore[operator]
