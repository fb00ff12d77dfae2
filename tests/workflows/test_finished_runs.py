"""A report of which every row is done is resumed without reading it, and only then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from programs import seed_id, statuses, write_rows, write_sheet

from bulk_reset import Callbacks, Options, Totals, run, undo
from bulk_reset.core.errors import InputError
from bulk_reset.core.outcome import Status
from bulk_reset.records.report_file import Report
from bulk_reset.sheets.corrections import Corrections
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.sheet_check import DecidedChunk, SheetCheck, check_rows
from bulk_reset.sheets.validation import check_chunk
from bulk_reset.workflows.finished_runs import RowsHash

ROWS = 6
HEADER = "incident_id,title,impact\n"


def options_of(folder: Path, **more: Any) -> Options:  # noqa: ANN401  (any option)
    """Send to a sandbox that keeps its incidents."""
    state = folder.parent / "state.json"
    return Options(sandbox_state=state, per_second=5_000, per_minute=300_000, **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the sheet ``x.csv`` and the report of its finished run."""
    folder = tmp_path / "finished"
    folder.mkdir(parents=True)
    lines = [f"{seed_id(n)},Title {n},Impact {n}\n" for n in range(1, ROWS + 1)]
    (folder / "x.csv").write_text(HEADER + "".join(lines), encoding="utf-8")
    assert run(folder / "x.csv", options_of(folder)).counts["updated"] == ROWS
    return folder


def report_of(folder: Path) -> Path:
    return folder / "x.sandbox.report.csv"


def audit_of(folder: Path) -> list[dict[str, Any]]:
    path = folder / "x.sandbox.audit.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def replace_text(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8", newline="")


def is_read(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> bool:
    """Return whether an action reads the lines of a report to resume it."""
    reports: list[Report] = []
    original = Report.__init__

    def opened(report: Report, *arguments: Any, **more: Any) -> None:  # noqa: ANN401
        reports.append(report)
        original(report, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Report, "__init__", opened)
        action()
    assert len(reports) == 1
    return "history" in vars(reports[0])


def test_a_finished_report_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every further run is the same: nothing is sent, and the totals are of all rows."""
    report = report_of(folder).read_bytes()
    for _ in range(2):
        found: list[Totals] = []
        notices: list[str] = []
        callbacks = Callbacks(on_notice=notices.append)

        def again() -> None:
            found.append(run(folder / "x.csv", options_of(folder), callbacks))  # noqa: B023

        assert not is_read(monkeypatch, again)
        (totals,) = found
        assert (totals.counts["updated"], totals.done_before, totals.requests) == (ROWS, ROWS, 0)
        assert f"{report_of(folder)}: resumed; {ROWS} of {ROWS} rows already done" in notices
        assert report_of(folder).read_bytes() == report


def swap_cells(folder: Path) -> None:
    """Move a comma: the same bytes in other cells, and a sheet of the same size."""
    replace_text(folder / "x.csv", "Title 2,Impact 2", "Title,2Impact 2")


def swap_rows(folder: Path) -> None:
    replace_text(folder / "x.csv", seed_id(2), "@")
    replace_text(folder / "x.csv", seed_id(3), seed_id(2))
    replace_text(folder / "x.csv", "@", seed_id(3))


def remove_a_line(folder: Path) -> None:
    lines = report_of(folder).read_bytes().splitlines(keepends=True)
    report_of(folder).write_bytes(b"".join(lines[:2] + lines[3:]))


def add_another_run(folder: Path) -> None:
    """Another sheet of the same report sets a title to something else."""
    other = folder / "other"
    other.mkdir()
    sheet = other / "x.csv"
    sheet.write_text(f"{HEADER}{seed_id(1)},Other,\n{seed_id(2)},Title 2,Impact 2\n", "utf-8")
    run(sheet, options_of(folder, report=report_of(folder)))


MUTATIONS: dict[str, tuple[Callable[[Path], object], dict[str, Any], int]] = {
    "nothing": (lambda _: None, {}, 0),
    "a cell": (lambda f: replace_text(f / "x.csv", "Title 2", "Title X"), {}, 1),
    "a cell, longer": (lambda f: replace_text(f / "x.csv", "Title 2", "Title 22"), {}, 1),
    "a cell that is not sent": (
        lambda f: replace_text(f / "x.csv", "Title 2", "Title X"),
        {"only_fields": ("impact",)},
        ROWS,  # without the title, each row is another one
    ),
    "a comma": (swap_cells, {}, 1),
    "two rows": (swap_rows, {}, 2),
    "the order of columns": (
        lambda f: replace_text(f / "x.csv", "title,impact", "impact,title"),
        {},
        ROWS,
    ),
    "mapped columns": (
        lambda _: None,
        {"mapping": {"description": "title", "title": "impact"}},
        ROWS,
    ),
    "a blank row": (lambda f: replace_text(f / "x.csv", HEADER, HEADER + "\n"), {}, 0),
    "a duplicate": (
        lambda f: replace_text(f / "x.csv", HEADER, f"{HEADER}{seed_id(6)},Title 6,Impact 6\n"),
        {},
        1,  # skipped
    ),
    "capital letters": (
        lambda f: replace_text(f / "x.csv", seed_id(2), seed_id(2).upper()),
        {},
        0,
    ),
    "a line of the report": (remove_a_line, {}, 1),
    "a status of the report": (
        lambda f: replace_text(report_of(f), "updated", "unknown"),
        {},
        1,
    ),
    "a torn line": (
        lambda f: report_of(f).write_bytes(report_of(f).read_bytes()[:-5]),
        {},
        1,
    ),
    "another run of the report": (add_another_run, {}, 1),
    "no report": (lambda f: report_of(f).unlink(), {}, ROWS),
    "no audit": (lambda f: (f / "x.sandbox.audit.jsonl").unlink(), {}, 0),
    "a limit": (lambda _: None, {"limit": 2}, 0),
    "rows selected": (lambda _: None, {"only_rows": "2-3"}, 0),
    "a canary": (lambda _: None, {"canary": 2}, 0),
    "failed rows again": (lambda _: None, {"retry_failed": True}, 0),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_it_is_resumed_as_without_the_hashes(folder: Path, name: str) -> None:
    """Whatever was changed since: the same rows are sent, with the same totals and report."""
    mutate, more, sent = MUTATIONS[name]
    mutate(folder)
    plain = folder.with_name("plain")
    shutil.copytree(folder, plain)
    audit = plain / "x.sandbox.audit.jsonl"
    if audit.exists():
        lines = [{**line, "finished": None} for line in audit_of(plain)]
        audit.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    found, state = [], folder.parent / "state.json"
    incidents = state.read_bytes()
    for where in (folder, plain):
        state.write_bytes(incidents)
        totals = run(where / "x.csv", options_of(where, **more))
        left = totals.counts, totals.done_before, totals.rows, totals.recorded, totals.left_out
        found.append((left, statuses(report_of(where))))
        assert sum(totals.recorded.values()) == sent
    assert found[0] == found[1]


def test_a_changed_profile_is_seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its values are not those of the file, so such a sheet has no hash."""
    profile = folder / "x.toml"
    for title, updated in (("A", ROWS), ("A", 0), ("B", ROWS)):
        profile.write_text(f"[templates]\ntitle = '{title} {{{{ row.title }}}}'\n", "utf-8")
        found: list[Totals] = []
        options = options_of(folder, profile=profile)
        assert is_read(monkeypatch, lambda: found.append(run(folder / "x.csv", options)))  # noqa: B023
        assert found[0].recorded.get(Status.UPDATED, 0) == updated
        assert "finished" not in audit_of(folder)[-1] or not updated


def test_corrections_are_seen(folder: Path) -> None:
    """The file is the same, and one of its cells is replaced."""
    path = folder / "x.corrections.json"
    Corrections({3: {1: "Other"}}, {}).write(path, folder / "x.csv")
    for updated in (1, 0):
        totals = run(folder / "x.csv", options_of(folder, corrections=path))
        assert totals.recorded.get(Status.UPDATED, 0) == updated
    assert run(folder / "x.csv", options_of(folder)).recorded == {Status.UPDATED: 1}


def test_a_run_that_was_undone_is_refused(folder: Path) -> None:
    """As any report of it."""
    undo(report_of(folder), options_of(folder))
    with pytest.raises(InputError, match="its run was undone"):
        run(folder / "x.csv", options_of(folder))


def test_an_edited_audit_is_not_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other counts, statuses or types: the report is read, or the line is named."""
    path = folder / "x.sandbox.audit.jsonl"
    line = audit_of(folder)[-1]
    edits: tuple[dict[str, Any], ...] = (
        {"counts": {"updated": ROWS - 1}},
        {"counts": {"updated": ROWS, "failed": 0}},
        {"counts": {"skipped": ROWS}},
        {"counts": None},
        {"finished": {}},
        {"finished": {"rows_sha256": "", "report_sha256": ""}},
        {"finished": {**line["finished"], "rows_sha256": "0" * 64}},
        {"finished": {**line["finished"], "report_sha256": "0" * 64}},
        {"sheet_bytes": None},
    )
    for edit in edits:
        path.write_text(f"{json.dumps({**line, **edit})}\n", encoding="utf-8")
        assert is_read(monkeypatch, lambda: run(folder / "x.csv", options_of(folder))), edit
    path.write_text(f"{json.dumps({**line, 'finished': {'rows_sha256': 1}})}\n", "utf-8")
    with pytest.raises(InputError, match="finished is not an object of texts"):
        run(folder / "x.csv", options_of(folder))


def test_a_run_with_open_rows_is_not_finished(tmp_path: Path) -> None:
    """Also one that ended early, or that repeats an incident; its last part is proven later."""
    sheet = write_sheet(tmp_path / "x.csv", 4)
    for limit, is_finished in ((1, False), (None, False), (None, True)):
        run(sheet, options_of(tmp_path, limit=limit))
        assert ("finished" in audit_of(tmp_path)[-1]) is is_finished
    twice = [[seed_id(1), title, ""] for title in ("First", "Second")]
    write_rows(tmp_path / "x.csv", HEADER.strip().split(","), *twice)
    for _ in range(2):
        run(sheet, options_of(tmp_path, on_conflict="in-order"))
        assert "finished" not in audit_of(tmp_path)[-1]


# --- The hash itself -------------------------------------------------------------------------


def hash_and_digests(path: Path, chunk_rows: int) -> tuple[str, list[bytes]]:
    """Return the hash of a sheet's rows, and their digests."""
    with open_sheet(path) as sheet:
        rows_hash, found = RowsHash(sheet, "scope"), list[bytes]()
        for chunk in sheet.chunks(chunk_rows):
            checked = check_chunk(chunk, sheet.columns)
            rows_hash.add(checked)
            found += DecidedChunk(checked, SheetCheck(), "scope").digests
        return rows_hash.value(check_rows(sheet)), found


CELLS = st.text(st.sampled_from('ab ,"\n;\t\x1f\x1eé漢'), max_size=5)
TABLES = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4)


def as_csv(rows: list[tuple[str, str]], *, is_quoted: bool) -> str:
    def cell(text: str) -> str:
        if is_quoted or any(mark in text for mark in ',"\n'):
            return '"' + text.replace('"', '""') + '"'
        return text

    lines = [f"{seed_id(n)},{cell(a)},{cell(b)}\n" for n, (a, b) in enumerate(rows)]
    return HEADER + "".join(lines)


@given(TABLES, TABLES, st.booleans(), st.integers(1, 3))
@example([("a", "b")], [("a", "b")], True, 1)
@example([("a,b", "")], [("a", "b")], False, 1)
def test_rows_of_one_hash_have_the_same_digests(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[tuple[str, str]],
    second: list[tuple[str, str]],
    is_quoted: bool,
    chunk_rows: int,
) -> None:
    """However they are quoted, and however many rows are read at a time."""
    folder = tmp_path_factory.mktemp("tables")
    found = []
    for name, rows, quoted in (("a", first, is_quoted), ("b", second, not is_quoted)):
        path = folder / f"{name}.csv"
        path.write_text(as_csv(rows, is_quoted=quoted), encoding="utf-8", newline="")
        found.append(hash_and_digests(path, chunk_rows))
    (one, digests), (other, others) = found
    if one and other:
        assert (one == other) is (digests == others)


def test_a_hash_does_not_depend_on_how_many_rows_are_read_at_a_time(folder: Path) -> None:
    """A first run reads more rows at a time than a later one may."""
    every = {hash_and_digests(folder / "x.csv", rows)[0] for rows in (1, 2, 4, 10_000)}
    assert len(every) == 1
    assert every != {""}
