"""Every file that is read, damaged in every way: read, or an error with the file and the fix."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from programs import seed_id
from report_samples import RECORD, write_small

from bulk_reset.api.credentials import find_credentials
from bulk_reset.cli import app, settings
from bulk_reset.core import input_file
from bulk_reset.core.errors import InputError
from bulk_reset.jobs.job_files.job_file import read_job
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.observability.log_output import log_file
from bulk_reset.observability.metrics import check_metrics_file
from bulk_reset.records.audit import read_audit, refuse_other
from bulk_reset.records.previous_values import (
    PreviousValuesFile,
    SentDigests,
    read_previous_values,
)
from bulk_reset.records.report_file import Report
from bulk_reset.records.report_reader import read_history, read_report
from bulk_reset.reports.report_page import write_page
from bulk_reset.sandbox import load_faults
from bulk_reset.sandbox.incidents import Incidents
from bulk_reset.sandbox.state import StateError, load_state, save_state
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.workflows.id_file import read_id_file

JOB: Final = '[source]\nsheet = "in.csv"\n[schedule]\ncron = "0 1 * * *"\ntime_zone = "UTC"\n'
SHEET: Final = f"incident_id,title\n{seed_id(1)},Disk full\n{seed_id(2)},Queue full\n"
LOG: Final = '{"at": "2026-01-05T02:00:00.000Z", "level": "info", "event": "run_started"}\n'
METRICS: Final = "# TYPE bulk_reset_requests gauge\nbulk_reset_requests 9.0\n"


@dataclass(frozen=True)
class Reader:
    """A file of a folder, and what reads it."""

    file: str
    read: Callable[[Path], Any]


def all_of(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    return lambda path: list(read(path))


def report_of(path: Path) -> Path:
    return path.parent / "nightly.report.csv"


def page_of(path: Path) -> None:
    write_page(report_of(path))


def opened_values(path: Path) -> None:
    with PreviousValuesFile(path):
        pass


def opened_sheet(path: Path) -> None:
    with open_sheet(path) as sheet:
        list(sheet.chunks())


def opened_log(path: Path) -> None:
    with log_file(path):
        pass


def read_configuration(path: Path) -> None:
    import typer  # noqa: PLC0415
    from typer.core import TyperGroup  # noqa: PLC0415

    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "config_path", lambda: path)
        settings.read_settings(root)


def read_state(path: Path) -> None:
    """Read what belongs to a run; without a valid record it is no run."""
    state = StateFolder(path.parent / "state")
    state.job_state("nightly")
    state.records()


READERS: Final = {
    "report": Reader("nightly.report.csv", all_of(read_report)),
    "report-resumed": Reader("nightly.report.csv", lambda path: Report(path).close()),
    "report-history": Reader("nightly.report.csv", read_history),
    "report-page": Reader("nightly.report.csv", write_page),
    "values": Reader("nightly.before.csv", all_of(read_previous_values)),
    "values-digests": Reader("nightly.before.csv", SentDigests),
    "values-resumed": Reader("nightly.before.csv", opened_values),
    "values-page": Reader("nightly.before.csv", page_of),
    "audit": Reader("nightly.audit.jsonl", lambda path: read_audit(report_of(path))),
    "audit-resumed": Reader("nightly.audit.jsonl", lambda path: refuse_other(report_of(path))),
    "audit-page": Reader("nightly.audit.jsonl", page_of),
    "page": Reader("nightly.report.html", page_of),
    "log": Reader("log.jsonl", opened_log),
    "metrics": Reader("m.prom", check_metrics_file),
    "sandbox-state": Reader("state.json", load_state),
    "faults": Reader("faults.json", load_faults),
    "sheet": Reader("in.csv", opened_sheet),
    "ids": Reader("ids.txt", read_id_file),
    "job": Reader("nightly.toml", read_job),
    "run-record": Reader("state/runs/r1/run.json", lambda path: read_state(path.parents[3] / "x")),
    "job-state": Reader("state/jobs/nightly.json", lambda path: read_state(path.parents[2] / "x")),
    "configuration": Reader("config.toml", read_configuration),
    "key": Reader("key", lambda path: find_credentials(app_key_file=path)),
    "key-yaml": Reader("config.yaml", lambda path: find_credentials(environ={}, config_file=path)),
}  # fmt: skip


def in_half(good: bytes, piece: bytes) -> bytes:
    return good[: len(good) // 2] + piece + good[len(good) // 2 :]


def with_values(good: bytes, value: object) -> bytes:
    """Return JSON, or lines of JSON or TOML, in which every value of the top level is this one."""
    try:
        try:
            records = [json.loads(good)]
        except ValueError:
            records = [json.loads(line) for line in good.splitlines()]
    except ValueError:
        return re.sub(rb"(?<=[=:] ).+", json.dumps(value).encode(), good)
    damaged = [dict.fromkeys(one, value) if isinstance(one, dict) else value for one in records]
    # The first key of an audit's line, by which the file is recognised.
    texts = [
        json.dumps({**one, "version": "1"} if isinstance(one, dict) and "version" in one else one)
        for one in damaged
    ]
    return ("\n".join(texts) + "\n").encode()


def as_text(good: bytes, codec: str) -> bytes:
    return good.decode("utf-8-sig").encode(codec)


DAMAGES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "empty": lambda _: b"",
    "utf-16": lambda good: as_text(good, "utf-16"),
    "utf-16-le": lambda good: as_text(good, "utf-16-le"),
    "utf-32": lambda good: as_text(good, "utf-32"),
    "nul": lambda good: in_half(good, b"\0"),
    "nul-only": lambda _: bytes(3_000),
    "nul-line": lambda good: good + bytes(100) + b"\n",
    "cr": lambda good: in_half(good, b"\r"),
    "cr-header": lambda good: good[:9] + b"\r" + good[9:],
    "cr-ends": lambda good: good.replace(b"\r\n", b"\n").replace(b"\n", b"\r"),
    "quote": lambda good: in_half(good, b'"'),
    "not-utf-8": lambda good: in_half(good, b"\xe9\xff"),
    "binary": lambda _: bytes(range(256)) * 20,
    "deep": lambda _: b"[" * 100_000,
    "deep-line": lambda good: good + b"[" * 100_000 + b"\n",
    "deep-object": lambda good: good + b'{"a":' * 100_000 + b"\n",
    "deep-value": lambda good: good + b"a = " + b"[" * 100_000 + b"\n",
    "huge-number": lambda good: good + b"9" * 5_000 + b"\n",
    "huge-numbers": lambda good: re.sub(rb"[0-9]+", b"9" * 5_000, good),
    "infinite-numbers": lambda good: re.sub(rb"(?<=[:,= ])[0-9.]+", b"1e999", good),
    "negative-numbers": lambda good: re.sub(rb"(?<=[:,= ])(?=[0-9])", b"-", good),
    "lists": lambda good: with_values(good, [[1]]),
    "objects": lambda good: with_values(good, {"a": "text"}),
    "texts": lambda good: with_values(good, "text"),
    "numbers": lambda good: with_values(good, -1.5),
    "nulls": lambda good: with_values(good, None),
    "long-line": lambda good: good + b"x" * (1 << 20) + b"\n",
    "half": lambda good: good[: len(good) // 2],
    "twice": lambda good: good + good,
}  # fmt: skip
PLACES: Final[dict[str, Callable[[Path], object]]] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to nothing": lambda path: path.symlink_to("/nonexistent/x"),
    "device": lambda path: path.symlink_to("/dev/null"),
    "endless": lambda path: path.symlink_to("/dev/zero"),
}
NOT_NAMED: Final = {"key"}
"""Its name is not repeated where it may be the key itself."""


@functools.cache
def good_files() -> dict[str, bytes]:
    """Return one file of each kind: name -> content."""
    import tempfile  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_page(write_small(folder))
        incidents = Incidents(accepts_any_id=False, wall_clock=lambda: 0.0)
        incidents.seed(2, 0)
        save_state(folder / "state.json", incidents.snapshot())
        texts = {
            "log.jsonl": LOG,
            "m.prom": METRICS,
            "faults.json": '[{"path": "/incident/reset", "error": "InternalError"}]',
            "in.csv": SHEET,
            "ids.txt": f"{seed_id(1)}\n{seed_id(2)}\n",
            "nightly.toml": JOB,
            "config.toml": "[common]\nper_second = 10\n",
            "key": "a-key-of-a-test\n",
            "config.yaml": "app_key: a-key-of-a-test\n",
        }
        for file, text in texts.items():
            (folder / file).write_text(text)
        return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one good file of each kind; a pipe is not waited for."""
    monkeypatch.setattr(input_file, "PIPE_TIMEOUT_S", 0.0)
    for name, content in good_files().items():
        (tmp_path / name).write_bytes(content)
    state = StateFolder(tmp_path / "state")
    (state.jobs / "nightly.json").write_text(
        '{"job_file": "nightly.toml", "timetable": "t", "handled_at": 5.0, "run_id": ""}'
    )
    (state.runs / "r1").mkdir()
    (state.runs / "r1" / "run.json").write_text(
        '{"id": "r1", "job": "nightly", "job_file": "nightly.toml", "due_at": 5.0}'
    )
    return tmp_path


def problem_of(reader: str, folder: Path) -> str:
    """Read a file; return how it went wrong: no error of this package, or one without its file."""
    try:
        READERS[reader].read(folder / READERS[reader].file)
    except StateError as error:
        text = str(error)
    except Exception as error:  # noqa: BLE001  (what is tested)
        is_input = isinstance(error, InputError)
        # The command turns these into errors of its own.
        is_input = is_input or (reader == "faults" and type(error) is ValueError)
        text = str(error) if is_input else f"{type(error).__name__}: {error}"
        if not is_input:
            return text
    else:
        return ""
    is_named = READERS[reader].file in text or reader in NOT_NAMED
    return "" if is_named and text.endswith(".") else f"without file or fix: {text}"


@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_file_is_read_or_an_error(reader: str, folder: Path) -> None:
    """No damage is an internal error, and every error names the file."""
    path = folder / READERS[reader].file
    READERS[reader].read(path)  # what is damaged below is read as it is
    good = path.read_bytes()
    problems = {}
    for damage, damaged in DAMAGES.items():
        path.write_bytes(damaged(good))
        problems[damage] = problem_of(reader, folder)
    assert {damage: problem for damage, problem in problems.items() if problem} == {}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_read_or_an_error(reader: str, folder: Path) -> None:
    """No command waits for a pipe, reads a device without an end, or fails at a folder."""
    path = folder / READERS[reader].file
    problems = {}
    for place, put in PLACES.items():
        (path.rmdir if path.is_dir() else path.unlink)()
        put(path)
        problems[place] = problem_of(reader, folder)
    assert {place: problem for place, problem in problems.items() if problem} == {}


PIPE: Final = "a pipe or a device, not a file"
UNDO: Final = "the line may have been edited. Undo the edit, or remove the line."
USE: Final = "Use the NAME.report.csv of a run."
SAVE: Final = "Save it as CSV in UTF-8."
LINE: Final = (
    "not a line of a report; it may have been edited. Remove the line to send its row again, move "
    "the file to start from scratch, or undo the edit."
)
EXACT: Final = [
    (
        "report",
        "utf-16",
        f"nightly.report.csv: not a report of bulk-reset (saved in UTF-16). {SAVE} {USE}",
    ),
    ("report", "cr", f"nightly.report.csv: line 5: {LINE}"),
    ("report", "deep-object", f"nightly.report.csv: line 10: {LINE}"),
    (
        "values",
        "utf-16",
        f"nightly.before.csv: not a file of previous values (saved in UTF-16). {SAVE}",
    ),
    (
        "audit",
        "texts",
        f"nightly.audit.jsonl: line 1: started_at is not a time; {UNDO}",
    ),
    ("report", "pipe", f"nightly.report.csv: cannot be read ({PIPE}). Check the name."),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "damage", "text"), EXACT)
def test_an_error_names_line_and_fix(reader: str, damage: str, text: str, folder: Path) -> None:
    """What a user reads: where, what, and how to fix it."""
    path = folder / READERS[reader].file
    good = path.read_bytes()
    if damage in PLACES:
        path.unlink()
        PLACES[damage](path)
    else:
        path.write_bytes(DAMAGES[damage](good))
    with pytest.raises(InputError) as caught:
        READERS[reader].read(path)
    assert str(caught.value).replace(f"{folder}/", "") == text


def test_every_value_of_an_audit_has_its_type_or_is_an_error(folder: Path) -> None:
    """The page of a report is written, or the line is named, whatever was edited."""
    path = folder / READERS["audit-page"].file
    wrong: list[object] = [[1], "x", {"a": "x"}, -1, True]
    problems = {}
    for name in RECORD:
        for value in wrong:
            path.write_text(json.dumps({"version": "1", **RECORD, name: value}) + "\n")
            problems[name, str(value)] = problem_of("audit-page", folder)
    assert {edit: problem for edit, problem in problems.items() if problem} == {}
