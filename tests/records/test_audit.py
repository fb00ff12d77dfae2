"""Who asked for what is written down beside the report, a line for each run."""

from __future__ import annotations

import getpass
import hashlib
import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from programs import FAST, KEY, SandboxProcess, seed_id, write_sheet

from bulk_reset import InputError, Options, pull, query_of, run, run_frame, undo
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.defaults import OnConflict
from bulk_reset.core.errors import RunError
from bulk_reset.records.audit import (
    Destination,
    append_audit,
    audited,
    destination_of,
    note_start,
    read_audit,
)
from bulk_reset.sheets.open_sheet import open_sheet

Command = Callable[..., subprocess.CompletedProcess[str]]
FASTER: dict[str, Any] = {"sandbox": True, "per_second": 5_000, "per_minute": 300_000}


def test_every_run_of_a_report_has_a_line(tmp_path: Path) -> None:
    """Sheet, hash, options, counts and result: of the first run, and of the resumed one."""
    sheet = write_sheet(tmp_path / "it.csv", 3)
    report = tmp_path / "it.sandbox.report.csv"
    run(sheet, Options(**FASTER, limit=2))
    run(sheet, Options(**FASTER, workers=3))

    first, second = read_audit(report)
    assert (first["rows"], first["counts"]) == (3, {"updated": 2, "pending": 1})
    assert (second["rows"], second["counts"]) == (3, {"updated": 3})
    assert first["options"] == {**FASTER, "limit": 2}
    assert second["options"] == {**FASTER, "workers": 3}
    for line in (first, second):
        assert (line["sheet"], line["scope"]) == (str(sheet), "sandbox")
        assert (line["user"], line["host"]) == (getpass.getuser(), socket.gethostname())
        assert line["sheet_sha256"] == hashlib.sha256(sheet.read_bytes()).hexdigest()
        assert line["sheet_bytes"] == sheet.stat().st_size
        assert [(peak["window_s"], peak["limit"]) for peak in line["peaks"]] == [
            (1.0, 5_000),
            (60.0, 300_000),
        ]
        assert (line["stop"], line["exit_code"], line["throttled"]) == (None, 0, 0)
        assert line["started_at"] <= line["ended_at"]


def test_how_the_sheet_was_read_is_audited(tmp_path: Path) -> None:
    """A profile that is found beside the sheet, and rules that are given: name and hash."""
    sheet, rules = write_sheet(tmp_path / "it.csv", 1), tmp_path / "rules.toml"
    profile = tmp_path / "it.profile.toml"
    profile.write_text('[columns]\ntitle = "title"\n')
    rules.write_text('[title]\nforbidden = ["TODO"]\n')
    run(sheet, Options(**FASTER, rules=rules))

    (line,) = read_audit(tmp_path / "it.sandbox.report.csv")
    for name, path in (("profile", profile), ("rules", rules)):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert line[name] == {"file": str(path), "sha256": digest}


def test_a_user_without_a_name_is_an_empty_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container, the user may have neither a name nor an environment; the run is audited."""

    def fail() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", fail)
    run(write_sheet(tmp_path / "it.csv", 1), Options(**FASTER))

    (line,) = read_audit(tmp_path / "it.sandbox.report.csv")
    assert (line["user"], line["host"], line["exit_code"]) == ("", socket.gethostname(), 0)


def test_a_dry_run_and_a_frame_without_a_report_leave_no_audit(tmp_path: Path) -> None:
    """What keeps no report keeps no audit; a frame with a report has no file to be hashed."""
    sheet = write_sheet(tmp_path / "it.csv", 1)
    frame = pd.DataFrame({"incident_id": [seed_id(1)], "title": ["Renamed"]})
    run(sheet, Options(**FASTER, dry_run=True))
    run_frame(frame, Options(**FASTER))
    assert [path.name for path in tmp_path.iterdir()] == ["it.csv"]

    report = tmp_path / "frame.report.csv"
    run_frame(frame, Options(**FASTER, report=report))
    (line,) = read_audit(report)
    assert (line["sheet_sha256"], line["sheet_bytes"], line["rows"]) == ("", None, 1)


def test_an_undo_has_an_audit_of_its_own(tmp_path: Path) -> None:
    """An undo is a run like any other, and is recorded as one."""
    sheet, report = tmp_path / "it.csv", tmp_path / "it.sandbox.report.csv"
    options = Options(sandbox_state=tmp_path / "state.json", per_second=5_000, per_minute=300_000)
    pull(sheet, query_of("2d", "now"), options, rules=["title=[DRILL] {{ title }}"])
    run(sheet, options)
    undo(report, options)

    (done,) = read_audit(report)
    (undone,) = read_audit(tmp_path / "it.sandbox.undo.report.csv")
    assert Path(undone["sheet"]).name == "it.sandbox.undo.csv"
    assert undone["counts"] == done["counts"] != {}


def test_the_key_is_not_in_it(
    tmp_path: Path,
    command: Command,
    start_sandbox: Callable[..., SandboxProcess],
) -> None:
    """The audit may name the source of the key, never the key itself."""
    sandbox = start_sandbox("--seed-incidents", "1", *FAST)
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "key").chmod(0o600)
    name = f"{KEY}.csv"
    write_sheet(tmp_path / name, 1)
    done = command("run", name, "--base-url", sandbox.url, "--app-key-file", "key", key=None)
    assert done.returncode == 0, done.stderr

    written = (tmp_path / f"{KEY}.audit.jsonl").read_text()
    assert KEY not in written
    options = {"app_key_file": "key", "base_url": sandbox.url}
    assert [json.loads(line)["options"] for line in written.splitlines()] == [options, options]


def test_the_api_of_a_run_that_was_killed_is_known(tmp_path: Path) -> None:
    """It is written before the first row is sent, once for each API."""
    report, sheet = tmp_path / "it.report.csv", open_sheet(write_sheet(tmp_path / "it.csv", 1))
    with sheet as table:
        note_start(report, table, "https://a.example", {"limit": 1})
        note_start(report, table, "https://a.example", {"limit": 2})
        assert destination_of(report) == Destination("https://a.example")
        note_start(report, table, "sandbox", {"sandbox_state": tmp_path / "s.json"})
    assert read_audit(report) == []
    assert destination_of(report) == Destination("sandbox", str(tmp_path / "s.json"))
    assert (tmp_path / "it.audit.jsonl").read_text().count("\n") == 2


def test_a_torn_line_does_not_affect_other_lines(tmp_path: Path) -> None:
    """A crash in the middle of a line leaves those before it, and those after it."""
    report = tmp_path / "it.report.csv"
    path = tmp_path / "it.audit.jsonl"
    assert read_audit(report) == []
    append_audit(report, {"version": "1", "rows": 1})
    with path.open("a") as file:
        file.write('{"version":"1","ro')
    append_audit(report, {"version": "1", "rows": 2})

    assert path.read_text().count("\n") == 3
    assert [line["rows"] for line in read_audit(report)] == [1, 2]


def test_another_file_is_not_changed(tmp_path: Path) -> None:
    """A file of that name that is no audit is refused before anything is sent."""
    sheet = write_sheet(tmp_path / "it.csv", 1)
    other = tmp_path / "it.sandbox.audit.jsonl"
    other.write_text('{"mine": 1}\n')
    with pytest.raises(InputError, match=r"it\.sandbox\.audit\.jsonl: not an audit"):
        run(sheet, Options(**FASTER))

    assert other.read_text() == '{"mine": 1}\n'
    assert not (tmp_path / "it.sandbox.report.csv").exists()


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (RunError("the disk is full"), {"message": "the disk is full", "exit_code": 3}),
        (KeyboardInterrupt(), {"message": "KeyboardInterrupt", "exit_code": 130}),
        (SystemExit(143), {"message": "143", "exit_code": 143}),
        (ValueError("odd"), {"message": "odd", "exit_code": 70}),
        (InputError("nothing was sent"), None),
    ],
)
def test_a_run_that_is_cut_off_is_written_down(
    tmp_path: Path, error: BaseException, ending: dict[str, object] | None
) -> None:
    """Its error is recorded; if nothing was sent, nothing is recorded."""
    report, sheet = tmp_path / "it.report.csv", write_sheet(tmp_path / "it.csv", 1)
    with (
        open_sheet(sheet) as table,
        pytest.raises(type(error)),
        audited(report, table, "sandbox", {}, Callbacks()),
    ):
        raise error
    found = [
        {"message": line["stop"]["message"], "exit_code": line["exit_code"]}
        for line in read_audit(report)
    ]
    assert found == ([ending] if ending else [])


def test_options_that_differ_from_their_default_are_recorded(tmp_path: Path) -> None:
    """Paths and choices as text; defaults are omitted."""
    options = Options(
        mapping={"title": "New"}, on_conflict=OnConflict.LAST, report=tmp_path, share=1.0, limit=5
    )
    assert json.loads(json.dumps(options.changed(), default=str)) == {
        "mapping": {"title": "New"},
        "on_conflict": "last",
        "report": str(tmp_path),
        "limit": 5,
    }
