"""The column ``action``: incidents are acknowledged, resolved and reopened, and that is undone."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bulk_reset import Options, Totals, check, plan, pull, run, undo, verify
from bulk_reset.core.plan import RowPlan

ID = "69da451e{:016x}"
TRIGGERED, PROCESSING, CLOSED = 1, 4, 7
"""Numbers of incidents with this progress; the next two have it too."""


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Options of a sandbox with incidents of each progress."""
    made = Options(sandbox_state=tmp_path / "state.json", per_second=5000, per_minute=300_000)
    pull(tmp_path / "seed.csv", [ID.format(1)], made)
    return made


def write(tmp_path: Path, *rows: tuple[int, str, str], header: str = "id,title,action") -> Path:
    path = tmp_path / "x.csv"
    lines = [f"{ID.format(number)},{title},{action}" for number, title, action in rows]
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


def incident(options: Options, number: int) -> dict[str, Any]:
    assert options.sandbox_state is not None
    found = json.loads(options.sandbox_state.read_text(encoding="utf-8"))
    return dict(found[ID.format(number)])


def progress(options: Options, *numbers: int) -> list[str]:
    return [incident(options, number)["progress"] for number in numbers]


def counts(totals: Totals) -> dict[str, int]:
    return {status.value: rows for status, rows in totals.counts.items() if rows}


def lines(totals: Totals) -> dict[int, tuple[str, str, str]]:
    """Return row -> status, fields and message of the report."""
    with Path(totals.report).open(encoding="utf-8-sig", newline="") as file:
        return {
            int(row["row"]): (row["status"], row["fields"], row["error_message"])
            for row in csv.DictReader(file)
        }


@pytest.mark.parametrize(
    ("word", "number", "after"),
    [
        ("ack", TRIGGERED, "Processing"),
        ("ACKNOWLEDGE", TRIGGERED, "Processing"),
        ("认领", TRIGGERED, "Processing"),
        ("Resolve", TRIGGERED, "Closed"),
        ("解决", PROCESSING, "Closed"),
        ("closed", PROCESSING, "Closed"),
        ("Re-open", CLOSED, "Triggered"),
        ("重开", CLOSED, "Triggered"),
    ],
)
def test_a_word_in_any_case_or_in_chinese_acts(
    options: Options, tmp_path: Path, word: str, number: int, after: str
) -> None:
    """The incident has the progress afterwards, and the row is updated."""
    totals = run(write(tmp_path, (number, "", word)), options)
    assert (counts(totals), progress(options, number)) == ({"updated": 1}, [after])


def test_a_row_sets_its_fields_and_then_acts(options: Options, tmp_path: Path) -> None:
    """One line of the report has both, and both are in the timeline in that order."""
    totals = run(write(tmp_path, (TRIGGERED, "Renamed", "resolve")), options)
    found = incident(options, TRIGGERED)
    assert lines(totals) == {2: ("updated", "title action", "")}
    assert (found["title"], found["progress"]) == ("Renamed", "Closed")
    assert found["close_time"] == found["end_time"] > 0


def test_a_plan_shows_the_progress_and_what_cannot_be_undone(
    options: Options, tmp_path: Path
) -> None:
    """An acknowledgement cannot be taken back; nothing is planned where nothing is left to do."""
    rows: list[RowPlan] = []
    sheet = write(
        tmp_path,
        (TRIGGERED, "", "ack"),
        (TRIGGERED + 1, "", "resolve"),
        (CLOSED, "", "reopen"),
        (CLOSED + 1, "", "resolve"),
        (PROCESSING, "", "reopen"),
        (CLOSED + 2, "", "ack"),
    )
    planned = plan(sheet, options, None, rows.append)
    assert [(row.verdict, [(f.old, f.new, f.lost) for f in row.fields]) for row in rows] == [
        ("update", [("Triggered", "Processing", "an acknowledgement cannot be taken back")]),
        ("update", [("Triggered", "Closed", "")]),
        ("update", [("Closed", "Triggered", "")]),
        ("unchanged", []),
        ("unchanged", []),
        ("conflict", [("Closed", "Processing", "")]),
    ]
    assert rows[-1].reason == "action: 'Triggered' expected, 'Closed' now"
    assert (planned.fields, planned.lost) == ({"action": 3}, 1)


def test_an_undo_takes_back_what_the_api_can(options: Options, tmp_path: Path) -> None:
    """Resolved is reopened, reopened is resolved, and an acknowledgement is listed as lost."""
    sheet = write(
        tmp_path,
        (TRIGGERED, "Renamed", "resolve"),
        (PROCESSING, "", "resolve"),
        (CLOSED, "", "reopen"),
        (TRIGGERED + 1, "", "ack"),
    )
    numbers = (TRIGGERED, PROCESSING, CLOSED, TRIGGERED + 1)
    totals = run(sheet, options)
    assert progress(options, *numbers) == ["Closed", "Closed", "Triggered", "Processing"]
    assert verify(totals.report, options).mismatches == ()

    undone = undo(totals.report, options)
    assert progress(options, *numbers) == ["Triggered", "Triggered", "Closed", "Processing"]
    assert [(one.incident_id, one.field, one.was) for one in undone.undo_sheet.lost] == [
        (ID.format(TRIGGERED + 1), "action", "Triggered")
    ]


def test_an_undo_leaves_alone_what_another_user_has_reopened(
    options: Options, tmp_path: Path
) -> None:
    """The incident is open already, so that nothing is sent."""
    totals = run(write(tmp_path, (TRIGGERED, "", "resolve")), options)
    other = tmp_path / "other"
    other.mkdir()
    run(write(other, (TRIGGERED, "", "reopen")), options)
    run(write(other, (TRIGGERED, "", "ack")), replace(options, report=other / "ack.report.csv"))
    undo(totals.report, options)
    assert progress(options, TRIGGERED) == ["Processing"]


def test_a_second_run_does_nothing(options: Options, tmp_path: Path) -> None:
    """A row that is done is not sent again, even if the incident has been reopened since."""
    sheet = write(tmp_path, (TRIGGERED, "", "resolve"))
    run(sheet, options)
    other = tmp_path / "other"
    other.mkdir()
    run(write(other, (TRIGGERED, "", "reopen")), options)
    again = run(sheet, options)
    assert (again.done_before, progress(options, TRIGGERED)) == (1, ["Triggered"])


def test_a_verification_finds_what_was_reopened(options: Options, tmp_path: Path) -> None:
    """The incident no longer has the progress that the run led to."""
    totals = run(write(tmp_path, (TRIGGERED, "", "resolve")), options)
    other = tmp_path / "other"
    other.mkdir()
    run(write(other, (TRIGGERED, "", "reopen")), options)
    found = verify(totals.report, options).mismatches
    assert [(one.row_number, one.field, one.wanted, one.found) for one in found] == [
        (2, "action", "Closed", "Triggered")
    ]


def test_other_words_are_errors_at_their_cells(options: Options, tmp_path: Path) -> None:
    """The nearest action is suggested."""
    found = check(
        write(tmp_path, (1, "", "resolv"), (2, "", "delete"), (3, "Kept", "")), options
    ).row_errors
    assert [(one.row_number, one.column, one.kind, one.problem, one.fix) for one in found] == [
        (2, "action", "action", "not an action", "Use resolve, if you mean it"),
        (3, "action", "action", "not an action", "Use ack, resolve or reopen, or clear the cell"),
    ]


def test_a_saved_plan_acts_as_its_sheet(options: Options, tmp_path: Path) -> None:
    """A plan has the progress, which is read back as the action."""
    sheet = write(tmp_path, (TRIGGERED, "Renamed", "resolve"), (CLOSED, "", "重开"))
    plan(sheet, options, out=tmp_path / "x.plan")
    totals = run(tmp_path / "x.plan", options)
    assert counts(totals) == {"updated": 2}
    assert progress(options, TRIGGERED, CLOSED) == ["Closed", "Triggered"]


def test_a_rule_resolves_what_a_query_finds(options: Options, tmp_path: Path) -> None:
    """Incidents that are closed already are left out of the sheet."""
    ids = [ID.format(number) for number in range(1, 10)]
    totals = pull(tmp_path / "y.xlsx", ids, options, rules=["action=resolve"])
    assert totals.rows == 6
    ran = run(tmp_path / "y.xlsx", options)
    assert (counts(ran), set(progress(options, *range(1, 10)))) == ({"updated": 6}, {"Closed"})
