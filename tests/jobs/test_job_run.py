"""One run of a job: its sheet, what it sends, its files, its record and its notification."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openpyxl
import pytest
from programs import KEY, SandboxProcess, read_csv, seed_id, write_sheet

from bulk_reset.api.credentials import AppKey
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import InputError, LockedError
from bulk_reset.jobs.job_files.job_file import read_job
from bulk_reset.jobs.job_runs import job_run, job_source, run_end, sheet_trial
from bulk_reset.jobs.job_runs.job_run import JobRun, new_record
from bulk_reset.jobs.job_runs.run_record import ENDED, RUNNING, RunRecord, run_id_of
from bulk_reset.jobs.job_runs.run_resume import is_retried
from bulk_reset.jobs.job_runs.run_watchdog import Watchdog
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.observability.run_log import LogOutput, new_run_log

FAST = "per_second = 5000\nper_minute = 300000\n"
API = f'[api]\nsandbox_state = "rehearsal.json"\n{FAST}'
PLAIN = f"{API}[report]\nhtml = false\n"
SHEET = '[source]\nsheet = "in.csv"\n'


class Place:
    """A folder with a job in it, and with the runs of that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = StateFolder(folder / "state")
        self.log = io.StringIO()
        self.callbacks = Callbacks()
        self.clock: Callable[[], float] = time.time
        self.sleep: Callable[[float], None] = lambda _: None

    def begun(self, text: str, due_at: float | None = None, **more: Any) -> RunRecord:  # noqa: ANN401
        """Write the job file, and begin a run of it."""
        file = self.folder / "nightly.toml"
        file.write_text(text)
        due_at = float(int(self.clock())) if due_at is None else due_at
        record = new_record(
            read_job(file), due_at, run_id_of("nightly", due_at), is_scheduled=False, **more
        )
        made = self.state.begin(record, file.read_bytes())
        assert made is not None
        return made

    def go(self, record: RunRecord) -> RunRecord:
        """Run what was begun."""
        run_log = new_run_log(LogOutput(self.log), job="nightly")
        job = read_job(self.folder / "nightly.toml")
        run = JobRun(
            job, self.state, record, run_log, self.callbacks, clock=self.clock, sleep=self.sleep
        )
        ended = run.run()
        # Of a name that is no text, what is kept is as near as it can be.
        kept = dataclasses.replace(self.state.read(record.id), source=ended.source)
        assert kept == ended
        return ended

    def run(self, text: str, due_at: float | None = None) -> RunRecord:
        """Write the job file and run it."""
        return self.go(self.begun(text, due_at))

    def kept(self, record: RunRecord) -> set[str]:
        """Return the names of the files in a run's folder."""
        return {path.name for path in self.state.folder(record.id).iterdir()}

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return what was logged under a name."""
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]

    def titles(self) -> dict[str, str]:
        """Return the titles that the sandbox has, by incident."""
        told = json.loads((self.folder / "rehearsal.json").read_text())
        return {one: incident["title"] for one, incident in told.items()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def said(record: RunRecord) -> tuple[str, int | None, str]:
    """Return how a run ended."""
    return record.state, record.exit_code, record.words


# --- Where the rows come from ----------------------------------------------------------------


def test_a_sheet_is_copied_sent_and_reported_in_the_folder_of_the_run(place: Place) -> None:
    """The sent sheet is kept, even if the original changes later."""
    sheet = write_sheet(place.folder / "in.csv", 3)
    ended = place.run(f"{SHEET}{PLAIN}")
    assert said(ended) == (ENDED, 0, "3 of 3 rows done")
    assert (ended.rows, ended.counts) == (3, {"updated": 3})
    assert (ended.source, ended.sheet, ended.report) == (str(sheet), "in.csv", "in.report.csv")
    assert place.kept(ended) == {
        *("job.toml", "run.json", "in.csv", "in.report.csv", "in.before.csv"),
        "in.audit.jsonl",
    }
    assert [place.titles()[seed_id(n)] for n in (1, 2, 3)] == [
        f"Renamed service {n}" for n in (1, 2, 3)
    ]
    assert place.events("job_ended")[0]["words"] == ended.words
    assert {path.name for path in place.folder.iterdir()} == {
        *("in.csv", "nightly.toml", "rehearsal.json", "state")
    }


def test_columns_and_ways_are_those_of_the_job(place: Place) -> None:
    """A renamed column, a skipped invalid row, verified rows."""
    text = f"Id,Heading\n{seed_id(1)},A new heading\nno-id,Another\n"
    (place.folder / "in.csv").write_text(text)
    ways = '[columns]\nincident_id = "Id"\ntitle = "Heading"\n[run]\nskip_invalid = true\n'
    ended = place.run(f"{SHEET}{PLAIN}{ways}verify = true\n")
    assert said(ended) == (ENDED, 1, "1 of 2 rows done")
    assert ended.counts == {"updated": 1, "rejected": 1}
    assert place.titles()[seed_id(1)] == "A new heading"


PULL = f"""\
[source.pull]
since = "2d"
query = "CPU"
[set]
title = '[DRILL] {{{{ title | replace("[DRILL] ", "") }}}}'
{PLAIN}"""


def test_a_pull_is_edited_and_sent_and_the_next_one_finds_nothing_to_do(place: Place) -> None:
    """Unchanged rows are not sent, which is what most nights are like."""
    first = place.run(PULL)
    assert (first.state, first.exit_code) == (ENDED, 0)
    assert first.rows > 0
    assert first.source == f"{first.rows} of {first.rows} incidents pulled"
    assert (first.sheet, first.report) == ("nightly.csv", "nightly.report.csv")
    drills = {one for one, title in place.titles().items() if title.startswith("[DRILL] CPU")}
    assert len(drills) == first.rows == first.counts["updated"]
    again = place.run(PULL)
    assert said(again) == (ENDED, 0, "nothing to do: no incident needs a change")
    assert again.rows == 0


def test_a_pull_uses_times_relative_to_its_due_time(place: Place) -> None:
    """A run that comes a day late is about the incidents of its own night."""
    now_at = float(int(time.time()))
    text = PULL.replace('"2d"', '"6h"').replace('query = "CPU"', "")
    late = place.run(text, due_at=now_at - 86_400)
    before = {one for one, title in place.titles().items() if title.startswith("[DRILL]")}
    on_time = place.run(text, due_at=now_at)
    drills = {one for one, title in place.titles().items() if title.startswith("[DRILL]")}
    assert (late.exit_code, on_time.exit_code) == (0, 0)
    assert before < drills
    assert max(before) < min(drills - before)


def write_inbox(place: Place, *names: str) -> Path:
    """Write sheets into the inbox, the last one last."""
    inbox = place.folder / "inbox"
    for age, name in enumerate(reversed(names)):
        path = inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sheet(path, 2, title=f"From {path.name}")
        os.utime(path, ns=(10**18, 10**18 - age * 10**9))
    return inbox


NEWEST = f'[source]\nnewest = "inbox/*.csv"\n{PLAIN}'


def test_the_newest_is_the_one_that_was_written_last(place: Place) -> None:
    """The modification time decides, not the name."""
    inbox = write_inbox(place, "z.csv", "m.csv", "a.csv")
    ended = place.run(NEWEST)
    assert (ended.exit_code, ended.source, ended.sheet) == (0, str(inbox / "a.csv"), "a.csv")
    assert place.titles()[seed_id(1)] == "From a.csv 1"


def test_what_runs_and_programs_leave_behind_is_nobodys_sheet(place: Place) -> None:
    """Newer reports, undo sheets, Excel's lock files and temporary files are ignored."""
    write_inbox(
        place,
        "a.csv",
        *("a.report.csv", "a.before.csv", "a.failed.csv", "a.undo.report.csv", ".a.csv"),
        *("a.not-restored.csv", "a.sandbox.report.csv", "~$a.csv", "a.audit.jsonl", "a.html"),
    )
    (place.folder / "inbox" / "newer.csv").mkdir()
    assert place.run(NEWEST.replace("*.csv", "*")).sheet == "a.csv"


def test_an_answer_and_what_excel_holds_open_are_nobodys_sheet(place: Place) -> None:
    """The answer workbook and Excel's lock file beside a workbook are ignored."""
    workbook = openpyxl.Workbook()
    page = workbook.active
    assert page is not None
    page.append(["Incident ID", "Title"])
    page.append([seed_id(1), "From the book"])
    workbook.save(place.folder / "week.xlsx")
    for name in ("week.answer.xlsx", "~$week.xlsx", "week.xlsx.tmp"):
        shutil.copyfile(place.folder / "week.xlsx", place.folder / name)
    ended = place.run(f'[source]\nnewest = "week*"\n{PLAIN}')
    assert (ended.exit_code, ended.sheet) == (0, "week.xlsx")


def test_a_newest_may_be_anywhere(place: Place) -> None:
    """A path in full, and folders that are not known beforehand."""
    inbox = write_inbox(place, "2026/w1/a.csv", "2026/w2/b.csv")
    ended = place.run(NEWEST.replace("inbox/*.csv", f"{inbox}/**/*.csv"))
    assert ended.source == str(inbox / "2026" / "w2" / "b.csv")


@pytest.mark.parametrize("source", ['sheet = "gone.csv"', 'newest = "inbox/*.csv"'])
def test_a_missing_sheet_is_an_error_or_nothing_to_do(source: str, place: Place) -> None:
    """``if_none`` decides."""
    wrong = place.run(f"[source]\n{source}\n{PLAIN}")
    assert (wrong.state, wrong.exit_code) == (ENDED, 2)
    assert f"nightly.toml: {source.replace(chr(34), chr(39))}: no such file" in wrong.words
    assert 'use if_none = "nothing"' in wrong.words
    nothing = place.run(f'[source]\n{source}\nif_none = "nothing"\n{PLAIN}')
    assert said(nothing) == (ENDED, 0, "nothing to do: no sheet found")
    assert place.kept(nothing) == {"job.toml", "run.json"}


def test_a_sheet_without_rows_is_an_error(place: Place) -> None:
    """Unlike a pull without results, an empty sheet was put there by someone."""
    (place.folder / "in.csv").write_text("incident_id,title\n")
    ended = place.run(f"{SHEET}{PLAIN}")
    assert (ended.state, ended.exit_code) == (ENDED, 2)


def test_a_sheet_that_is_being_written_is_not_sent(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a sheet is a valid sheet too often."""
    sheet = write_sheet(place.folder / "in.csv", 2)
    copy = shutil.copyfile

    def meanwhile(source: Path, target: Path) -> None:
        copy(source, target)
        with sheet.open("a") as file:
            file.write(f"{seed_id(3)},One more\n")

    monkeypatch.setattr(job_source.shutil, "copyfile", meanwhile)
    ended = place.run(f"{SHEET}{PLAIN}")
    assert (ended.exit_code, ended.words) == (
        2,
        f"{sheet}: another program is writing it. Run the job again when the file is complete.",
    )
    assert place.kept(ended) == {"job.toml", "run.json"}


def test_a_file_removed_during_the_search_is_ignored(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inbox may be cleaned up at the same time."""
    inbox = write_inbox(place, "a.csv", "b.csv")
    glob = Path.glob

    def meanwhile(self: Path, pattern: str) -> Iterator[Path]:
        for path in list(glob(self, pattern)):
            (inbox / "b.csv").unlink(missing_ok=True)
            yield path

    monkeypatch.setattr(Path, "glob", meanwhile)
    assert place.run(NEWEST).sheet == "a.csv"


# --- What is not sent ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rows"),
    [(f"{SHEET}{PLAIN}[limits]\nmax_rows = 2\n", "3"), (f"{PULL}[limits]\nmax_rows = 1\n", "")],
)
def test_more_rows_than_allowed_send_nothing(text: str, rows: str, place: Place) -> None:
    """A template that matched everything does not rename everything."""
    write_sheet(place.folder / "in.csv", 3)
    ended = place.run(text)
    assert (ended.state, ended.exit_code, ended.counts) == (ENDED, 2, {})
    assert rows in ended.words
    titles = place.titles().values() if (place.folder / "rehearsal.json").exists() else []
    assert not [title for title in titles if title.startswith(("Renamed", "[DRILL]"))]


def test_a_job_that_would_change_too_much_sends_nothing(place: Place) -> None:
    """The limit is of rows that will change, and the error names the key that raises it."""
    write_sheet(place.folder / "in.csv", 3)
    ended = place.run(f"{SHEET}{PLAIN}[limits]\nmax_change = 2\n")
    assert (ended.state, ended.exit_code, ended.counts) == (ENDED, 2, {})
    assert "3 of 3 rows will change, more than limits.max_change = 2 allows" in ended.words
    assert not [title for title in place.titles().values() if title.startswith("Renamed")]


def test_a_deadline_that_has_passed_begins_nothing(place: Place) -> None:
    """The run is kept with why, and the API is not even asked."""
    write_sheet(place.folder / "in.csv", 1)
    schedule = '[schedule]\ncron = "0 2 * * *"\ntime_zone = "UTC"\ndeadline = "06:00"\n'
    night = 1_795_831_200.0 - 1_795_831_200.0 % 86_400 + 2 * 3600
    place.clock = lambda: night + 4 * 3600
    ended = place.run(f"{SHEET}{PLAIN}{schedule}", due_at=night)
    assert ended.deadline_at == night + 4 * 3600
    assert said(ended) == (ENDED, 3, "the deadline passed before the run could start")
    assert (ended.started_at, ended.ended_at) == (night + 4 * 3600, night + 4 * 3600)
    assert not (place.folder / "rehearsal.json").exists()


def test_a_job_that_is_running_is_not_run_again(place: Place) -> None:
    """The second run is an error, and the record of the first is not changed."""
    write_sheet(place.folder / "in.csv", 1)
    record = place.begun(f"{SHEET}{PLAIN}")
    with place.state.locked("nightly"), pytest.raises(LockedError, match="already running"):
        place.go(record)
    assert place.state.read(record.id) == record
    assert place.log.getvalue() == ""


# --- What is left for people -----------------------------------------------------------------

DONE = NEWEST.replace('.csv"\n', '.csv"\nafterwards = "done"\n', 1)


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_a_sheet_that_grows_before_it_has_settled_is_sent_later(place: Place, ending: str) -> None:
    """Nothing is sent of it, and the same run sends all of it when it is complete."""
    sheet = place.folder / f"in.{ending}"
    write_sheet(sheet, 2)
    place.clock = lambda: sheet.stat().st_mtime + 2
    waits: list[float] = []

    def grow(wait_s: float) -> None:
        waits.append(wait_s)
        write_sheet(sheet, 3)
        os.utime(sheet, (0, 0))

    place.sleep = grow
    record = place.begun(f'[source]\nsheet = "{sheet.name}"\n{PLAIN}')
    ended = place.go(record)

    assert (said(ended), ended.stop, ended.sheet) == (
        (
            *(ENDED, 2),
            f"{sheet}: another program is writing it. Run the job again when the file is complete.",
        ),
        *("incomplete-sheet", ""),
    )
    assert waits == [3.0]
    assert place.kept(ended) == {"job.toml", "run.json"}
    assert is_retried(dataclasses.replace(ended, is_scheduled=True))
    place.clock = time.time
    if ending == "csv":
        assert said(place.go(ended)) == (ENDED, 0, "3 of 3 rows done")


def test_a_sheet_that_has_settled_is_sent_at_once(place: Place) -> None:
    """With ``settle = "0s"``, a sheet that was just saved is too."""
    waits: list[float] = []
    place.sleep = waits.append
    sheet = write_sheet(place.folder / "in.csv", 1)
    place.clock = lambda: sheet.stat().st_mtime
    just_saved = place.run(f'{SHEET}settle = "0s"\n{PLAIN}', due_at=1e9)
    place.clock = lambda: sheet.stat().st_mtime + 5
    settled = place.run(f"{SHEET}{PLAIN}")

    assert [just_saved.exit_code, settled.exit_code, waits] == [0, 0, []]


def test_a_sheet_that_settles_for_long_is_sent_later(place: Place) -> None:
    """A job does not wait for minutes; it is tried again."""
    sheet = write_sheet(place.folder / "in.csv", 1)
    ended = place.run(f'{SHEET}settle = "10m"\n{PLAIN}')

    assert (ended.exit_code, ended.stop, ended.words) == (
        *(2, "incomplete-sheet"),
        f'{sheet}: modified less than source.settle = "10m" ago. Run the job again later.',
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_sheet_whose_last_line_has_no_end_is_not_sent(place: Place, encoding: str) -> None:
    """A program that stopped writing has left a part of a title."""
    sheet = place.folder / "in.csv"
    sheet.write_bytes(f"incident_id,title\n{seed_id(1)},Disk fu".encode(encoding))
    record = place.begun(f"{SHEET}{PLAIN}")
    ended = place.go(record)

    assert (ended.exit_code, ended.stop, ended.words) == (
        *(2, "incomplete-sheet"),
        (
            f"{sheet}: the last line has no line break, so the file may be incomplete. "
            "Complete the file, and end its last line with a line break."
        ),
    )
    sheet.write_bytes(f"incident_id,title\n{seed_id(1)},Disk full\n".encode(encoding))
    assert said(place.go(ended)) == (ENDED, 0, "1 of 1 row done")
    assert place.titles()[seed_id(1)] == "Disk full"


def test_a_sheet_that_is_through_is_moved_away(place: Place) -> None:
    """The next run does not find it again, and neither does one that looks into all folders."""
    inbox = write_inbox(place, "a.csv", "b.csv")
    first, second, third = (
        place.run(DONE.replace("inbox/*", "inbox/**/*") + f"# {n}\n") for n in range(3)
    )
    assert (first.sheet, second.sheet) == ("b.csv", "a.csv")
    assert third.exit_code == 2
    assert sorted(path.name for path in inbox.iterdir()) == ["done"]
    assert sorted(path.name for path in (inbox / "done").iterdir()) == ["a.csv", "b.csv"]


def test_a_sheet_of_a_name_that_is_taken_gets_another(place: Place) -> None:
    """Nothing in done/ is replaced."""
    inbox = write_inbox(place, "a.csv")
    (inbox / "done").mkdir()
    (inbox / "done" / "a.csv").write_text("of last week")
    ended = place.run(DONE)
    assert (inbox / "done" / "a.csv").read_text() == "of last week"
    assert (inbox / "done" / f"{ended.id}-a.csv").exists()
    assert not (inbox / "a.csv").exists()


def test_a_sheet_that_was_changed_meanwhile_stays(place: Place) -> None:
    """Rows added during the run were not sent, so the sheet is not moved."""
    inbox = write_inbox(place, "a.csv")

    def change(*_: object) -> None:
        with (inbox / "a.csv").open("a") as file:
            file.write(f"{seed_id(9)},Added later\n")

    place.callbacks = Callbacks(on_progress=change)
    ended = place.run(DONE)
    assert ended.exit_code == 0
    assert [path.name for path in inbox.iterdir()] == ["a.csv"]
    assert [one["why"] for one in place.events("step_failed")] == [
        "modified or removed during the run; not moved"
    ]


def test_a_sheet_with_invalid_rows_is_not_moved(place: Place) -> None:
    """The user finds it where it was, to fix it."""
    inbox = write_inbox(place, "a.csv")
    (inbox / "a.csv").write_text("incident_id,title\nno-id,x\n")
    assert place.run(DONE).exit_code == 2
    assert [path.name for path in inbox.iterdir()] == ["a.csv"]


def test_a_sheet_that_cannot_be_moved_is_exit_1_and_is_not_sent_again(place: Place) -> None:
    """Each run reports it; the next sheets are sent all the same, and it is moved when it can."""
    inbox = write_inbox(place, "a.csv")
    (inbox / "done").write_text("a file")
    job = f"{DONE}{TELL}"
    why = (
        f"{inbox / 'a.csv'}: sent, but it cannot be moved to done/ (File exists). Make the folder "
        "writable, or move the file; it will not be sent again."
    )
    first, second = place.run(job), place.run(job)
    assert said(first) == (ENDED, 1, f"2 of 2 rows done; {why}")
    assert said(second) == (ENDED, 1, why)
    assert (second.sheet, second.requests) == ("", 0)
    told = (place.folder / "told.txt").read_text().splitlines()
    assert told == [f"nightly: {one.words} (exit code 1)" for one in (first, second)]
    assert [(one["what"], one["why"]) for one in place.events("step_failed")] == [
        ('afterwards = "done"', why),
        ('afterwards = "done"', why),
    ]

    write_sheet(inbox / "b.csv", 1)
    third = place.run(job)
    assert (third.sheet, third.exit_code) == ("b.csv", 1)

    (inbox / "done").unlink()
    fourth = place.run(job)
    assert fourth.exit_code == 2  # nothing is left, which is an error unless if_none says else
    assert sorted(path.name for path in inbox.rglob("*.csv")) == ["a.csv", "b.csv"]
    assert sorted(path.name for path in inbox.iterdir()) == ["done"]

    # A copy of a sheet that was moved away is a new sheet.
    shutil.copy2(inbox / "done" / "a.csv", inbox / "a.csv")
    assert place.run(job).sheet == "a.csv"


def test_why_a_sheet_was_refused_is_wherever_its_run_is_reported(place: Place) -> None:
    """Row, column, value and fix in the record, the log and the notification."""
    severity, title = "incident_severity", "x" * 300
    (place.folder / "in.csv").write_text(
        f"incident_id,title,{severity}\n{seed_id(1)},Fine,Sev1\nno-id,{title},\n"
    )
    ended = place.run(f"{SHEET}{PLAIN}{TELL}")
    errors = [
        {
            "row_number": 2,
            "column": "incident_severity",
            "kind": "severity",
            "value": "Sev1",
            "problem": "not a severity",
            "fix": "Use Info, Warning or Critical, or clear the cell",
        },
        {
            "row_number": 3,
            "column": "incident_id",
            "kind": "id_invalid",
            "value": "no-id",
            "problem": "5 characters; an ID has 24",
            "fix": "Copy the whole ID",
        },
        {
            "row_number": 3,
            "column": "title",
            "kind": "too_long",
            "value": f"{'x' * 59}…",
            "problem": "300 characters; the maximum is 200",
            "fix": "Shorten it by 100 characters",
        },
    ]
    assert (ended.exit_code, ended.row_errors) == (2, errors)
    logged = place.events("row_invalid")
    assert [{name: one[name] for name in errors[0]} for one in logged] == errors
    assert (place.folder / "told.txt").read_text() == (
        f"nightly: {ended.words} (exit code 2) row 2, incident_severity: 'Sev1': not a severity. "
        "Use Info, Warning or Critical, or clear the cell. row 3, incident_id: 'no-id': "
        "5 characters; an ID has 24. Copy the whole ID. "
        f"row 3, title: '{'x' * 59}…': 300 characters; the maximum is 200. "
        "Shorten it by 100 characters.\n"
    )


def test_rows_that_were_skipped_as_invalid_are_recorded_too(place: Place) -> None:
    """The first 20; the report has all of them."""
    rows = "".join(f"no-id-{number},Fine\n" for number in range(30))
    (place.folder / "in.csv").write_text(f"incident_id,title\n{seed_id(1)},Fine\n{rows}")
    ended = place.run(f"{SHEET}{PLAIN}[run]\nskip_invalid = true\n")
    assert (ended.exit_code, len(ended.row_errors)) == (1, 20)
    assert ended.row_texts()[0] == (
        "row 3, incident_id: 'no-id-0': 7 characters; an ID has 24. Copy the whole ID."
    )


def test_reports_are_copied_as_configured(place: Place) -> None:
    """With the day at which it was due, in the job's zone, in a folder that is made for it."""
    text = f"incident_id,title\n{seed_id(1)},A good one\n{'f' * 24},Of no incident\n"
    (place.folder / "in.csv").write_text(text)
    night = 1_795_735_800.0  # 2026-11-26 23:30 UTC
    schedule = '[schedule]\ncron = "0 2 * * *"\ntime_zone = "Asia/Kolkata"\n'
    report = '[report]\nhtml = false\ncopy_to = "out/{date}/{time}-{job}-{run}"\n'
    ended = place.run(f"{SHEET}{API}{report}{schedule}", due_at=night)
    assert ended.exit_code == 1
    folder = place.folder / "out" / "2026-11-27"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"0500-nightly-{ended.id}.failed.csv",
        f"0500-nightly-{ended.id}.report.csv",
    ]
    assert len(read_csv(folder / f"0500-nightly-{ended.id}.report.csv")) == 2


def test_copies_of_the_night_before_do_not_stand_beside_those_of_this_one(place: Place) -> None:
    """Where each run has the same name: what failed then has not failed now."""
    report = '[report]\nhtml = false\ncopy_to = "out/{job}"\n'
    (place.folder / "in.csv").write_text(f"id,title\n{seed_id(1)},Fine\n{seed_id(9999)},None\n")
    assert place.run(f"{SHEET}{API}{report}").exit_code == 1
    assert (place.folder / "out" / "nightly.failed.csv").exists()
    write_sheet(place.folder / "in.csv", 3)
    assert place.run(f"{SHEET}{API}{report}").exit_code == 0
    out = place.folder / "out"
    assert [path.name for path in out.iterdir()] == ["nightly.report.csv"]
    assert len(read_csv(out / "nightly.report.csv")) == 3


def test_a_copy_is_as_private_as_the_sheet_and_replaces_no_file_of_others(place: Place) -> None:
    """What was there was not made by a job."""
    report = '[report]\nhtml = false\ncopy_to = "out/{job}"\n'
    sheet = write_sheet(place.folder / "in.csv", 1)
    sheet.chmod(0o600)
    assert said(place.run(f"{SHEET}{API}{report}")) == (ENDED, 0, "1 of 1 row done")
    copy = place.folder / "out" / "nightly.report.csv"
    assert copy.stat().st_mode & 0o777 == 0o600
    copy.write_text("my notes\n")
    ended = place.run(f"{SHEET}{API}{report}")
    assert said(ended) == (ENDED, 0, "1 of 1 row done; failed steps: copy_to")
    assert copy.read_text() == "my notes\n"


def test_failed_copies_and_pages_are_reported_only(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk or a bug after the sending does not make the run a failure."""
    write_sheet(place.folder / "in.csv", 1)
    (place.folder / "out").write_text("a file")

    def fail(_: object) -> None:
        raise RuntimeError("an error of ours")

    monkeypatch.setattr(JobRun, "_write_page", fail)
    ended = place.run(f'{SHEET}{API}[report]\ncopy_to = "out/{{date}}"\n')
    assert said(ended) == (ENDED, 0, "1 of 1 row done; failed steps: page, copy_to")
    assert [one["what"] for one in place.events("step_failed")] == ["page", "copy_to"]


@pytest.mark.parametrize(("sheet", "code"), [("in.csv", 0), ("gone.csv", 2)])
def test_metrics_are_written_however_it_ends(sheet: str, code: int, place: Place) -> None:
    """An alarm on a job that has not succeeded for a day has to see that it failed."""
    write_sheet(place.folder / "in.csv", 2)
    report = '[report]\nhtml = false\nmetrics_file = "job.prom"\n'
    ended = place.run(f'[source]\nsheet = "{sheet}"\n{API}{report}')
    assert ended.exit_code == code
    text = (place.folder / "job.prom").read_text()
    assert 'job="nightly"' in text
    values = [line.rpartition(" ")[2] for line in text.splitlines() if "exit_code" in line]
    assert float(values[-1]) == code


# --- Notifications ---------------------------------------------------------------------------

TELL = """
[notify]
command = ["sh", "-c", "echo \\"$BULK_RESET_TEXT\\" >> told.txt"]
"""


@pytest.mark.parametrize(
    ("sheet", "when", "told"),
    [
        ("in.csv", "problem", None),
        ("in.csv", "always", "nightly: 1 of 1 row done (exit code 0)\n"),
        ("gone.csv", "problem", "no such file"),
        ("gone.csv", "always", "no such file"),
    ],
)
def test_notifications_are_sent_for_problems_or_always(
    sheet: str, when: str, told: str | None, place: Place
) -> None:
    """A successful run sends no notification, unless configured."""
    write_sheet(place.folder / "in.csv", 1)
    ended = place.run(f'[source]\nsheet = "{sheet}"\n{PLAIN}{TELL}when = "{when}"\n')
    file = place.folder / "told.txt"
    assert ended.notified == ("sh" if told else "")
    assert (told in file.read_text()) if told else not file.exists()


def test_a_run_takes_no_longer_than_its_maximum_duration(place: Place) -> None:
    """What is not sent by then stays pending; the run is not resumed by itself."""
    write_sheet(place.folder / "in.csv", 40)
    slow = PLAIN.replace("per_second = 5000", "per_second = 10")
    text = f'{SHEET}{slow}[limits]\nmax_duration = "1s"\n'
    ended = place.run(text)
    assert said(ended) == (
        ENDED,
        3,
        "stopped: it took longer than limits.max_duration (1s)",
    )
    assert (ended.stop, ended.is_open) == ("deadline", False)
    assert 0 < ended.counts["pending"] < 40


@pytest.mark.parametrize(
    ("error", "has_fired", "result"),
    [
        (SystemExit(143), True, (ENDED, 3, "stopped: the deadline was reached")),
        (SystemExit(143), False, (ENDED, 143, "terminated before the first row was sent")),
    ],
)
def test_a_run_that_hangs_before_the_sending_ends_at_its_deadline(
    error: BaseException,
    has_fired: bool,
    result: tuple[str, int, str],
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The watchdog's signal is the run's deadline, not an interruption to resume."""
    schedule = '[schedule]\ncron = "0 2 * * *"\ntime_zone = "UTC"\ndeadline = "06:00"\n'
    record = place.begun(f"{SHEET}{PLAIN}{schedule}")
    stop_with(monkeypatch, error)
    run = JobRun(
        read_job(place.folder / "nightly.toml"), place.state, record, new_run_log(), Callbacks()
    )
    run._watchdog = SimpleNamespace(  # noqa: SLF001
        has_fired=has_fired, watching=lambda _: contextlib.nullcontext()
    )
    if has_fired:
        run.run()
    else:
        with pytest.raises(SystemExit):
            run.run()
    assert said(place.state.read(record.id)) == result


def test_the_watchdog_sends_a_signal_to_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time and a grace period; never where there is no limit."""
    monkeypatch.setattr("bulk_reset.jobs.job_runs.run_watchdog.GRACE_S", 0.0)
    got, arrived = [], threading.Event()

    def on_signal(number: int, _: object) -> None:
        got.append(number)
        arrived.set()

    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        watchdog = Watchdog()
        with watchdog.watching(None):
            assert watchdog.has_fired is False
        with watchdog.watching(-5.0):
            assert arrived.wait(30)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (got, watchdog.has_fired) == ([signal.SIGTERM], True)


def test_start_and_end_are_pinged_whatever_when_is(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A monitoring service counts the successes that it hears of."""
    pinged = []

    def ping(address: str, _: object) -> str:
        pinged.append(address.rpartition("/")[2])
        return "127.0.0.1: HTTP 404" if address.endswith("success") else ""

    monkeypatch.setattr("bulk_reset.jobs.notify.notifications.ping", ping)
    lines = [f'ping_{one} = "https://hc.example/{one}"' for one in ("start", "success", "failure")]
    text = "\n".join([SHEET, PLAIN, "[notify]", *lines, ""])
    assert place.run(text).exit_code == 2
    write_sheet(place.folder / "in.csv", 1)
    ended = place.run(text)
    assert (ended.exit_code, ended.notified) == (0, "")
    assert pinged == ["start", "failure", "start", "success"]
    assert [one["why"] for one in place.events("notification_failed")] == ["127.0.0.1: HTTP 404"]


def test_a_run_removes_older_ones_than_the_job_keeps(place: Place) -> None:
    """Of its own job, with their previous values."""
    write_sheet(place.folder / "in.csv", 1)
    text = f'keep = "90d"\n{SHEET}{PLAIN}'
    now_at = time.time()
    ages = {100: now_at - 100 * 86_400, 80: now_at - 80 * 86_400}
    place.clock = lambda: ages[100]
    first = place.run(text)
    place.clock = lambda: ages[80]
    second = place.run(f"{text}# 2\n")
    place.clock = lambda: now_at
    third = place.run(f"{text}# 3\n")
    assert [one.id for one in place.state.records()] == [second.id, third.id]
    assert [one["runs"] for one in place.events("runs_removed")] == [[first.id]]


def test_a_failed_notification_is_recorded_without_the_address(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code stays that of the run."""

    async def sleep(_: float) -> None:
        pass

    monkeypatch.setattr(
        run_end, "send_notification", functools.partial(run_end.send_notification, sleep=sleep)
    )
    write_sheet(place.folder / "in.csv", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    text = f'{SHEET}{PLAIN}[notify]\nwhen = "always"\ncommand = ["no-such"]\n'
    ended = place.run(f'{text}webhook = "https://127.0.0.1:{port}/hooks/S3CRET?t=S3CRET"\n')
    assert ended.exit_code == 0
    assert ended.notified == (
        "failed: no-such: No such file or directory, 127.0.0.1: ClientConnectorError"
    )
    assert [one["why"] for one in place.events("notification_failed")] == [ended.notified]
    written = "".join(
        path.read_text()
        for path in place.state.path.rglob("*")
        if path.name != "job.toml" and path.is_file()
    )
    assert "S3CRET" not in written + place.log.getvalue()


# --- How it may end --------------------------------------------------------------------------


def stop_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Raise an error while the sheet is searched."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(job_run, "next_sheet", fail)


AGAIN = "Fix that (for example free disk space), then run the same command again."


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted by Ctrl-C before the first row was sent"),
        (SystemExit(143), 143, "terminated before the first row was sent"),
        (RuntimeError("odd"), 70, "internal error: RuntimeError: odd"),
        (
            MemoryError(),
            3,
            f"this machine: out of memory. {AGAIN}",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "x.report.csv"),
            3,
            f"x.report.csv: No space left on device. {AGAIN}",
        ),
    ],
)
def test_whatever_ends_it_is_kept(
    error: BaseException, code: int, words: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record shows the error; a run ended by a signal can be resumed."""
    stop_with(monkeypatch, error)
    record = place.begun(f"{SHEET}{PLAIN}{TELL}")
    if isinstance(error, KeyboardInterrupt | MemoryError | OSError):
        place.go(record)
    else:
        with pytest.raises(type(error)):
            place.go(record)
    ended = place.state.read(record.id)
    assert said(ended) == (ENDED, code, words.strip())
    assert ended.is_open is (code not in {3, 70})
    assert f"(exit code {code})" in (place.folder / "told.txt").read_text()
    assert not place.state.is_locked("nightly")


def test_the_end_of_a_run_fits_on_a_full_disk(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code, record and notification are the same, although no file can be created."""
    error = OSError(errno.ENOSPC, "No space left on device", "x.report.csv")
    stop_with(monkeypatch, error)
    record = place.begun(f"{SHEET}{PLAIN}{TELL}")
    write = StateFolder.write

    def write_until_full(state: StateFolder, record: RunRecord) -> None:
        if record.state == ENDED:
            raise InputError("run.json: cannot be written (No space left on device).")
        write(state, record)

    monkeypatch.setattr(StateFolder, "write", write_until_full)
    ended = place.go(record)
    words = (
        "x.report.csv: No space left on device. Fix that (for example free disk space), then run "
        "the same command again."
    )
    assert said(place.state.read(record.id)) == said(ended) == (ENDED, 3, words)
    assert "(exit code 3)" in (place.folder / "told.txt").read_text()


def test_a_key_in_an_error_of_ours_is_not_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Record, log and notification do not contain the app key."""
    key = AppKey("k3y-of-no-one-9876543210")
    stop_with(monkeypatch, RuntimeError(f"?app_key={key.reveal()} and {key.reveal()}"))
    record = place.begun(f"{SHEET}{PLAIN}{TELL}")
    with pytest.raises(RuntimeError):
        place.go(record)
    texts = [path.read_text() for path in place.folder.rglob("*") if path.is_file()]
    assert key.reveal() not in "".join(texts) + place.log.getvalue()
    assert (
        place.state.read(record.id).words == "internal error: RuntimeError: ?app_key=**** and ****"
    )


def test_foreign_text_is_escaped_wherever_it_is_shown(place: Place) -> None:
    """A sheet's name may hold what a terminal obeys."""
    ended = place.run(f'[source]\nsheet = "a\\u001b[31m\\nb.csv"\n{PLAIN}')
    assert ended.exit_code == 2
    assert ended.words.isprintable()


def test_an_outage_is_notified_once_and_when_it_is_over(
    place: Place, start_sandbox: Callable[..., SandboxProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is tried often is reported once."""
    monkeypatch.setenv("FLASHDUTY_APP_KEY", KEY)
    write_sheet(place.folder / "in.csv", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}"
    api = '[api]\nbase_url = "{}"\npatience = 0.1\n[report]\nhtml = false\n'
    record = place.begun(f"{SHEET}{api.format(closed)}{TELL}")
    first = place.go(record)
    second = place.go(first)
    assert (first.exit_code, first.is_open, second.is_open) == (3, True, True)
    assert len((place.folder / "told.txt").read_text().splitlines()) == 1
    sandbox = start_sandbox("--seed-incidents", "2", "--latency", "0")
    (place.folder / "nightly.toml").write_text(f"{SHEET}{api.format(sandbox.url)}{TELL}")
    third = place.go(second)
    assert (third.exit_code, third.is_open) == (0, False)
    lines = (place.folder / "told.txt").read_text().splitlines()
    assert lines[1:] == ["nightly: 2 of 2 rows done (exit code 0)"]


def test_a_failed_outage_notification_is_sent_the_next_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the network is down, the notification fails as well."""
    monkeypatch.setenv("FLASHDUTY_APP_KEY", KEY)
    write_sheet(place.folder / "in.csv", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}"
    api = f'[api]\nbase_url = "{closed}"\npatience = 0.1\n[report]\nhtml = false\n'
    tell = '[notify]\ncommand = ["./tell.sh"]\n'
    first = place.go(place.begun(f"{SHEET}{api}{tell}"))
    assert first.notified == "failed: ./tell.sh: No such file or directory"
    script = place.folder / "tell.sh"
    script.write_text('#!/bin/sh\necho "$BULK_RESET_TEXT" >> told.txt\n')
    script.chmod(0o700)
    second = place.go(first)
    place.go(second)
    assert (second.notified, second.is_outage) == ("./tell.sh", True)
    assert len((place.folder / "told.txt").read_text().splitlines()) == 1


def test_a_wrong_key_is_notified_and_not_retried(
    place: Place, start_sandbox: Callable[..., SandboxProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be as wrong in a quarter of an hour; while pulling as while sending."""
    monkeypatch.setenv("FLASHDUTY_APP_KEY", "a-key-of-no-one")
    sandbox = start_sandbox("--seed-incidents", "2", "--latency", "0")
    write_sheet(place.folder / "in.csv", 2)
    api = f'[api]\nbase_url = "{sandbox.url}"\n[report]\nhtml = false\n'
    for source in (SHEET, '[source.pull]\nsince = "2d"\n[set]\ntitle = "A title"\n'):
        ended = place.run(f"{source}{api}{TELL}")
        assert (ended.exit_code, ended.is_open) == (3, False)
        assert "Unauthorized" in ended.words
    assert len((place.folder / "told.txt").read_text().splitlines()) == 2


def test_a_run_finished_by_another_process_is_not_repeated(place: Place) -> None:
    """Two processes want to resume one run; each row is sent once."""
    text = PULL.replace('[DRILL] {{ title | replace("[DRILL] ", "") }}', "{{ title }}!")
    read_by_both = place.begun(text)
    first = place.go(read_by_both)
    titles = place.titles()
    assert place.go(read_by_both) == first
    assert place.titles() == titles
    assert any(title.endswith("!") for title in titles.values())
    assert not any(title.endswith("!!") for title in titles.values())
    assert len(place.events("job_ended")) == 1


@pytest.mark.parametrize(
    "name", [b"\xff\xfe.csv", b"a\nb.csv", b"L" * 245 + b".csv", b"e\x1b[31m.csv"]
)
def test_a_sheet_by_a_name_that_is_no_text_has_its_report_and_its_undo(
    name: bytes, place: Place
) -> None:
    """In the run's folder it has another name; the record shows its source as well as possible."""
    inbox = place.folder / "inbox"
    inbox.mkdir()
    write_sheet(place.folder / "in.csv", 2).rename(inbox / os.fsdecode(name))
    ended = place.run(f'[source]\nnewest = "inbox/*"\nafterwards = "done"\n{PLAIN}')
    assert said(ended) == (ENDED, 0, "2 of 2 rows done")
    assert (ended.sheet, ended.report) == ("sheet.csv", "sheet.report.csv")
    assert {"sheet.csv", "sheet.report.csv", "sheet.before.csv"} <= place.kept(ended)
    assert [path.name for path in (inbox / "done").iterdir()] == [os.fsdecode(name)]


def test_a_resumed_run_sends_the_sheet_in_its_folder(place: Place) -> None:
    """What was put into the inbox since is the next run's."""
    write_inbox(place, "a.csv")
    place.callbacks = Callbacks()
    first = place.run(NEWEST)
    write_inbox(place, "a.csv", "b.csv")
    (place.folder / "inbox" / "a.csv").unlink()
    again = place.go(first)
    assert (again.sheet, again.exit_code, again.started_at) == ("a.csv", 0, first.started_at)
    assert place.titles()[seed_id(1)] == "From a.csv 1"


def test_a_record_is_running_during_the_run(place: Place) -> None:
    """The record shows that the run is in progress, and since when."""
    write_sheet(place.folder / "in.csv", 1)
    seen: list[tuple[str, bool, str]] = []

    def look(*_: object) -> None:
        [record] = place.state.records()
        seen.append((record.state, place.state.is_locked("nightly"), record.sheet))

    place.callbacks = Callbacks(on_progress=look)
    ended = place.run(f"{SHEET}{PLAIN}")
    assert set(seen) == {(RUNNING, True, "in.csv")}
    assert ended.started_at <= ended.ended_at
    assert ended.version != ""


# --- The time of reading ----------------------------------------------------------------------


def workbook_job(place: Place) -> str:
    book = openpyxl.Workbook()
    for row in (["id", "title"], [seed_id(1), "Disk full on db-01"]):
        book.active.append(row)
    book.save(place.folder / "in.xlsx")
    return f'[source]\nsheet = "in.xlsx"\nread_within = "90s"\n{PLAIN}'


def killed_by(name: str) -> Callable[..., list[str]]:
    code = f"import os, signal; os.kill(os.getpid(), signal.{name})"
    return lambda *_: [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "SIGALRM",
            (
                "reading it takes longer than 90s. Remove what is not needed from it, save it as "
                "CSV, or use a higher source.read_within."
            ),
        ),
        (
            "SIGKILL",
            (
                "the process that read it was ended by signal 9, probably because it needs too "
                "much memory. Save it as CSV, or free memory."
            ),
        ),
    ],
)
def test_sheet_that_cannot_be_read_in_time_ends_the_run(
    name: str, problem: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that reads it is ended, and the run says so; nothing is sent."""
    monkeypatch.setattr(sheet_trial, "_command", killed_by(name))
    record = place.run(workbook_job(place))

    assert (record.state, record.exit_code, record.rows) == (ENDED, 2, 0)
    assert record.words == f"{place.state.folder(record.id) / 'in.xlsx'}: {problem}"


def test_workbook_that_is_read_in_time_is_sent(place: Place) -> None:
    """It is read in a process of its own first, with the options of the job."""
    record = place.run(workbook_job(place))

    assert (record.state, record.exit_code, record.counts) == (ENDED, 0, {"updated": 1})


def test_alarm_ends_the_process_that_reads(tmp_path: Path) -> None:
    """The system ends it, even if it never returns to Python."""
    path = tmp_path / "in.csv"
    path.write_text("id,title\n")
    command = sheet_trial._command(path, 0)  # noqa: SLF001  (the process itself is tested)
    # A timer of a microsecond rings while pandas is imported.
    command[-1] = "0.000001"
    done = subprocess.run(command, input=b"{}", capture_output=True, check=False)

    assert done.returncode == -signal.SIGALRM
