"""Runs have folders of their own: made once, kept whole, cleaned away when they are old."""

from __future__ import annotations

import dataclasses
import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from programs import clean_environment

from bulk_reset.core.errors import InputError, LockedError
from bulk_reset.jobs.job_runs.run_record import (
    ENDED,
    MISSED,
    RECORD,
    RUNNING,
    WAITING,
    JobState,
    RunRecord,
    missed_record,
    run_id_of,
)
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.schedule.timetable import Due, Missed

NIGHT = 1_795_833_000.0  # 2026-11-28 02:30 UTC
DAY = 86_400.0


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    """Return where runs are kept in this test."""
    return StateFolder(tmp_path / "state")


def record(job: str = "nightly", due_at: float = NIGHT, **more: Any) -> RunRecord:  # noqa: ANN401
    """Return the record of a run that was due."""
    more = {"is_scheduled": True, **more}
    return RunRecord(run_id_of(job, due_at), job, f"/jobs/{job}.toml", due_at, **more)


def kept(state: StateFolder, *records: RunRecord) -> None:
    """Keep these runs."""
    for one in records:
        assert state.begin(one, b"") == one


# --- Made once -------------------------------------------------------------------------------


def test_what_is_kept_is_what_is_read(state: StateFolder) -> None:
    """Every fact of a run comes back, and so does the job file that it was made from."""
    saved = record(
        state=ENDED,
        started_at=NIGHT + 1.5,
        ended_at=NIGHT + 60,
        deadline_at=NIGHT + 3600,
        exit_code=1,
        words="2 of 3 rows done: «né»",
        counts={"updated": 2, "failed": 1},
        connect=["--sandbox-state", "x"],
    )
    assert state.begin(saved, b"[source]\n") == saved
    assert state.read(saved.id) == saved
    assert state.records() == [saved]
    assert (state.folder(saved.id) / "job.toml").read_bytes() == b"[source]\n"
    assert sorted(path.name for path in state.folder(saved.id).iterdir()) == [
        "job.toml",
        RECORD,
    ]


def test_other_users_cannot_read_the_state(state: StateFolder) -> None:
    """Only the owner can read sheets and previous values."""
    kept(state, record())
    for folder in (state.path, state.runs, state.jobs, state.folder(record().id)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_due_time_is_begun_once(state: StateFolder) -> None:
    """The second attempt returns None; the first record is not changed."""
    saved = record(words="the first")
    kept(state, saved)
    assert state.begin(record(words="the second"), b"x") is None
    assert state.read(saved.id) == saved


def test_runs_started_by_hand_are_numbered(state: StateFolder) -> None:
    """Two runs in one second are two runs."""
    saved = record(is_scheduled=False)
    ids = [one.id for one in (state.begin(saved, b"") for _ in range(3)) if one]
    assert ids == [saved.id, f"{saved.id}-2", f"{saved.id}-3"]
    assert [one.id for one in state.records()] == ids


def test_a_folder_without_a_word_in_it_is_taken_over(state: StateFolder) -> None:
    """The process that created it was killed before the record, and the due time is not lost."""
    saved = record()
    state.folder(saved.id).mkdir()
    (state.folder(saved.id) / "job.toml.tmp").write_bytes(b"half")
    kept(state, saved)
    assert state.read(saved.id) == saved


RACER = """
import sys
from pathlib import Path
from bulk_reset.jobs.job_runs.run_record import RunRecord, run_id_of
from bulk_reset.jobs.job_runs.state_folder import StateFolder
state = StateFolder(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
won = 0
for n in range(60):
    due_at = 1_795_833_000.0 + n * 60
    record = RunRecord(run_id_of("nightly", due_at), "nightly", "x", due_at, is_scheduled=True)
    won += state.begin(record, b"[source]\\n") is not None
print(won)
"""


def test_of_several_processes_exactly_one_begins_a_due_time(state: StateFolder) -> None:
    """A schedule, a crontab and a user start the job at the same time."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(state.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        for _ in range(3)
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("\n")
            racer.stdin.flush()
        won = [int(racer.communicate(timeout=60)[0]) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
    assert sum(won) == 60
    assert len(state.records()) == 60


def test_missed_due_times_have_a_record(state: StateFolder) -> None:
    """One record covers all of them, from the first to the last, with the reason."""
    dues = [Due(NIGHT + n * DAY, NIGHT + n * DAY + 7, None) for n in range(3)]
    saved = missed_record("nightly", "/j.toml", Missed(dues[0], dues[2], 3, "too late"), NIGHT + 9)
    kept(state, saved)
    assert saved.id == "20261128T023000Z-nightly"
    assert (saved.state, saved.missed, saved.words) == (MISSED, 3, "too late")
    assert (saved.due_at, saved.last_due_at, saved.ended_at) == (
        NIGHT,
        NIGHT + 2 * DAY,
        NIGHT + 9,
    )
    assert state.read(saved.id) == saved


# --- Who is no run ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "run_id",
    ["", ".", "..", "../runs", "/etc", "a/b", "a\\b", "a\0b", "x" * 300, ".hidden", "~", "*"],
)
def test_an_id_cannot_lead_out_of_the_folder(run_id: str, state: StateFolder) -> None:
    """An invalid id is no run, even if the path exists."""
    (state.path / RECORD).write_text(json.dumps(dataclasses.asdict(record())))
    with pytest.raises(InputError, match="no such run in"):
        state.read(run_id)


GOOD = dataclasses.asdict(record())
CORRUPT: dict[str, str | bytes] = {
    "empty": "",
    "half": json.dumps(GOOD)[:40],
    "no JSON": "run",
    "not UTF-8": b'{"id": "\xff"}',
    "a list": "[]",
    "brackets without end": "[" * 100_000,
    "nothing in it": "{}",
    "another's id": json.dumps({**GOOD, "id": "../../runs"}),
    "a number for the id": json.dumps({**GOOD, "id": 5}),
    "a job that leads out": json.dumps({**GOOD, "job": "../../x"}),
    "a text for a moment": json.dumps({**GOOD, "due_at": "02:30"}),
    "no moment": json.dumps({**GOOD, "due_at": None}),
    "not a number": json.dumps({**GOOD, "due_at": float("nan")}),
    "without end": json.dumps({**GOOD, "ended_at": float("inf")}),
    "after all calendars": json.dumps({**GOOD, "started_at": 1e300}),
    "before all calendars": json.dumps({**GOOD, "last_due_at": -1e15}),
    "a text for a code": json.dumps({**GOOD, "exit_code": "0"}),
    "counts as a list": json.dumps({**GOOD, "counts": [1]}),
    "counts of texts": json.dumps({**GOOD, "counts": {"updated": "x"}}),
    "a number for words": json.dumps({**GOOD, "words": 5}),
    "a number that is too long": '{"due_at": ' + "9" * 5_000 + "}",
}


@pytest.mark.parametrize("name", CORRUPT)
def test_a_record_that_cannot_be_so_is_no_run(name: str, state: StateFolder) -> None:
    """It is passed over by lists and by cleaning, and named when it is asked for."""
    other = record("other")
    kept(state, other)
    saved = record()
    state.folder(saved.id).mkdir()
    text = CORRUPT[name]
    (state.folder(saved.id) / RECORD).write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    assert state.records() == [other]
    assert state.clean(NIGHT + 100 * DAY) == []
    assert state.path.exists()
    with pytest.raises(InputError, match=f"{saved.id}: no such run"):
        state.read(saved.id)


def test_facts_of_a_newer_version_are_passed_over(state: StateFolder) -> None:
    """Going back to an older version loses no run."""
    saved = record()
    kept(state, saved)
    path = state.folder(saved.id) / RECORD
    path.write_text(json.dumps({**GOOD, "mood": "fine"}))
    assert state.read(saved.id) == saved


def test_facts_that_an_older_version_did_not_have_are_the_usual(state: StateFolder) -> None:
    """Neither does a change to a newer one."""
    saved = record()
    kept(state, saved)
    path = state.folder(saved.id) / RECORD
    path.write_text(json.dumps({one: GOOD[one] for one in ("id", "job", "job_file", "due_at")}))
    assert state.read(saved.id) == dataclasses.replace(saved, is_scheduled=False)


def test_runs_are_listed_by_when_they_were_due(state: StateFolder) -> None:
    """The oldest first, of all jobs or of one."""
    runs = [record(job, NIGHT + n * DAY) for n, job in enumerate(["a", "b", "a", "c"])]
    kept(state, *reversed(runs))
    (state.runs / "lost+found").mkdir()
    (state.runs / "note.txt").write_text("x")
    assert state.records() == runs
    assert state.records("a") == [runs[0], runs[2]]


@pytest.mark.parametrize(
    ("more", "is_open"),
    [
        ({"state": WAITING}, True),
        ({"state": RUNNING}, True),
        ({"state": ENDED, "exit_code": 143}, True),
        ({"state": ENDED, "exit_code": 130}, True),
        ({"state": ENDED, "exit_code": 129}, True),
        ({"state": ENDED, "exit_code": 3, "stop": "outage"}, True),
        ({"state": ENDED, "exit_code": 3, "stop": "credentials"}, False),
        ({"state": ENDED, "exit_code": 0}, False),
        ({"state": ENDED, "exit_code": 70}, False),
        ({"state": MISSED}, False),
    ],
)
def test_which_runs_can_be_resumed(more: dict[str, Any], is_open: bool) -> None:
    """Killed, terminated or outage: resumable; ended normally: not."""
    assert record(**more).is_open is is_open


# --- Locks -----------------------------------------------------------------------------------


def test_a_job_is_held_once_at_a_time(state: StateFolder) -> None:
    """A second lock is an error; other jobs are not affected."""
    with state.locked("nightly"):
        with (
            pytest.raises(LockedError, match=r"nightly: already running\."),
            state.locked("nightly"),
        ):
            pass
        assert (state.is_locked("nightly"), state.is_locked("other")) == (True, False)
        with state.locked("other"):
            pass
    assert not state.is_locked("nightly")


def test_a_lock_is_let_go_however_the_block_ends(state: StateFolder) -> None:
    """An error within the block is not changed."""
    with pytest.raises(TimeoutError, match="mine"), state.locked("nightly"):
        raise TimeoutError("mine")
    assert not state.is_locked("nightly")


def test_a_lock_that_cannot_be_created_is_an_error(state: StateFolder) -> None:
    """Here, a folder has the name of the lock."""
    (state.jobs / "nightly.lock").mkdir()
    with (
        pytest.raises(InputError, match=r"cannot be locked \(.+\)\. Use --state-dir"),
        state.locked("nightly"),
    ):
        pass


def test_a_state_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """Here, a file has the name of the folder."""
    (tmp_path / "state").write_text("x")
    with pytest.raises(
        InputError, match=r"state: cannot be written \(.+\)\. Use --state-dir DIR\."
    ):
        StateFolder(tmp_path / "state")


# --- The book --------------------------------------------------------------------------------


def test_what_was_handled_of_a_job_is_kept(state: StateFolder) -> None:
    """Of a job that was never seen, nothing is known."""
    assert state.job_state("nightly") is None
    job_state = JobState("/jobs/nightly.toml", "30 2 * * * UTC", NIGHT, "x")
    state.save_job_state("nightly", job_state)
    assert state.job_state("nightly") == job_state


BOOK = {"job_file": "/j", "timetable": "t", "handled_at": NIGHT, "run_id": ""}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        "5",
        json.dumps({**BOOK, "handled_at": "now"}),
        json.dumps({**BOOK, "handled_at": float("nan")}),
        json.dumps({**BOOK, "handled_at": 1e300}),
        json.dumps({**BOOK, "job_file": 5}),
        json.dumps({**BOOK, "run_id": None}),
        json.dumps({"handled_at": NIGHT}),
        b"\xff",
    ],
)
def test_a_book_that_cannot_be_so_is_none(text: str | bytes, state: StateFolder) -> None:
    """The job counts as never seen: from now on."""
    (state.jobs / "nightly.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert state.job_state("nightly") is None


# --- Cleaning --------------------------------------------------------------------------------


def test_cleaning_keeps_the_last_run_of_each_job_and_what_is_new(state: StateFolder) -> None:
    """Older runs are removed with their folders; the user sets the age."""
    old = [record("a", NIGHT + n * DAY, state=ENDED, ended_at=NIGHT + n * DAY) for n in range(4)]
    alone = record("b", NIGHT - 100 * DAY, state=ENDED, ended_at=NIGHT - 100 * DAY)
    kept(state, *old, alone)
    (state.folder(old[0].id) / "before.csv").write_text("x")
    assert state.clean(NIGHT + 1.5 * DAY) == [old[0].id, old[1].id]
    assert not state.folder(old[0].id).exists()
    assert state.clean(NIGHT + 100 * DAY) == [old[2].id]
    assert state.records() == [alone, old[3]]


def test_missed_records_do_not_count_as_the_last_run(state: StateFolder) -> None:
    """The last run is kept, and so its undo; records of missed runs are removed."""
    ran = record(state=ENDED, ended_at=NIGHT)
    missed = record(due_at=NIGHT + DAY, state=MISSED, ended_at=NIGHT + DAY, missed=1)
    kept(state, ran, missed)
    assert state.clean(NIGHT + 50 * DAY) == [missed.id]
    assert state.records() == [ran]


def test_a_run_in_progress_is_not_removed(state: StateFolder) -> None:
    """However old it is, while the job is locked."""
    running = record(state=RUNNING, started_at=NIGHT)
    later = record(due_at=NIGHT + DAY, state=ENDED, ended_at=NIGHT + DAY)
    kept(state, running, later)
    with state.locked("nightly"):
        assert state.clean(NIGHT + 50 * DAY) == []
    assert state.clean(NIGHT + 50 * DAY) == [running.id]


@pytest.mark.parametrize("left", [WAITING, RUNNING])
def test_a_run_that_was_killed_is_as_old_as_its_beginning(left: str, state: StateFolder) -> None:
    """It has no end time, which does not mean 1970."""
    killed = record(state=left, started_at=NIGHT if left == RUNNING else 0.0)
    kept(state, killed, record(due_at=NIGHT + DAY))
    assert state.clean(NIGHT - 1) == []
    assert state.clean(NIGHT + 10) == [killed.id]


def test_a_run_that_cannot_be_removed_is_an_error(
    state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here, the folder belongs to another user."""
    kept(state, record(state=ENDED), record(due_at=NIGHT + DAY))

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("bulk_reset.jobs.job_runs.state_folder.shutil.rmtree", refuse)
    with pytest.raises(InputError, match=r"nightly: cannot be removed \(Permission denied\)\."):
        state.clean(NIGHT + 50 * DAY)


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_is_asked_where_runs_are_kept(tmp_path: Path) -> None:
    """In a place that changes with the folder, what was handled would be forgotten."""
    with pytest.raises(InputError, match="no home directory in which runs could be kept"):
        StateFolder()
    assert list(tmp_path.iterdir()) == []
    assert StateFolder(tmp_path / "state").records() == []


def test_a_second_schedule_of_a_state_is_an_error_with_a_fix(state: StateFolder) -> None:
    """A read-only disk is another error than a second schedule."""
    with state.scheduled(), pytest.raises(LockedError, match="in use by another schedule"):
        StateFolder(state.path).scheduled().__enter__()
    (state.path / "schedule.lock").unlink(missing_ok=True)
    (state.path / "schedule.lock").mkdir()
    with pytest.raises(InputError, match="cannot be locked"), state.scheduled():
        pass
