"""Files that an earlier version wrote are read, resumed and undone; no row is sent twice.

``tests/files/earlier/README.txt`` says how they were made.
"""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from programs import KEY, ROOT, read_csv, seed_id, statuses, write_rows

from bulk_reset.api.credentials import AppKey, Credentials
from bulk_reset.quota.account_ledger import AccountLedger

Command = Callable[..., "subprocess.CompletedProcess[str]"]
STATE = ("--sandbox-state", "state.json")
RUN_ID = "20261128T102624Z-nightly"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    """A copy of the files, with the paths in them adjusted."""
    shutil.copytree(ROOT / "tests" / "files" / "earlier", tmp_path, dirs_exist_ok=True)
    for name in ("run.json", "log.jsonl"):
        path = tmp_path / "job-state" / "runs" / RUN_ID / name
        path.write_text(path.read_text().replace("/earlier", str(tmp_path)))
    return tmp_path


def incidents_of(folder: Path) -> dict[str, dict[str, object]]:
    """Return the sandbox's incidents by id."""
    return json.loads((folder / "state.json").read_text(encoding="utf-8"))


def changed(folder: Path, before: dict[str, dict[str, object]]) -> dict[str, tuple[int, object]]:
    """Return id -> (how many updates were applied since, title now), of the updated incidents."""
    return {
        one: (int(str(now["applied"])) - int(str(before[one]["applied"])), now["title"])
        for one, now in incidents_of(folder).items()
        if now["applied"] != before[one]["applied"]
    }


def titles_before(path: Path) -> dict[str, str]:
    """Return id -> the title in a file of previous values."""
    return {line["incident_id"]: line["title"] for line in read_csv(path)}


@pytest.mark.parametrize(
    ("sheet", "report", "more", "code"),
    [
        ("finished.csv", "finished.sandbox.report.csv", ["--skip-invalid"], 1),
        ("undone.sandbox.undo.csv", "undone.sandbox.undo.report.csv", [], 0),
    ],
)
def test_a_finished_run_is_repeated_and_sends_nothing(
    sheet: str, report: str, more: list[str], code: int, command: Command, folder: Path
) -> None:
    """Every row has the digest that the earlier version gave it, so it is done."""
    before, content = incidents_of(folder), (folder / report).read_bytes()
    done = command("run", sheet, "--report", report, *STATE, *more)
    assert done.returncode == code, done.stderr
    assert (changed(folder, before), (folder / report).read_bytes()) == ({}, content)


@pytest.mark.parametrize("is_torn", [False, True])
def test_a_run_that_was_cut_short_is_resumed(is_torn: bool, command: Command, folder: Path) -> None:
    """Only the rows that are left are sent, also where the last line is half written."""
    before = incidents_of(folder)
    report = folder / "cut.sandbox.report.csv"
    if is_torn:
        report.write_bytes(report.read_bytes() + b"5,69da451e00000000000")
    done = command("run", "cut.csv", *STATE)
    assert done.returncode == 0, done.stderr
    assert changed(folder, before) == {seed_id(n): (1, f"Renamed {n}") for n in (8, 9, 10)}
    lines = read_csv(report)
    assert sorted(line["row"] for line in lines) == ["2", "3", "4", "5", "6", "7"]
    assert statuses(report) == {"updated": 6}


@pytest.mark.parametrize(("name", "numbers"), [("finished", (1, 2, 3, 4)), ("cut", (5, 6, 7))])
def test_a_run_is_undone(
    name: str, numbers: tuple[int, ...], command: Command, folder: Path
) -> None:
    """The previous values are restored, each by one request."""
    before = incidents_of(folder)
    titles = titles_before(folder / f"{name}.sandbox.before.csv")
    assert set(titles) == {seed_id(n) for n in numbers}
    done = command("undo", f"{name}.sandbox.report.csv", "--yes", "--json", *STATE)
    assert changed(folder, before) == {one: (1, title) for one, title in titles.items()}
    # The API cannot empty a field, so an impact that was empty is only listed.
    not_restored = folder / f"{name}.sandbox.not-restored.csv"
    assert not_restored.exists() == (name == "finished")
    assert done.returncode == (name == "finished"), done.stderr


def test_a_run_that_was_undone_is_not_undone_again(command: Command, folder: Path) -> None:
    """The undo that the earlier version made is found."""
    before = incidents_of(folder)
    done = command("undo", "undone.sandbox.report.csv", "--yes", *STATE)
    assert (done.returncode, changed(folder, before)) == (0, {}), done.stderr


def test_an_undo_is_undone(command: Command, folder: Path) -> None:
    """An undo is a run, so its previous values are restored in the same way."""
    before = incidents_of(folder)
    done = command("undo", "undone.sandbox.undo.report.csv", "--yes", *STATE)
    assert done.returncode == 0, done.stderr
    assert changed(folder, before) == {seed_id(n): (1, f"Renamed {n}") for n in (11, 12, 13)}


def test_a_report_is_verified_and_summed_up(command: Command) -> None:
    """What the earlier version wrote is compared with what the API has."""
    verified = command("verify", "finished.sandbox.report.csv", *STATE)
    assert verified.returncode == 0, verified.stderr
    summed = command("report", "finished.sandbox.report.csv", "--json")
    assert summed.returncode == 1, summed.stderr
    counts = {status: n for status, n in json.loads(summed.stdout)["counts"].items() if n}
    assert counts == {"updated": 4, "skipped": 1, "rejected": 1, "failed": 1}


def test_a_file_of_failed_rows_is_fixed_and_run(command: Command, folder: Path) -> None:
    """Its own columns are known, and its fixed rows are updated."""
    before = incidents_of(folder)
    path = folder / "finished.sandbox.failed.csv"
    header, *rows = csv.reader(path.read_text(encoding="utf-8-sig").splitlines())
    for number, row in zip((20, 21), rows, strict=True):
        row[0] = seed_id(number)
    write_rows(path, header, *rows)
    done = command("run", path.name, *STATE)
    assert done.returncode == 0, done.stderr
    assert changed(folder, before) == {
        seed_id(20): (1, "A title"),
        seed_id(21): (1, "No such incident"),
    }


@pytest.mark.parametrize("name", ["pulled.csv", "pulled.xlsx"])
def test_a_pulled_sheet_is_edited_and_sends_only_the_edit(
    name: str, command: Command, folder: Path
) -> None:
    """The values that it was pulled with are found, in a CSV file and in a workbook."""
    before = incidents_of(folder)
    old, new = before[seed_id(15)]["title"], "Edited title"
    path = folder / name
    if path.suffix == ".csv":
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(f",{old}", f",{new}", 1), encoding="utf-8")
    else:
        book = openpyxl.load_workbook(path)
        [cell] = [cell for row in book.active.iter_rows() for cell in row[:3] if cell.value == old]
        cell.value = new
        book.save(path)
    done = command("run", name, *STATE)
    assert done.returncode == 0, done.stderr
    assert changed(folder, before) == {seed_id(15): (1, new)}


@pytest.mark.slow
def test_a_jobs_run_that_was_killed_is_listed_and_resumed(command: Command, folder: Path) -> None:
    """Its 2 updated rows are not sent again; the other 4 are."""
    before = incidents_of(folder)
    runs = folder / "job-state" / "runs" / RUN_ID
    listed = command("runs", "--state-dir", "job-state", "--json")
    [record] = json.loads(listed.stdout)["runs"]
    assert (record["id"], record["state"]) == (RUN_ID, "running")
    done = command("job", "run", "jobs/nightly.toml", "--run", RUN_ID, "--state-dir", "job-state")
    assert done.returncode == 0, done.stderr
    assert changed(folder, before) == {seed_id(n): (1, f"Renamed {n}") for n in range(19, 23)}
    assert statuses(runs / "nightly.report.csv") == {"updated": 6}
    ended = json.loads((runs / "run.json").read_text())
    assert (ended["state"], ended["exit_code"], ended["rows"]) == ("ended", 0, 6)


def test_the_audit_is_continued(command: Command, folder: Path) -> None:
    """Each run adds a record, and those before it are not changed."""
    path = folder / "cut.sandbox.audit.jsonl"
    first = path.read_bytes()
    command("run", "cut.csv", *STATE)
    content = path.read_bytes()
    assert content.startswith(first)
    records = [json.loads(line) for line in content.splitlines()]
    assert [record["counts"] for record in records] == [
        {"updated": 3, "pending": 3},
        {"updated": 6},
    ]
    assert records[1].keys() - records[0].keys() == {"user", "host", "line", "previous"}
    assert records[0]["sheet_sha256"] == records[1]["sheet_sha256"]


def test_the_requests_in_an_account_ledger_count(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run of the account counts what was sent in the minute before."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    credentials = Credentials(AppKey(KEY), "http://127.0.0.1:8901", "a test")
    with AccountLedger(credentials, clock=lambda: 4870.0) as account:
        assert account.path.name == "13306d438579c4db4d5ff47a.ledger"
        account.path.write_bytes(gzip.decompress((folder / "account.ledger.gz").read_bytes()))
        holder = account.holder()
        assert holder is not None
        assert (holder.pid, holder.sheet) == (4126, "undone.csv")
        assert account.hold("next.csv")
        ages_s = Counter(round(age_s, 2) for age_s in account.ages_s())
    assert ages_s == {4.05: 1, 4.01: 1, 3.99: 2}
