"""A sheet that was run and is edited again: its next run is an ordinary one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from programs import read_csv, seed_id, write_rows, write_sheet

from bulk_reset import Options, run, undo
from bulk_reset.core.defaults import OnConflict
from bulk_reset.core.errors import InputError
from bulk_reset.core.outcome import Status


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Send to a sandbox that keeps its incidents."""
    state = tmp_path / "state.json"
    return Options(sandbox_state=state, per_second=5_000, per_minute=300_000)


def statuses_of(report: Path) -> list[str]:
    return [line["status"] for line in read_csv(report)]


def test_a_sheet_of_which_every_row_was_edited_is_run_again(
    options: Options, tmp_path: Path
) -> None:
    """It is not another sheet, and an undo restores the values from before the first run."""
    sheet = write_sheet(tmp_path / "x.csv", 5)
    run(sheet, options)
    for title in ("Second", "Third"):
        totals = run(write_sheet(sheet, 5, title=title), options)
        assert (totals.counts["updated"], totals.done_before, totals.exit_code) == (5, 0, 0)
    assert len(statuses_of(tmp_path / "x.sandbox.report.csv")) == 15
    undone = undo(tmp_path / "x.sandbox.report.csv", options)
    assert (undone.undo_sheet.values, undone.exit_code) == (5, 0)
    check = run(write_sheet(tmp_path / "y.csv", 5, title="Third"), options)
    assert check.counts["updated"] == 5


def test_a_sheet_of_which_every_row_was_rejected_is_fixed_and_run_again(
    options: Options, tmp_path: Path
) -> None:
    """Nothing of it was written; all of its rows are new to the report."""
    header = ["incident_id", "title"]
    rows = [[seed_id(n), "x"] for n in (1, 2)]
    sheet = write_rows(tmp_path / "x.csv", header, *rows)
    mixed = Options(**{**options.changed(), "skip_invalid": True})
    assert run(sheet, mixed).counts["rejected"] == 2
    write_rows(sheet, header, *[[seed_id(n), f"Renamed {n}"] for n in (1, 2)])
    assert run(sheet, options).counts["updated"] == 2


def test_a_sheet_of_other_incidents_is_another_sheet(options: Options, tmp_path: Path) -> None:
    """Its report would mix two runs, and so would its undo."""
    run(write_sheet(tmp_path / "x.csv", 5), options)
    rows = [[seed_id(n), f"Renamed {n}"] for n in range(5, 15)]
    write_rows(tmp_path / "x.csv", ["incident_id", "title"], *rows)
    with pytest.raises(InputError, match="belongs to another sheet or API"):
        run(tmp_path / "x.csv", options)


def test_the_report_of_another_api_is_not_taken_for_that_of_the_edited_sheet(
    options: Options, tmp_path: Path
) -> None:
    """The same incidents, but none of the rows was sent there."""
    report = tmp_path / "x.report.csv"
    run(write_sheet(tmp_path / "x.csv", 5), Options(**{**options.changed(), "report": report}))
    write_sheet(tmp_path / "x.csv", 5, title="Second")
    (tmp_path / "key").write_text("key")
    (tmp_path / "key").chmod(0o600)
    elsewhere = Options(
        report=report, base_url="http://127.0.0.1:9", app_key_file=tmp_path / "key", dry_run=True
    )
    with pytest.raises(InputError, match="is from a sandbox run"):
        run(tmp_path / "x.csv", elsewhere)


def edit(sheet: Path, title: str) -> Path:
    """Write the sheet with another title; the impact of each row stays as it is."""
    rows = [[seed_id(n), title, f"Impact {n}"] for n in (1, 2)]
    return write_rows(sheet, ["incident_id", "title", "impact"], *rows)


def test_an_edited_sheet_is_resumed(options: Options, tmp_path: Path) -> None:
    """The second run writes the title alone, because the impact is as the first one set it."""
    sheet = tmp_path / "x.csv"
    run(edit(sheet, "First"), options)
    run(edit(sheet, "Second"), options)
    report = read_csv(tmp_path / "x.sandbox.report.csv")
    assert [line["fields"] for line in report] == ["title impact"] * 2 + ["title"] * 2
    again = run(sheet, options)
    assert (again.done_before, again.requests, again.recorded) == (2, 0, {})
    assert run(edit(sheet, "First"), options).counts["updated"] == 2


def test_rows_that_another_user_set_back_need_no_change(options: Options, tmp_path: Path) -> None:
    """The run that sent them is not reported as one that ended early."""
    sheet, other = tmp_path / "x.csv", tmp_path / "other.csv"
    run(edit(sheet, "First"), options)
    run(edit(sheet, "Second"), options)
    run(edit(other, "First"), options)
    totals = run(edit(sheet, "First"), options)
    assert totals.recorded == {Status.UNCHANGED: 2}
    (line, _) = read_csv(tmp_path / "x.sandbox.report.csv")[-2:]
    assert (line["status"], line["error_message"]) == (
        "unchanged",
        "the incident already has these values",
    )


def test_rows_that_needed_no_change_are_sent_after_other_values(
    options: Options, tmp_path: Path
) -> None:
    """They had their values before the first run; another run of the report overwrote them."""
    sheet = tmp_path / "x.csv"
    run(edit(tmp_path / "first.csv", "First"), options)
    for title, status in (("First", "unchanged"), ("Second", "updated"), ("First", "updated")):
        totals = run(edit(sheet, title), options)
        assert (totals.recorded, totals.done_before) == ({Status(status): 2}, 0)
    again = run(sheet, options)
    assert (again.recorded, again.done_before) == ({}, 2)
    check = run(edit(tmp_path / "check.csv", "First"), options)
    assert check.recorded == {Status.UNCHANGED: 2}


def commented(sheet: Path, *rows: tuple[int, str, str]) -> Path:
    """Write rows: the number of the incident, its title, its comment."""
    texts = [[seed_id(number), title, comment] for number, title, comment in rows]
    return write_rows(sheet, ["incident_id", "title", "comment"], *texts)


def comments_of(state: Path) -> Counter[str]:
    """Return the comments of all incidents of a sandbox."""
    incidents = json.loads(state.read_text(encoding="utf-8"))
    return Counter(text for incident in incidents.values() for text in incident.get("comments", ()))


@pytest.mark.parametrize("before", [True, False])
def test_a_comment_is_not_added_again_when_another_cell_is_edited(
    before: bool,
    options: Options,
    tmp_path: Path,
) -> None:
    """Nor when it is edited back; another comment is added."""
    options = Options(**{**options.changed(), "before": before})
    sheet, state = tmp_path / "x.csv", tmp_path / "state.json"
    for title in ("First", "Second", "First", "First"):
        run(commented(sheet, (1, title, "Reviewed"), (2, "Other", "")), options)
        assert comments_of(state) == {"Reviewed": 1}
    messages = [line["error_message"] for line in read_csv(tmp_path / "x.sandbox.report.csv")]
    assert sum("found in the timeline" in text for text in messages) == 2
    run(commented(sheet, (1, "First", "Reviewed twice"), (2, "Other", "Reviewed")), options)
    assert comments_of(state) == {"Reviewed": 2, "Reviewed twice": 1}


def test_each_row_of_an_incident_adds_its_own_comment(options: Options, tmp_path: Path) -> None:
    """In one sheet, the same comment of two rows is meant twice, also after a stop between them."""
    options = Options(**{**options.changed(), "on_conflict": OnConflict.IN_ORDER})
    sheet = commented(tmp_path / "x.csv", (1, "First", "Step done"), (1, "Second", "Step done"))
    run(sheet, Options(**{**options.changed(), "limit": 1}))
    for _ in range(2):
        run(sheet, options)
        assert comments_of(tmp_path / "state.json") == {"Step done": 2}
