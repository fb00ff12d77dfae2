"""A job in words: each of its keys is said, so that whoever reads it knows what would be done."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bulk_reset.jobs.job import Job
from bulk_reset.jobs.job_file import read_job
from bulk_reset.jobs.job_summary import concerns, describe, describe_due, next_dues

SHEET = '[source]\nsheet = "in.csv"\n'
PULL = '[source.pull]\nsince = "1d"\n'
SET = '[set]\ntitle = "x"\n'
SCHEDULE = '[schedule]\ncron = "30 2 * * *"\ntime_zone = "Europe/Berlin"\n'


def job(folder: Path, text: str) -> Job:
    """Return a job of this text."""
    (folder / "nightly.toml").write_text(text)
    return read_job(folder / "nightly.toml", {})


@pytest.mark.parametrize(
    ("text", "aspect", "says"),
    [
        (SHEET, "Rows", "the sheet {folder}/in.csv"),
        (f'{SHEET}worksheet = "June"', "Rows", "worksheet 'June'"),
        (f'{SHEET}if_none = "nothing"', "Rows", "without one there is nothing to do"),
        (f'{SHEET}afterwards = "done"', "Rows", "moved to done/ once it is through"),
        ('[source]\nnewest = "in/*"', "Rows", "the newest of {folder}/in/*"),
        (f"{PULL}{SET}", "Rows", "the incidents since 1d; times are counted from when it is due"),
        (f'{PULL}until = "1h"\nnum = ["5", "6"]\n{SET}', "Rows", "since 1d until 1h, num 5 or 6"),
        (f'{PULL}channel = ["DB"]\nteam = [7]\n{SET}', "Rows", "channel DB, team 7"),
        (f"{PULL}{SET}", "Sets", "title = x"),
        (f'{SHEET}[columns]\ntitle = "Kopf"', "Column", "title stands in 'Kopf'"),
        (SHEET, "Sends", "at most 1,000 rows (more are a mistake, and nothing is sent)"),
        (f"{SHEET}[run]\ncanary = 3", "Sends", "3 first, the rest if they are well when read back"),
        (f"{SHEET}[run]\nskip_invalid = true", "Sends", "rows with mistakes are left out"),
        (f'{SHEET}[run]\non_conflict = "last"', "Sends", "contradict one another: last"),
        (f"{SHEET}[run]\nverify = true", "Sends", "reads back what was written"),
        (f'{SHEET}[limits]\nmax_failures = "5%"', "Sends", "stops when more than 5% fail"),
        (SHEET, "Safety", "what somebody has changed meanwhile is held back"),
        (f"{SHEET}[run]\noverwrite = true", "Safety", "changed meanwhile is overwritten"),
        (f"{SHEET}[run]\nbefore = false", "Safety", "sends without a look: no way back"),
        (SHEET, "To", "the API; 50 requests a second and 1,000 a minute at most"),
        (f"{SHEET}[api]\nshare = 0.001", "To", "1 requests a second and 1 a minute at most"),
        (f'{SHEET}[api]\nbase_url = "https://x.example/a"', "To", "x.example; 50 requests"),
        (f"{SHEET}[api]\nsandbox = true", "To", "the built-in sandbox; 50"),
        (f'{SHEET}[api]\nsandbox_state = "s.json"', "To", "kept in {folder}/s.json"),
        (SHEET, "Keeps", "a page to look at"),
        (f'{SHEET}[report]\ncopy_to = "o/{{date}}"', "Keeps", "copies at {folder}/o/{{date}}"),
        (f'{SHEET}[report]\nmetrics_file = "m.prom"', "Keeps", "metrics in {folder}/m.prom"),
        (SHEET, "Tells", "nobody"),
        (f'{SHEET}[notify]\ncommand = ["mail", "x"]', "Tells", "mail, when not all is done"),
        (
            f'{SHEET}[notify]\nwhen = "always"\nwebhook = "https://x.example/S3CRET"',
            "Tells",
            "x.example, always",
        ),
        (f"{SHEET}{SCHEDULE}", "Due", "At 02:30 every day, Europe/Berlin"),
        (f'{SHEET}{SCHEDULE}jitter = "5m"', "Due", ", up to 5m later"),
        (f"{SHEET}{SCHEDULE}", "Missed", "the last one is run, up to 12h late"),
        (f'{SHEET}{SCHEDULE}catch_up = "skip"', "Missed", "runs that were missed are left out"),
        (f'{SHEET}{SCHEDULE}catch_up = "all"', "Missed", "one after the other, up to 12h late"),
        (f'{SHEET}{SCHEDULE}deadline = "06:00"', "Stops", "at 06:00; what is left stays pending"),
    ],
)
def test_what_a_key_means_is_said(text: str, aspect: str, says: str, tmp_path: Path) -> None:
    """In the words of the README, with paths in full; of an address only its host."""
    told = describe(job(tmp_path, text))
    [found] = [words for name, words in told if name == aspect]
    assert says.replace("{folder}", str(tmp_path)).replace("{{date}}", "{date}") in found
    assert "S3CRET" not in str(told)


@pytest.mark.parametrize(
    ("since", "told"),
    [
        ("2027-03-27 12:00", "Sun 2027-03-28 03:00 CEST (01:00 UTC), the clock goes forward"),
        ("2027-10-30 12:00", "Sun 2027-10-31 02:30 CEST (00:30 UTC), the clock goes back"),
        ("2027-05-05 12:00", "Thu 2027-05-06 02:30 CEST (00:30 UTC)"),
    ],
)
def test_a_night_in_which_the_clock_is_changed_is_said(
    since: str, told: str, tmp_path: Path
) -> None:
    """Whoever wonders why it runs at 03:00 finds it here."""
    moment = dt.datetime.fromisoformat(since).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    first, *others = next_dues(job(tmp_path, f"{SHEET}{SCHEDULE}"), moment.timestamp())
    assert first == told + (" that night" if "clock" in told else "")
    assert len(others) == 4
    assert not any("clock" in line for line in others[1:])


def test_the_next_moments_have_their_jitter_and_their_deadline(tmp_path: Path) -> None:
    """The second at which it really starts, and when it stops; nothing without a schedule."""
    told = job(tmp_path, f'{SHEET}{SCHEDULE}jitter = "1h"\ndeadline = "06:00"\n')
    line = next_dues(told, dt.datetime(2027, 5, 5, tzinfo=dt.UTC).timestamp())[0]
    assert line.startswith("Wed 2027-05-05 02:30 CEST (00:30 UTC), starts 0")
    assert line.endswith(", stops Wed 06:00")
    plain = job(tmp_path, SHEET)
    assert (next_dues(plain, 0.0), describe_due(plain)) == ([], "not scheduled")


def test_a_deadline_that_the_jitter_may_pass_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such runs would be missed, night after night."""
    monkeypatch.setenv("FLASHDUTY_APP_KEY", "k3y-of-nobody-0123456789")
    (tmp_path / "in.csv").write_text("x")
    told = job(tmp_path, f'{SHEET}{SCHEDULE}jitter = "4h"\ndeadline = "06:00"\n')
    assert list(concerns(told)) == [
        "the jitter can be longer than the time to the deadline: such runs are missed"
    ]
    fine = job(tmp_path, f'{SHEET}{SCHEDULE}jitter = "3h"\ndeadline = "06:00"\n')
    assert list(concerns(fine)) == []


BARE = (
    "notify.command: there is no program tell.sh here; for the one beside the job file write "
    "./tell.sh"
)
NEWEST = (
    'the newest sheet is sent again each time until there is a newer one; afterwards = "done" '
    "moves it away"
)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            f'{SHEET}[notify]\ncommand = ["tell.sh"]\n',
            BARE,
        ),
        (
            f'{SHEET}[notify]\ncommand = ["./plain.txt"]\n',
            "notify.command: there is no program ./plain.txt here",
        ),
        (
            f'{SHEET}[notify]\ncommand = ["~/tell.sh"]\n',
            "notify.command: there is no program ~/tell.sh here",
        ),
        (f'{SHEET}[notify]\ncommand = ["./tell.sh"]\n', ""),
        (f'{SHEET}[notify]\ncommand = ["sh"]\n', ""),
        (
            f'{SHEET}[report]\ncopy_to = "in.csv/{{date}}/x"\n',
            "report.copy_to: nothing can be written into {folder}/in.csv",
        ),
        (f'{SHEET}[report]\ncopy_to = "out/{{date}}/x"\n', ""),
        (
            f'{SHEET}[report]\nmetrics_file = "gone/x.prom"\n',
            "report.metrics_file: nothing can be written into {folder}/gone",
        ),
        (
            '[source]\nnewest = "*.csv"\n',
            NEWEST,
        ),
        ('[source]\nnewest = "*.csv"\nafterwards = "done"\n', ""),
    ],
)
def test_what_would_go_wrong_at_night_is_noted_by_day(
    text: str, note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program is looked for as the run looks for it, and places are as they are now."""
    monkeypatch.setenv("FLASHDUTY_APP_KEY", "k3y-of-nobody-0123456789")
    for name in ("in.csv", "plain.txt", "tell.sh"):
        (tmp_path / name).write_text("x")
    (tmp_path / "tell.sh").chmod(0o700)
    expected = [note.replace("{folder}", str(tmp_path))] if note else []
    found = list(concerns(job(tmp_path, f"{text}{SCHEDULE}")))
    assert found == expected
