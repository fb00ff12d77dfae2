"""A job in words: each key is described, so that a reader knows what the job will do."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_file import read_job
from bulk_reset.jobs.job_files.job_summary import concerns, describe, describe_due, next_dues

SHEET = '[source]\nsheet = "in.csv"\n'
PULL = '[source.pull]\nsince = "1d"\n'
SET = '[set]\ntitle = "New"\n'
SCHEDULE = '[schedule]\ncron = "30 2 * * *"\ntime_zone = "Europe/Berlin"\n'


def job(folder: Path, text: str) -> Job:
    """Return a job of this text."""
    (folder / "nightly.toml").write_text(text)
    return read_job(folder / "nightly.toml", {})


@pytest.mark.parametrize(
    ("text", "aspect", "message"),
    [
        (SHEET, "Source", "sheet {folder}/in.csv"),
        (f'{SHEET}worksheet = "June"', "Source", "worksheet 'June'"),
        (f'{SHEET}profile = "p.toml"', "Source", "read by the profile {folder}/p.toml"),
        (f'{SHEET}rules = "r.toml"', "Source", "checked by the rules {folder}/r.toml"),
        (f'{SHEET}if_none = "nothing"', "Source", "no error if there is none"),
        (f'{SHEET}afterwards = "done"', "Source", "moved to done/ after sending"),
        ('[source]\nnewest = "in/*"', "Source", "newest of {folder}/in/*"),
        (f"{PULL}{SET}", "Source", "incidents since 1d; times are relative to the due time"),
        (f'{PULL}until = "1h"\nnum = ["5", "6"]\n{SET}', "Source", "since 1d until 1h, num 5 or 6"),
        (f'{PULL}channel = ["DB"]\nteam = [7]\n{SET}', "Source", "channel DB, team 7"),
        (f"{PULL}{SET}", "Update", "title = New"),
        (f'{SHEET}[columns]\ntitle = "Kopf"', "Column", "title = 'Kopf'"),
        (SHEET, "Sending", "up to 1,000 rows; with more rows, nothing is sent"),
        (f"{SHEET}[run]\ncanary = 3", "Sending", "canary of 3 rows, then the rest if it passes"),
        (f"{SHEET}[run]\nskip_invalid = true", "Sending", "invalid rows are skipped"),
        (f'{SHEET}[run]\non_conflict = "last"', "Sending", "contradicting rows: last"),
        (f"{SHEET}[run]\nverify = true", "Sending", "verifies the updated incidents"),
        (f'{SHEET}[limits]\nmax_failures = "5%"', "Sending", "stops if more than 5% fail"),
        (
            SHEET,
            "Safety",
            "skips conflicts (incidents modified since the pull); keeps previous values for undo",
        ),
        (
            f"{SHEET}[run]\noverwrite = true",
            "Safety",
            "overwrites conflicts (incidents modified since the pull)",
        ),
        (
            f"{SHEET}[run]\nbefore = false",
            "Safety",
            "current values are not read; no undo and no conflict detection",
        ),
        (SHEET, "API", "api.flashcat.cloud; up to 50 requests per second and 1,000 per minute"),
        (f"{SHEET}[api]\nshare = 0.001", "API", "up to 1 request per second and 1 per minute"),
        (f'{SHEET}[api]\nbase_url = "https://x.example/a"', "API", "x.example; up to 50 requests"),
        (f"{SHEET}[api]\nsandbox = true", "API", "built-in sandbox; up to 50"),
        (f'{SHEET}[api]\nsandbox_state = "s.json"', "API", "stored in {folder}/s.json"),
        (SHEET, "Files", "report page"),
        (f'{SHEET}[report]\ncopy_to = "o/{{date}}"', "Files", "copies at {folder}/o/{{date}}"),
        (f'{SHEET}[report]\nmetrics_file = "m.prom"', "Files", "metrics in {folder}/m.prom"),
        (SHEET, "Notifications", "none"),
        (
            f'{SHEET}[notify]\ncommand = ["mail", "x"]',
            "Notifications",
            "mail, if not all rows are done",
        ),
        (
            f'{SHEET}[notify]\nwhen = "always"\nwebhook = "https://x.example/S3CRET"',
            "Notifications",
            "x.example, always",
        ),
        (f"{SHEET}{SCHEDULE}", "Due", "At 02:30 every day, Europe/Berlin"),
        (f'{SHEET}{SCHEDULE}jitter = "5m"', "Due", ", up to 5m later"),
        (f"{SHEET}{SCHEDULE}", "Missed runs", "the last one runs, up to 12h late"),
        (f'{SHEET}{SCHEDULE}catch_up = "skip"', "Missed runs", "skipped"),
        (f'{SHEET}{SCHEDULE}catch_up = "all"', "Missed runs", "each one runs, up to 12h late"),
        (
            f'{SHEET}{SCHEDULE}deadline = "06:00"',
            "Deadline",
            "stops at 06:00; remaining rows stay pending",
        ),
    ],
)
def test_each_key_is_described(text: str, aspect: str, message: str, tmp_path: Path) -> None:
    """In the words of the README, with paths in full; of an address only its host."""
    summary = describe(job(tmp_path, text))
    [found] = [words for name, words in summary if name == aspect]
    assert message.replace("{folder}", str(tmp_path)).replace("{{date}}", "{date}") in found
    assert "S3CRET" not in str(summary)


@pytest.mark.parametrize(
    ("since", "summary"),
    [
        ("2027-03-27 12:00", "Sun 2027-03-28 03:00 CEST (01:00 UTC), the clock is set forward"),
        ("2027-10-30 12:00", "Sun 2027-10-31 02:30 CEST (00:30 UTC), the clock is set back"),
        ("2027-05-05 12:00", "Thu 2027-05-06 02:30 CEST (00:30 UTC)"),
    ],
)
def test_a_clock_change_is_shown_with_the_due_time(
    since: str, summary: str, tmp_path: Path
) -> None:
    """It explains why a job of 02:30 runs at 03:00."""
    moment = dt.datetime.fromisoformat(since).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    first, *others = next_dues(job(tmp_path, f"{SHEET}{SCHEDULE}"), moment.timestamp())
    assert first == summary + (" that night" if "clock" in summary else "")
    assert len(others) == 4
    assert not any("clock" in line for line in others[1:])


def test_next_due_times_show_jitter_and_deadline(tmp_path: Path) -> None:
    """The second at which it really starts, and when it stops; nothing without a schedule."""
    summary = job(tmp_path, f'{SHEET}{SCHEDULE}jitter = "1h"\ndeadline = "06:00"\n')
    line = next_dues(summary, dt.datetime(2027, 5, 5, tzinfo=dt.UTC).timestamp())[0]
    assert line.startswith("Wed 2027-05-05 02:30 CEST (00:30 UTC), starts 0")
    assert line.endswith(", stops Wed 06:00")
    plain = job(tmp_path, SHEET)
    assert (next_dues(plain, 0.0), describe_due(plain)) == ([], "not scheduled")


def test_a_deadline_that_the_jitter_may_pass_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such runs would be missed, night after night."""
    monkeypatch.setenv("FLASHDUTY_APP_KEY", "k3y-of-no-one-0123456789")
    (tmp_path / "in.csv").write_text("x")
    summary = job(tmp_path, f'{SHEET}{SCHEDULE}jitter = "4h"\ndeadline = "06:00"\n')
    assert list(concerns(summary)) == [
        "the jitter can exceed the time to the deadline; such runs are missed"
    ]
    fine = job(tmp_path, f'{SHEET}{SCHEDULE}jitter = "3h"\ndeadline = "06:00"\n')
    assert list(concerns(fine)) == []


BARE = "notify.command: no program tell.sh; for the file beside the job file use ./tell.sh"
NEWEST = (
    "every run sends the newest sheet, even if it was sent before; use afterwards = "
    '"done" to move sent sheets away'
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
            "notify.command: no program ./plain.txt",
        ),
        (
            f'{SHEET}[notify]\ncommand = ["~/tell.sh"]\n',
            "notify.command: no program ~/tell.sh",
        ),
        (f'{SHEET}[notify]\ncommand = ["./tell.sh"]\n', ""),
        (f'{SHEET}[notify]\ncommand = ["sh"]\n', ""),
        (
            f'{SHEET}[report]\ncopy_to = "in.csv/{{date}}/x"\n',
            "report.copy_to: the folder {folder}/in.csv cannot be written",
        ),
        (f'{SHEET}[report]\ncopy_to = "out/{{date}}/x"\n', ""),
        (
            f'{SHEET}[report]\nmetrics_file = "gone/x.prom"\n',
            "report.metrics_file: the folder {folder}/gone cannot be written",
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
    """Programs and folders are checked as the run will find them."""
    monkeypatch.setenv("FLASHDUTY_APP_KEY", "k3y-of-no-one-0123456789")
    for name in ("in.csv", "plain.txt", "tell.sh"):
        (tmp_path / name).write_text("x")
    (tmp_path / "tell.sh").chmod(0o700)
    expected = [note.replace("{folder}", str(tmp_path))] if note else []
    found = list(concerns(job(tmp_path, f"{text}{SCHEDULE}")))
    assert found == expected
