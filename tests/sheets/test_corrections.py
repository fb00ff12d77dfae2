"""Corrections replace cells while a sheet is read; the sheet itself stays as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulk_reset import InputError, Options, check, plan, run
from bulk_reset.sheets.corrections import Corrections

ID = "69da451e{:016x}"


def sheet(tmp_path: Path) -> Path:
    path = tmp_path / "x.csv"
    lines = [f"{ID.format(1)},x,P1", f"{ID.format(2)},Disk full, P1 ", f"{ID.format(3)},Ok title,"]
    path.write_text("\n".join(["id,title,severity", *lines, ""]), encoding="utf-8")
    return path


def test_cells_and_values_are_replaced_and_the_sheet_is_not(tmp_path: Path) -> None:
    """A plan, a check and a run read the corrected sheet; a cell wins over its column."""
    path, file = sheet(tmp_path), tmp_path / "corrections.json"
    before = path.read_bytes()
    cells = {2: {1: "Renamed 1"}, 4: {2: "Info"}}
    Corrections(cells, {2: {"P1": "Critical"}}).write(file, path)
    assert len(check(path).row_errors) == 3
    options = Options(sandbox_state=tmp_path / "s.json", corrections=file)
    assert check(path, options).row_errors == ()
    assert plan(path, options).counts == {"update": 3}
    assert run(path, options).counts["updated"] == 3
    incidents = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert [
        (incidents[ID.format(n)]["title"], incidents[ID.format(n)]["incident_severity"])
        for n in (1, 2, 3)
    ] == [("Renamed 1", "Critical"), ("Disk full", "Critical"), ("Ok title", "Info")]
    assert path.read_bytes() == before
    assert Corrections.read(file, path) == Corrections(cells, {2: {"P1": "Critical"}})


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b'{"format":"bulk-reset corrections","version":2}', b"[" * 100_000],
)
def test_a_file_that_has_no_corrections_is_refused(tmp_path: Path, content: bytes) -> None:
    """One line names the option; there is no traceback."""
    file = tmp_path / "corrections.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"^corrections=.*: not a file of corrections\."):
        check(sheet(tmp_path), Options(corrections=file))


def test_corrections_of_another_sheet_are_refused(tmp_path: Path) -> None:
    """A sheet that was edited since has other rows."""
    path, file = sheet(tmp_path), tmp_path / "corrections.json"
    Corrections({2: {1: "Renamed 1"}}).write(file, path)
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="made for another sheet"):
        check(path, Options(corrections=file))
    with pytest.raises(InputError, match="cannot be read"):
        check(path, Options(corrections=tmp_path / "none.json"))


@pytest.mark.parametrize("corrections", [({2: {1: "\x1b[2J"}}, {}), ({}, {1: {"x": "\x1b[2J"}})])
def test_a_control_character_of_a_correction_is_an_error(
    tmp_path: Path, corrections: tuple[dict[int, dict[int, str]], dict[int, dict[str, str]]]
) -> None:
    """The corrected cell is checked as one of the sheet, although the sheet has none."""
    path, file = sheet(tmp_path), tmp_path / "corrections.json"
    Corrections(*corrections).write(file, path)
    found = check(path, Options(corrections=file)).row_errors
    problem = "contains the control character U+001B at position 1"
    assert (found[0].row_number, found[0].problem) == (2, problem)
