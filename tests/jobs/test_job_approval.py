"""A job that sends only an approved plan, and the note that says why a job runs."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
from programs import write_sheet

from bulk_reset import InputError
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.jobs.job_files.job_file import read_job
from bulk_reset.jobs.job_files.job_summary import describe
from bulk_reset.jobs.job_runs import job_run
from bulk_reset.jobs.job_runs.job_run import JobRun, new_record
from bulk_reset.jobs.job_runs.run_record import RunRecord, run_id_of
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.notify.notifications import notification_of
from bulk_reset.observability.run_log import LogOutput, new_run_log
from bulk_reset.records.approvals import HMAC, Approval, add_approval, approval_path
from bulk_reset.records.audit import read_audit

API = '[api]\nsandbox_state = "r.json"\nper_second = 5000\nper_minute = 300000\n'
JOB = f'[source]\nsheet = "in.csv"\n{API}[report]\nhtml = false\n[run]\nnote = "CHG-123"\n'
APPROVED = 'approved_by = ["alice", "carol"]\nhmac_key_file = "approval.key"\n'
APPROVAL = Approval(
    "in.csv", "ab" * 32, "alice", "alice", "vm", 1_795_900_000, 1_795_986_400, "CHG-1", HMAC, "00"
)
SHOWN = "alice (key file), 2026-11-28 21:06 UTC: CHG-1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a sheet and a key file."""
    write_sheet(tmp_path / "in.csv", 2)
    (tmp_path / "approval.key").write_text("f" * 32)
    return tmp_path


def run_job(folder: Path, text: str) -> tuple[RunRecord, StateFolder]:
    """Write a job file and run it."""
    file, state, due_at = folder / "nightly.toml", StateFolder(folder / "state"), time.time() // 1
    file.write_text(text)
    job = read_job(file)
    record = state.begin(
        new_record(job, due_at, run_id_of("nightly", due_at), is_scheduled=False),
        file.read_bytes(),
    )
    assert record is not None
    run_log = new_run_log(LogOutput(io.StringIO()), job="nightly")
    return JobRun(job, state, record, run_log, Callbacks(), sleep=lambda _: None).run(), state


def test_the_note_of_a_job_is_in_audit_record_and_notification(folder: Path) -> None:
    """Why a job runs is where its result is."""
    record, state = run_job(folder, JOB)
    assert (record.exit_code, record.note, record.approved_by) == (0, "CHG-123", [])
    (line,) = read_audit(state.folder(record.id) / record.report)
    assert line["note"] == "CHG-123"
    told = notification_of(record, state.folder(record.id))
    assert told["note"] == "CHG-123"
    assert told["text"] == "nightly: 2 of 2 rows done (exit code 0) Note: CHG-123"


def test_a_job_that_requires_an_approval_refuses_a_sheet(folder: Path) -> None:
    """Nothing is sent; the record says what is required."""
    record, state = run_job(folder, JOB + APPROVED)
    assert (record.exit_code, record.approved_by) == (2, [])
    assert "in.csv: not a saved plan" in record.words
    assert not (folder / "r.json").exists()
    assert not (state.folder(record.id) / "in.report.csv").exists()


def test_the_approvals_are_copied_recorded_and_required_of_the_copy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An approval beside the plan is beside its copy in the folder of the run."""
    add_approval(folder / "in.csv", APPROVAL)
    required: list[tuple[Path, str]] = []

    def require(sheet: Path, options: object, label: str) -> tuple[Approval, ...]:
        assert getattr(options, "approved_by", None) == ("alice", "carol")
        required.append((sheet, label))
        return (APPROVAL,)

    monkeypatch.setattr(job_run, "require_approval", require)
    monkeypatch.setattr("bulk_reset.workflows.run.require_approval", lambda *_, **__: (APPROVAL,))
    record, state = run_job(folder, JOB + APPROVED)
    copy = state.folder(record.id) / "in.csv"
    assert (record.exit_code, record.approved_by) == (0, [SHOWN])
    assert required == [(copy, str(folder / "in.csv"))]
    assert approval_path(copy).read_bytes() == approval_path(folder / "in.csv").read_bytes()
    (line,) = read_audit(state.folder(record.id) / record.report)
    assert line["approvals"] == [APPROVAL.facts()]
    assert json.loads(json.dumps(notification_of(record, copy.parent)))["approved_by"] == [SHOWN]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ('approved_by = ["alice"]\n', "approved_by needs allowed_signers or hmac_key_file"),
        ('allowed_signers = "x"\n', "have no effect without approved_by"),
        ("allow_own_approval = true\n", "have no effect without approved_by"),
        ('approved_by = [""]\nallowed_signers = "x"\n', "approved_by"),
    ],
)
def test_keys_that_cannot_work_are_refused(folder: Path, keys: str, words: str) -> None:
    """The check of a job file finds them before anything runs."""
    (folder / "x.toml").write_text(JOB + keys)
    with pytest.raises(InputError, match=words):
        read_job(folder / "x.toml")


def test_a_pull_cannot_be_approved(folder: Path) -> None:
    """What it sends is not known before it runs."""
    source = f'[source.pull]\nsince = "1d"\n[set]\ntitle = "x{{{{ title }}}}"\n{API}[run]\n'
    (folder / "x.toml").write_text(source + APPROVED)
    with pytest.raises(InputError, match="approved_by: allowed only with a saved plan"):
        read_job(folder / "x.toml")


def test_the_summary_of_a_job_names_who_must_approve(folder: Path) -> None:
    """``job check`` prints it."""
    (folder / "x.toml").write_text(JOB + APPROVED)
    safety = dict(describe(read_job(folder / "x.toml")))["Safety"]
    assert safety.startswith("sends only a saved plan that alice or carol approved; ")
