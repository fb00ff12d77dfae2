"""A job as systemd units and crontab lines, which mean the same as the job file."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from bulk_reset.core.errors import InputError
from bulk_reset.jobs.job import Job
from bulk_reset.jobs.job_file import read_job
from bulk_reset.jobs.job_schema import ScheduleTable
from bulk_reset.jobs.system_timers import calendars_of, cron_lines, systemd_units

CALENDARS = {
    # Whole fields, numbers, lists
    "* * * * *": ["*-*-* *:*:00 UTC"],
    "30 2 * * *": ["*-*-* 02:30:00 UTC"],
    "5,35 9 * * *": ["*-*-* 09:05,35:00 UTC"],
    "35,5 9 * * *": ["*-*-* 09:05,35:00 UTC"],
    "0 0 1,15 * *": ["*-*-01,15 00:00:00 UTC"],
    # Steps and ranges
    "*/15 * * * *": ["*-*-* *:00..45/15:00 UTC"],
    "*/1 * * * *": ["*-*-* *:*:00 UTC"],
    "7/20 * * * *": ["*-*-* *:07..47/20:00 UTC"],
    "*/40 * * * *": ["*-*-* *:00,40:00 UTC"],
    "0 9-17 * * *": ["*-*-* 09..17:00:00 UTC"],
    "0 9-17/4 * * *": ["*-*-* 09..17/4:00:00 UTC"],
    "0 1-3,7 * * *": ["*-*-* 01,02,03,07:00:00 UTC"],
    "0 0-23 * * *": ["*-*-* *:00:00 UTC"],
    "0 0 */10 * *": ["*-*-01..31/10 00:00:00 UTC"],
    # Months, by their names too
    "0 0 1 jan *": ["*-01-01 00:00:00 UTC"],
    "0 0 1 JAN-mar *": ["*-01..03-01 00:00:00 UTC"],
    "0 0 1 */3 *": ["*-01..10/3-01 00:00:00 UTC"],
    # Days of the week: Sunday is 0 and 7
    "0 7 * * mon": ["Mon *-*-* 07:00:00 UTC"],
    "0 7 * * 0": ["Sun *-*-* 07:00:00 UTC"],
    "0 7 * * 7": ["Sun *-*-* 07:00:00 UTC"],
    "0 7 * * SUN": ["Sun *-*-* 07:00:00 UTC"],
    "0 7 * * 1-5": ["Mon,Tue,Wed,Thu,Fri *-*-* 07:00:00 UTC"],
    "0 7 * * fri,sat,7": ["Fri,Sat,Sun *-*-* 07:00:00 UTC"],
    "0 7 * * 5-7,1": ["Mon,Fri,Sat,Sun *-*-* 07:00:00 UTC"],
    "0 7 * * 0-6": ["*-*-* 07:00:00 UTC"],
    "0 7 * * */2": ["Tue,Thu,Sat,Sun *-*-* 07:00:00 UTC"],
    "0 7 * * mon/3": ["Mon,Thu,Sun *-*-* 07:00:00 UTC"],
    # A day of the month or of the week: either
    "0 7 1 * mon": ["*-*-01 07:00:00 UTC", "Mon *-*-* 07:00:00 UTC"],
    "0 7 1-7 jul mon-fri": [
        "*-07-01..07 07:00:00 UTC",
        "Mon,Tue,Wed,Thu,Fri *-07-* 07:00:00 UTC",
    ],
    "0 7 L * mon": ["*-*~01 07:00:00 UTC", "Mon *-*-* 07:00:00 UTC"],
    # Both, where one begins with a star
    "0 7 */2 * mon": ["Mon *-*-01..31/2 07:00:00 UTC"],
    "0 7 13 * */5": ["Fri,Sun *-*-13 07:00:00 UTC"],
    # The last day of a month
    "0 7 L * *": ["*-*~01 07:00:00 UTC"],
    "0 7 L feb,mar *": ["*-02,03~01 07:00:00 UTC"],
}


@pytest.mark.parametrize("cron", CALENDARS)
def test_a_cron_expression_becomes_systemd_calendars(cron: str) -> None:
    """Each line was compared with what systemd-analyze makes of it."""
    assert calendars_of(ScheduleTable(cron=cron, time_zone="UTC")) == CALENDARS[cron]


@pytest.mark.parametrize("cron", ["0 7 LW * *", "0 7 L,15 * *", "0 7 * * 5L", "0 7 * * mon#2"])
def test_an_expression_that_systemd_lacks_is_rejected(cron: str) -> None:
    """Rather than installed as something else."""
    with pytest.raises(InputError, match=r"systemd cannot express this\. Use --cron"):
        calendars_of(ScheduleTable(cron=cron, time_zone="UTC"))


@pytest.mark.parametrize("cron", ["0 7 * * fri-mon", "0 22-2 * * *"])
def test_a_range_that_wraps_is_no_expression_to_begin_with(cron: str) -> None:
    """Crontabs do not know it either; it is refused where the job file is read."""
    with pytest.raises(ValueError, match="not a cron expression"):
        ScheduleTable(cron=cron, time_zone="UTC")


def test_the_zone_of_the_job_is_the_calendars() -> None:
    """A unit means the same wherever it is installed."""
    own_job = ScheduleTable(cron="30 2 * * *", time_zone="Europe/Berlin")
    assert calendars_of(own_job) == ["*-*-* 02:30:00 Europe/Berlin"]


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
    """The service runs the job once, the timer starts it; both have the job's name."""
    own_job = job(tmp_path, *NIGHTLY, 'jitter = "10m"', description="Every\n night")
    units = systemd_units(own_job, tmp_path / "state")
    assert sorted(units) == ["bulk-reset-nightly.service", "bulk-reset-nightly.timer"]
    service, timer = map(settings, (units[name] for name in sorted(units)))
    [command] = service["ExecStart"]
    assert shlex.split(command)[-5:] == [
        *("job", "run", str(tmp_path / "nightly.toml"), "--state-dir", str(tmp_path / "state"))
    ]
    assert (service["Description"], service["Type"]) == (["Every night"], ["oneshot"])
    assert service["EnvironmentFile"] == ["-/etc/bulk-reset/nightly.env"]
    assert timer["OnCalendar"] == ["*-*-* 02:30:00 Europe/Berlin"]
    assert (timer["RandomizedDelaySec"], timer["Persistent"]) == (["600"], ["yes"])


@pytest.mark.parametrize(
    ("catch_up", "expected"), [("skip", "no"), ("once", "yes"), ("all", "yes")]
)
def test_persistent_follows_catch_up(catch_up: str, expected: str, tmp_path: Path) -> None:
    """A machine that was off at night runs the job when it is on, or does not."""
    own_job = job(tmp_path, *NIGHTLY, f'catch_up = "{catch_up}"')
    assert settings(systemd_units(own_job, None)["bulk-reset-nightly.timer"])["Persistent"] == [
        expected
    ]


def test_a_unit_has_no_key_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody on the machine may read units."""
    monkeypatch.setenv("FLASHDUTY_APP_KEY", "k3y-of-nobody-0123456789")
    units = systemd_units(job(tmp_path, *NIGHTLY), None)
    assert "k3y-of-nobody" not in "".join(units.values())


@pytest.mark.parametrize(
    ("folder", "message"),
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
def test_paths_are_written_as_systemd_reads_them(folder: str, message: str, tmp_path: Path) -> None:
    """Spaces, quotes, percents and dollars mean themselves, and no line is cut."""
    own_job = job(tmp_path / folder, *NIGHTLY)
    [command] = settings(systemd_units(own_job, None)["bulk-reset-nightly.service"])["ExecStart"]
    assert command.partition(" job run ")[2] == message.format(tmp_path)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("", "Job nightly of bulk-reset"),
        ("50% of %i", "50%% of %%i"),
        ("a path \\", "a path"),
        ("a\n\n[Service]\nUser=x", "a [Service] User=x"),
        ("\\ \\\\", "Job nightly of bulk-reset"),
    ],
)
def test_a_description_is_one_line_and_no_more(
    description: str, message: str, tmp_path: Path
) -> None:
    """Nothing in it adds settings, takes the next line along, or is filled in."""
    unit = systemd_units(job(tmp_path, *NIGHTLY, description=description), None)
    assert settings(unit["bulk-reset-nightly.service"])["Description"] == [message]


# --- Crontabs --------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _in_berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulk_reset.jobs.system_timers.get_localzone_name", lambda: "Europe/Berlin")


def line_of(own_job: Job, state: Path | None = None) -> tuple[str, list[str]]:
    """Return when a job's line of a crontab is run, and what, as the shell gets it."""
    *comments, line, end = cron_lines(own_job, state).split("\n")
    assert all(one.startswith("#") for one in comments)
    assert end == ""
    *when, command = line.split(" ", 5)
    unescaped = command.replace(r"\%", "\0")
    assert "%" not in unescaped  # it would end the command there
    return " ".join(when), shlex.split(unescaped.replace("\0", "%"))


@pytest.mark.parametrize(
    ("lines", "when", "is_asked"),
    [
        (('catch_up = "skip"',), "30 2 * * *", False),
        (('catch_up = "once"',), "*/5 * * * *", True),
        (('catch_up = "skip"', 'jitter = "5m"'), "* * * * *", True),
        ((), "*/5 * * * *", True),
    ],
)
def test_what_a_crontab_cannot_express_is_checked_every_few_minutes(
    lines: tuple[str, ...], when: str, is_asked: bool, tmp_path: Path
) -> None:
    """What is not caught up has to be asked every minute: five later it would be too late."""
    own_job = job(tmp_path, *NIGHTLY, *lines)
    found, words = line_of(own_job, tmp_path / "state")
    assert found == when
    assert words[-6:] == [
        *(["run"] if is_asked else ["job", "run"]),
        str(tmp_path / "nightly.toml"),
        "--state-dir",
        str(tmp_path / "state"),
        *(["--if-due"] if is_asked else []),
        "--quiet",
    ]


@pytest.mark.parametrize(
    ("cron", "is_asked"),
    [
        ("30 2 L * *", True),
        ("30 2 LW * *", True),
        ("30 2 * * mon#1", True),
        ("30 2 * * 5L", True),
        ("30 2 * jul wed", False),
        ("30  2\t* * 1-5", False),
    ],
)
def test_what_only_bulk_reset_knows_of_cron_is_asked_too(
    cron: str, is_asked: bool, tmp_path: Path
) -> None:
    """A crontab does not know the last day of a month."""
    lines = (f"cron = '{cron}'", NIGHTLY[2], 'catch_up = "skip"')
    found, words = line_of(job(tmp_path, NIGHTLY[0], *lines))
    assert found == ("* * * * *" if is_asked else " ".join(cron.split()))
    assert ("--if-due" in words) is is_asked


def test_another_zone_than_the_machines_is_asked(tmp_path: Path) -> None:
    """A crontab has the machine's zone, and no other."""
    lines = (*NIGHTLY[:2], 'time_zone = "America/New_York"', 'catch_up = "skip"')
    assert line_of(job(tmp_path, *lines))[0] == "* * * * *"


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


def test_a_machine_that_does_not_know_its_zone_is_asked_every_few_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The meaning of an hour in its crontab is unknown."""

    def nobody_knows() -> str:
        raise LookupError("no zone")

    monkeypatch.setattr("bulk_reset.jobs.system_timers.get_localzone_name", nobody_knows)
    assert line_of(job(tmp_path, *NIGHTLY, 'catch_up = "skip"'))[0] == "* * * * *"


@pytest.mark.parametrize("install", [systemd_units, cron_lines])
def test_a_job_without_a_schedule_is_not_installed(install: object, tmp_path: Path) -> None:
    """It is never due."""
    with pytest.raises(InputError, match=r"no \[schedule\], so there is nothing to install"):
        install(job(tmp_path), None)  # type: ignore[operator]
