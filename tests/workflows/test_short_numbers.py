"""Rows by short number: looked up in the account, and an error where none or several match."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from bulk_reset import Callbacks, InputError, Options, answer, check, plan, pull, run
from bulk_reset.core.plan import RowPlan

ID = "69da451e{:016x}"
HOUR_S = 3_600
START_AT = int(time.time()) - 100 * HOUR_S


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Options of a sandbox with 12 incidents; the second and the third have one number."""
    made = Options(sandbox_state=tmp_path / "state.json", per_second=5000, per_minute=300_000)
    pull(tmp_path / "seed.csv", [ID.format(1)], made)
    incidents = {
        ID.format(n): incident(made, n) | {"num": f"0E{n:04}", "start_time": START_AT + n * HOUR_S}
        for n in range(1, 13)
    }
    incidents[ID.format(3)]["num"] = "0E0002"
    state(made).write_text(json.dumps(incidents), encoding="utf-8")
    return made


def state(options: Options) -> Path:
    assert options.sandbox_state is not None
    return options.sandbox_state


def incident(options: Options, number: int) -> dict[str, Any]:
    return dict(json.loads(state(options).read_text(encoding="utf-8"))[ID.format(number)])


def write(tmp_path: Path, *rows: str, header: str = "故障编号,标题") -> Path:
    path = tmp_path / "x.csv"
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def test_a_row_is_found_by_number_link_or_id(options: Options, tmp_path: Path) -> None:
    """The report has the id of each; a second run finds all of them done."""
    sheet = write(
        tmp_path,
        "0e0004,By number",
        "#0E0005,By a number with a sign",
        f"https://console.example.com/incident/detail/{ID.format(6)},By link",
        f"{ID.format(7)},By id",
    )
    totals = run(sheet, options)
    with Path(totals.report).open(encoding="utf-8-sig", newline="") as file:
        lines = {row["incident_id"]: row["status"] for row in csv.DictReader(file)}
    assert lines == dict.fromkeys(map(ID.format, (4, 5, 6, 7)), "updated")
    assert [incident(options, n)["title"] for n in (4, 5)] == [
        "By number",
        "By a number with a sign",
    ]
    assert run(sheet, options).done_before == 4


def test_none_and_several_matches_are_errors_with_the_candidates(
    options: Options, tmp_path: Path
) -> None:
    """Nothing is sent; each error names its row, and the incidents to choose from."""
    sheet = write(tmp_path, "0E0004,New", "0E0002,New", "0E9999,New")
    with pytest.raises(InputError) as caught:
        run(sheet, options)
    found = [(one.row_number, one.column, one.kind, one.value) for one in caught.value.row_errors]
    assert found == [
        (3, "故障编号", "number_ambiguous", "0E0002"),
        (4, "故障编号", "number_unknown", "0E9999"),
    ]
    problem = caught.value.row_errors[0].problem
    assert problem.startswith("2 incidents have the number 0E0002: ")
    for number in (2, 3):
        assert f"{ID.format(number)} '{incident(options, number)['title']}' (20" in problem
    assert caught.value.row_errors[0].fix == "Use the ID of one of them"
    assert caught.value.row_errors[1].fix == "Use the ID, or an earlier numbers_since"
    assert incident(options, 4)["title"] != "New"


def test_the_valid_rows_are_sent_where_the_others_are_skipped(
    options: Options, tmp_path: Path
) -> None:
    """A rejected row has its number in the report."""
    sheet = write(tmp_path, "0E0004,New", "0E0002,New")
    totals = run(sheet, replace(options, skip_invalid=True))
    with Path(totals.report).open(encoding="utf-8-sig", newline="") as file:
        lines = {row["incident_id"]: row["status"] for row in csv.DictReader(file)}
    assert lines == {"0E0002": "rejected", ID.format(4): "updated"}


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("id,title,Started (UTC)", "0E0004,New,{}"),
        ("故障编号,标题,触发时间", "0E0004,New,{}"),
    ],
)
def test_numbers_are_looked_up_around_the_times_of_the_sheet(
    options: Options, tmp_path: Path, header: str, row: str
) -> None:
    """They are found although the default period ends before, and not a day too early."""
    sheet = write(
        tmp_path,
        row.format(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(START_AT))),
        header=header,
    )
    narrow = replace(options, numbers_since="1m")
    assert plan(sheet, narrow).counts == {"update": 1}
    sheet = write(tmp_path, row.format("2020-05-01 10:00:00"), header=header)
    with pytest.raises(InputError) as caught:
        plan(sheet, narrow)
    assert [one.kind for one in caught.value.row_errors] == ["number_unknown"]


def test_numbers_since_decides_without_times(options: Options, tmp_path: Path) -> None:
    """An incident that started before is not found."""
    sheet = write(tmp_path, "0E0004,New")
    rows: list[RowPlan] = []
    plan(sheet, replace(options, numbers_since="5d"), None, rows.append)
    assert [row.incident_id for row in rows] == [ID.format(4)]
    with pytest.raises(InputError) as caught:
        plan(sheet, replace(options, numbers_since="2d"))
    assert [one.kind for one in caught.value.row_errors] == ["number_unknown"]


def test_a_check_needs_no_account(tmp_path: Path) -> None:
    """It reports that numbers are looked up later, and finds duplicates by number."""
    notices: list[str] = []
    found = check(
        write(tmp_path, "0E0004,New", "0E0004,New", "abc,New"),
        None,
        Callbacks(on_notice=notices.append),
    )
    assert (found.rows, found.skipped) == (3, 1)
    assert [(one.row_number, one.kind) for one in found.row_errors] == [(4, "id_invalid")]
    assert (
        "2 IDs given as short numbers; their incidents are looked up before a plan or a run"
        in notices[-1]
    )


def test_an_answer_has_the_results_of_rows_with_numbers(options: Options, tmp_path: Path) -> None:
    """The report has the incidents of the numbers, so no account is read."""
    sheet = write(tmp_path, "0E0004,New", f"{ID.format(7)},New")
    totals = run(sheet, options)
    page = openpyxl.load_workbook(answer(totals.report, sheet)).worksheets[0]
    header = [cell.value for cell in page[1]]
    column = header.index("bulk-reset status")
    assert [row[column].value for row in page.iter_rows(min_row=2)] == ["updated", "updated"]
