"""Rows that a plan or a run selects; what is left out is counted and stays pending."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bulk_reset import InputError, Options, SheetError, Totals, plan, pull, run
from bulk_reset.core.plan import RowPlan
from bulk_reset.core.row_ranges import RowRanges

ID = "69da451e{:016x}"


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Options of a sandbox that has 300 incidents; every third one is Critical."""
    made = Options(sandbox_state=tmp_path / "state.json", per_second=5000, per_minute=300_000)
    pull(tmp_path / "seed.csv", [ID.format(1)], made)
    return made


def write(tmp_path: Path, *rows: str, header: str = "id,title,severity") -> Path:
    path = tmp_path / "x.csv"
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def sheet(tmp_path: Path) -> Path:
    return write(tmp_path, *(f"{ID.format(n)},Renamed {n},Critical" for n in range(1, 7)))


def counts(totals: Totals) -> dict[str, int]:
    return {status.value: rows for status, rows in totals.counts.items() if rows}


def incident(options: Options, number: int) -> dict[str, Any]:
    assert options.sandbox_state is not None
    found = json.loads(options.sandbox_state.read_text(encoding="utf-8"))
    return dict(found[ID.format(number)])


@pytest.mark.parametrize("text", ["", "2-", "a", "0", "5-4", "2;3", "-3", "2,,3", "1" * 10])
def test_rows_that_are_no_ranges_are_refused(text: str) -> None:
    """The error names the option and an example."""
    with pytest.raises(InputError, match=r"^only_rows=.* Use rows as Excel shows them"):
        Options(only_rows=text)


def test_ranges_include_both_ends() -> None:
    """Spaces do not matter."""
    ranges = RowRanges.of(" 2-4 ,77")
    assert [row for row in range(1, 100) if row in ranges] == [2, 3, 4, 77]


@pytest.mark.parametrize(
    ("changed", "rows"),
    [
        ({"only_rows": "2-3,7"}, [2, 3, 7]),
        ({"where": "row > 5"}, [6, 7]),
        ({"exclude_where": "row > 5"}, [2, 3, 4, 5]),
        ({"only_rows": "2-5", "where": "row > 3", "exclude_where": "row == 5"}, [4]),
        ({"where": "new.severity == 'Critical' and old.severity != 'Critical'"}, [3, 4, 6, 7]),
        ({"where": "'host-00003' in old.title and new.title == 'Renamed 3'"}, [4]),
        ({"where": "old.fields.affected_service|default('') == 'service-1'"}, [2]),
        ({"where": "row > 3", "limit": 2}, [4, 5]),
    ],
)
def test_a_plan_and_a_run_select_the_same_rows(
    options: Options, tmp_path: Path, changed: dict[str, Any], rows: list[int]
) -> None:
    """What a plan shows is what the run sends; the rest is pending and counted."""
    found: list[RowPlan] = []
    selected = replace(options, **changed)
    planned = plan(sheet(tmp_path), selected, None, found.append)
    assert [row.row_number for row in found] == rows
    totals = run(sheet(tmp_path), selected)
    assert counts(totals) == {"updated": len(rows), "pending": 6 - len(rows)}
    assert totals.left_out == planned.counts["left out"]
    assert totals.exit_code == 0
    titles = [incident(options, n)["title"] for n in range(1, 7)]
    assert [n + 1 for n, title in enumerate(titles, 1) if title == f"Renamed {n}"] == rows


def test_rows_that_were_left_out_are_sent_by_a_later_run(options: Options, tmp_path: Path) -> None:
    """A run resumes with another selection; what is done stays done."""
    path = sheet(tmp_path)
    run(path, replace(options, only_rows="2-3"))
    where = replace(options, where="'Renamed' not in old.title and row < 6")
    assert counts(run(path, where)) == {"updated": 4, "pending": 2}
    assert counts(run(path, options)) == {"updated": 6}


def test_one_field_is_sent_alone_and_the_others_later(options: Options, tmp_path: Path) -> None:
    """A row that was sent in part is not done."""
    path = write(
        tmp_path,
        f"{ID.format(1)},Renamed 1,Critical",
        f"{ID.format(2)},,Critical",
        f"{ID.format(3)},Renamed 3,",
    )
    before = incident(options, 1)
    assert before["incident_severity"] != incident(options, 2)["incident_severity"]
    totals = run(path, replace(options, only_fields=("title",)))
    assert counts(totals) == {"updated": 2}
    assert incident(options, 1)["incident_severity"] == before["incident_severity"]
    report = tmp_path / "again.report.csv"
    assert counts(run(path, replace(options, report=report))) == {"updated": 1, "unchanged": 2}


def test_a_field_that_the_sheet_does_not_have_is_refused(options: Options, tmp_path: Path) -> None:
    """The error names those that it has."""
    with pytest.raises(InputError, match=r"no column for it.*Use one of title, incident_severity"):
        run(sheet(tmp_path), replace(options, only_fields=("impact",)))


def test_an_invalid_row_that_is_not_selected_stops_nothing(
    options: Options, tmp_path: Path
) -> None:
    """It stays pending like the others that are left out."""
    path = write(tmp_path, f"{ID.format(1)},Renamed 1,", "bad,Renamed,", f"{ID.format(3)},x,")
    assert counts(run(path, replace(options, only_rows="2"))) == {"updated": 1, "pending": 2}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("row >", "unexpected"),
        ("1) %}{% endif %}{{ (1", "unexpected"),
        ("old.titel == 'x'", "old.titel|titel"),
        ("old.__class__", "unsafe|no attribute|undefined"),
        ("('x' * 1000000000)|length > 1", "Shorten the rule"),
        (" ", "is empty"),
    ],
)
def test_an_expression_that_fails_sends_nothing(
    options: Options, tmp_path: Path, text: str, problem: str
) -> None:
    """The error names the option, and what is wrong."""
    before = incident(options, 1)
    with pytest.raises(InputError, match=rf"^where.*({problem})"):
        run(sheet(tmp_path), replace(options, where=text))
    assert incident(options, 1) == before
    assert not (tmp_path / "x.sandbox.report.csv").exists()


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"max_change": 5}, "6 of 6 rows will change, more than max_change=5 allows"),
        ({"max_change": "99%"}, "6 of 6 rows will change, more than max_change='99%' allows"),
        ({"max_critical": 5}, "6 Critical incidents will change, more than max_critical=5 allows"),
    ],
)
def test_too_much_change_is_refused_before_sending(
    options: Options, tmp_path: Path, changed: dict[str, Any], text: str
) -> None:
    """No row is sent and no report is written; a selection below the limit is sent."""
    before = incident(options, 1)
    with pytest.raises(InputError, match=text):
        run(sheet(tmp_path), replace(options, **changed))
    assert incident(options, 1) == before
    assert not (tmp_path / "x.sandbox.report.csv").exists()
    selected = replace(options, where="row > 2", **changed)
    assert counts(run(sheet(tmp_path), selected)) == {"updated": 5, "pending": 1}


@pytest.mark.parametrize("changed", [{"max_change": "x"}, {"max_critical": -1}])
def test_a_limit_that_is_no_number_is_refused(changed: dict[str, Any]) -> None:
    """The error names the option."""
    with pytest.raises(InputError, match=f"^{next(iter(changed))}"):
        Options(**changed)


# --- Only if ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["only if title", "Only_If New title", "仅当 标题", "仅当标题"])
def test_another_value_than_expected_is_a_conflict(
    options: Options, tmp_path: Path, name: str
) -> None:
    """A sheet that was never pulled says what it expects; an empty cell expects nothing."""
    title = incident(options, 1)["title"]
    path = write(
        tmp_path,
        f"{ID.format(1)},Renamed 1,{title}",
        f"{ID.format(2)},Renamed 2,Something else",
        f"{ID.format(3)},Renamed 3,",
        header=f"id,title,{name}",
    )
    found: list[RowPlan] = []
    assert plan(path, options, None, found.append).counts == {"update": 2, "conflict": 1}
    conflict = found[1]
    assert (
        conflict.reason == "title: 'Something else' expected, 'Disk almost full - host-00002' now"
    )
    assert counts(run(path, options)) == {"updated": 2, "conflict": 1}
    assert counts(run(path, options)) == {"updated": 2, "conflict": 1}
    again = replace(options, overwrite=True, retry_failed=True)
    assert counts(run(path, again)) == {"updated": 3}


def test_a_field_that_is_not_set_can_be_expected(options: Options, tmp_path: Path) -> None:
    """The condition is part of a saved plan, too: it is compared when the plan is run."""
    severity = incident(options, 1)["incident_severity"]
    path = write(
        tmp_path,
        f"{ID.format(1)},Renamed 1,{severity}",
        f"{ID.format(4)},Renamed 4,{incident(options, 4)['incident_severity']}",
        header="id,title,only if severity",
    )
    saved = tmp_path / "x.plan"
    assert plan(path, options, out=saved).counts == {"update": 2}
    other = "Info" if severity != "Info" else "Warning"
    edit = tmp_path / "other.csv"
    edit.write_text(f"id,severity\n{ID.format(1)},{other}\n", encoding="utf-8")
    run(edit, options)
    totals = run(saved, options)
    assert counts(totals) == {"updated": 1, "conflict": 1}
    assert totals.errors[0].message == f"incident_severity: '{severity}' expected, '{other}' now"
    assert counts(run(path, options)) == {"unchanged": 1, "conflict": 1}


def test_a_misspelled_condition_is_refused(options: Options, tmp_path: Path) -> None:
    """It must not be ignored; other names that begin alike are columns of the user."""
    path = write(tmp_path, f"{ID.format(1)},Renamed 1,x", header="id,title,only if titel")
    with pytest.raises(SheetError, match=r"'titel' is not a field. Rename the column to 'only if"):
        run(path, options)
    path = write(tmp_path, f"{ID.format(1)},Renamed 1,x", header="id,title,only if approved")
    assert counts(run(path, options)) == {"updated": 1}


def test_a_condition_needs_current_values(options: Options, tmp_path: Path) -> None:
    """Without reading, it would be ignored."""
    path = write(tmp_path, f"{ID.format(1)},Renamed 1,x", header="id,title,only if title")
    with pytest.raises(InputError, match=r"before=False.*columns with expected values"):
        run(path, replace(options, before=False))
