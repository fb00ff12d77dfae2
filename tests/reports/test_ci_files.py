"""Files for CI systems: SARIF of a check, JUnit XML of a report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from make_samples import INVALID_COLUMNS
from programs import ROOT, write_sheet

from bulk_reset import InputError, Options, check, run
from bulk_reset.core.errors import SheetError
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.row_error import RowError
from bulk_reset.records.report_file import Report
from bulk_reset.reports.junit_file import write_junit
from bulk_reset.reports.sarif_file import write_sarif

SHEET = ROOT / "samples" / "invalid-rows.csv"
ID = "69da451ef77b1b51f40e83ee"


def validate_sarif(log: dict[str, Any]) -> None:
    """Check what the standard requires, section by section, and what its schema restricts."""
    assert log["version"] == "2.1.0"  # 3.13.2
    assert set(log) <= {"$schema", "version", "runs", "inlineExternalProperties", "properties"}
    assert isinstance(log["runs"], list)  # 3.13.4
    for one in log["runs"]:
        driver = one["tool"]["driver"]  # 3.14.6, 3.18.2
        assert isinstance(driver["name"], str)  # 3.19.8
        assert driver["name"]
        rules = driver.get("rules", [])
        assert len({rule["id"] for rule in rules}) == len(rules)  # 3.19.23, 3.49.3
        assert all(rule["shortDescription"]["text"] for rule in rules)  # 3.12.3
        assert one["columnKind"] in {"utf16CodeUnits", "unicodeCodePoints"}  # 3.14.17
        for result in one["results"]:
            assert result["message"]["text"]  # 3.27.11, 3.11.8
            assert result["level"] in {"none", "note", "warning", "error"}  # 3.27.10
            assert rules[result["ruleIndex"]]["id"] == result["ruleId"]  # 3.27.5, 3.27.6
            for location in result["locations"]:  # 3.27.12
                physical = location["physicalLocation"]
                uri = physical["artifactLocation"]["uri"]  # 3.29.3, 3.4.3
                assert uri.isascii()
                assert " " not in uri
                region = physical.get("region", {"startLine": 1})  # 3.29.4
                assert set(region) <= {"startLine", "startColumn"}
                assert all(type(n) is int and n >= 1 for n in region.values())  # 3.30.5, 3.30.6


def sarif_of(path: Path, sheet: str, *errors: Any, header: tuple[str, ...] = ()) -> dict[str, Any]:  # noqa: ANN401
    write_sarif(path, sheet, header, errors)
    log: dict[str, Any] = json.loads(path.read_bytes())
    validate_sarif(log)
    return log


def test_every_error_of_a_sheet_is_at_its_row_and_column(tmp_path: Path) -> None:
    """A CI system shows each invalid cell at sheet:row:column."""
    result = check(SHEET)
    log = sarif_of(tmp_path / "x.sarif", str(SHEET), *result.row_errors, header=result.header)
    found: dict[int, set[str]] = {}
    for one in log["runs"][0]["results"]:
        region = one["locations"][0]["physicalLocation"]["region"]
        found.setdefault(region["startLine"], set()).add(result.header[region["startColumn"] - 1])
    assert found == {row: set(columns) for row, columns in INVALID_COLUMNS.items()}


def test_one_error_has_place_rule_and_fix(tmp_path: Path) -> None:
    """The message has the problem and the fix, as the table of the terminal has them."""
    error = RowError(7, "Titel", "too_short", "Hi", "2 characters", "Enter at least 3")
    log = sarif_of(tmp_path / "x.sarif", "my sheet.csv", error, header=("id", "Titel", "Titel"))
    (one,) = log["runs"][0]["results"]
    assert one == {
        "ruleId": "too_short",
        "ruleIndex": 0,
        "level": "error",
        "message": {"text": "Titel: 2 characters. Enter at least 3."},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "my%20sheet.csv"},
                    "region": {"startLine": 7, "startColumn": 2},
                },
                "logicalLocations": [{"fullyQualifiedName": "row 7, column Titel"}],
            }
        ],
    }


@pytest.mark.parametrize(
    ("sheet", "uri"),
    [
        ("-", "stdin.csv"),
        ("/a/b c.csv", "file:///a/b%20c.csv"),
        ("标题.csv", "%E6%A0%87%E9%A2%98.csv"),
        ("\udcff.csv", "%FF.csv"),
    ],
)
def test_every_name_of_a_sheet_is_a_uri(tmp_path: Path, sheet: str, uri: str) -> None:
    """A name with spaces, of another script or that is no text."""
    log = sarif_of(tmp_path / "x.sarif", sheet, SheetError("x: half \ud800 of a character."))
    (one,) = log["runs"][0]["results"]
    assert one["ruleId"] == "sheet_unreadable"
    assert one["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": uri}}}]


def test_a_valid_sheet_has_no_results(tmp_path: Path) -> None:
    """A CI system closes the findings of the last commit."""
    (one,) = sarif_of(tmp_path / "x.sarif", "x.csv")["runs"]
    assert (one["results"], one["tool"]["driver"]["rules"]) == ([], [])


def _report(path: Path, *outcomes: Outcome) -> Path:
    with Report(path) as report:
        for outcome in outcomes:
            report.write(outcome)
    return path


def test_a_report_is_a_test_suite(tmp_path: Path) -> None:
    """A row that is done passes; the others fail with the API's message."""
    report = _report(
        tmp_path / "x.report.csv",
        Outcome(2, ID, Status.UPDATED, ("title",), "a" * 24, 1, started_at=5.0, finished_at=5.5),
        Outcome(
            3,
            ID,
            Status.FAILED,
            ("title",),
            "b" * 24,
            1,
            http_status=400,
            error_code="InvalidParameter",
            error_message='no <title> & "text"\x1b[31m',
            request_id="r-1",
        ),
        Outcome(4, ID, Status.UNKNOWN, ("title",), "c" * 24, 1),
        Outcome(5, ID, Status.SKIPPED, ("title",), "d" * 24, error_message="duplicate of row 4"),
        Outcome(6, "", Status.REJECTED, (), "e" * 24, error_code="id_missing"),
    )
    write_junit(tmp_path / "x.xml", report)
    root = ET.parse(tmp_path / "x.xml").getroot()  # noqa: S314  (written by this test)
    (suite,) = root
    totals = {"tests": "5", "failures": "2", "errors": "1", "skipped": "1", "time": "0.500"}
    assert root.attrib == {"name": "bulk-reset", **totals}
    timestamp = "1970-01-01T00:00:05+00:00"
    assert suite.attrib == {"name": str(report), **totals, "timestamp": timestamp}
    shown = [
        (case.get("name"), case.get("line"), [(one.tag, one.attrib, one.text) for one in case])
        for case in suite
    ]
    message = 'no <title> & "text"\ufffd[31m'
    where = f"{report}:"
    failed = {"message": message, "type": "InvalidParameter"}
    assert shown == [
        (f"row 2: {ID}", "2", []),
        (f"row 3: {ID}", "3", [("failure", failed, f"{where}3: {message} (request r-1)")]),
        (f"row 4: {ID}", "4",
         [("error", {"message": "unknown", "type": "unknown"}, f"{where}4: unknown")]),
        (f"row 5: {ID}", "5",
         [("skipped", {"message": "duplicate of row 4"}, f"{where}5: duplicate of row 4")]),
        ("row 6: no id", "6",
         [("failure", {"message": "rejected", "type": "id_missing"}, f"{where}6: rejected")]),
    ]  # fmt: skip


def test_the_cases_of_a_run_have_the_sheet_as_their_file(tmp_path: Path) -> None:
    """The sheet is known from the audit."""
    sheet = write_sheet(tmp_path / "it.csv", 2)
    totals = run(sheet, Options(sandbox=True))
    write_junit(tmp_path / "x.xml", Path(totals.report))
    cases = ET.parse(tmp_path / "x.xml").getroot().findall(".//testcase")  # noqa: S314
    assert [(case.get("file"), case.get("line"), len(case)) for case in cases] == [
        (str(sheet), "2", 0),
        (str(sheet), "3", 0),
    ]


@pytest.mark.parametrize(
    "write",
    [
        lambda path, report: write_sarif(path, "x.csv", (), ()) or report,
        write_junit,
    ],
)
def test_a_file_of_another_program_is_not_replaced(
    tmp_path: Path, write: Callable[[Path, Path], object]
) -> None:
    """An own file is replaced; another one, a folder and a device are refused."""
    report = _report(tmp_path / "x.report.csv")
    path = tmp_path / "x.out"
    write(path, report)
    write(path, report)
    path.write_text("mine\n")
    with pytest.raises(InputError, match="already exists and was not made by bulk-reset"):
        write(path, report)
    assert path.read_text() == "mine\n"
    for other in (tmp_path, Path("/dev/null")):
        with pytest.raises(InputError, match="not a regular file"):
            write(other, report)
