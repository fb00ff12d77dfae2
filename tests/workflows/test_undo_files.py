"""Undo sheets, made of files alone: rows, their order, and what cannot be restored."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import read_csv

from bulk_reset.core.errors import InputError
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.records.previous_values import PreviousValues, PreviousValuesFile
from bulk_reset.records.report_file import Report
from bulk_reset.workflows.undo_sheet import make_undo_sheet

OURS, THEIRS = "a" * 24, "b" * 24


def written(folder: Path, *rows: tuple[str, str | None, str, Status]) -> Path:
    """Write a report and previous values: incident, title before, title written, outcome."""
    path = folder / "x.report.csv"
    with Report(path) as report, PreviousValuesFile(folder / "x.before.csv") as before:
        for number, (incident_id, old, new, status) in enumerate(rows, 2):
            digest = f"{number:024x}"
            image = PreviousValues(
                number, digest, incident_id, "https://x.invalid", {"title": old}, {"title": new}
            )
            before.append([image])
            report.write(Outcome(number, incident_id, status, ("title",), digest, 1, 200))
        report.flush()
    return path


UPDATED, FAILED = Status.UPDATED, Status.FAILED


@pytest.mark.parametrize(
    ("rows", "back"),
    [
        # incident, what it is to be again, what it is to be now
        ([(OURS, "One", "Two", UPDATED)], [(OURS, "One", "Two")]),
        (
            [(OURS, "One", "Two", UPDATED), (OURS, "Two", "Three", UPDATED)],
            [(OURS, "One", "Three")],
        ),
        # Another user wrote between the two: the second row found that value.
        (
            [(OURS, "One", "Two", UPDATED), (OURS, "Theirs", "Three", UPDATED)],
            [(OURS, "Theirs", "Three")],
        ),
        # What was refused leads further back, and is nothing to take back itself.
        (
            [(OURS, "One", "Two", FAILED), (OURS, "Two", "Three", UPDATED)],
            [(OURS, "One", "Three")],
        ),
        (
            [(OURS, "One", "Two", UPDATED), (OURS, "Two", "Three", FAILED)],
            [(OURS, "One", "Two")],
        ),
        ([(OURS, "One", "Two", FAILED)], []),
        # The last that was written comes first.
        (
            [(OURS, "One", "Two", UPDATED), (THEIRS, "Four", "Five", UPDATED)],
            [(THEIRS, "Four", "Five"), (OURS, "One", "Two")],
        ),
        (
            [
                (OURS, "One", "Two", UPDATED),
                (THEIRS, "Four", "Five", UPDATED),
                (OURS, "Two", "Three", UPDATED),
            ],
            [(OURS, "One", "Three"), (THEIRS, "Four", "Five")],
        ),
    ],
)
def test_previous_values_are_followed_from_the_last_to_the_first(
    rows: list[tuple[str, str, str, Status]], back: list[tuple[str, str, str]], tmp_path: Path
) -> None:
    """One row an incident: the value before the run's first, where the run's is still current."""
    undo_sheet = make_undo_sheet(written(tmp_path, *rows))
    found = read_csv(undo_sheet.sheet)
    assert [
        (line["incident_id"], line["title"], line["bulk-reset was title"]) for line in found
    ] == back
    assert (undo_sheet.rows, undo_sheet.values, undo_sheet.lost, undo_sheet.lost_file) == (
        len(back),
        len(back),
        (),
        "",
    )


def test_values_that_cannot_be_restored_are_listed_and_not_in_the_sheet(tmp_path: Path) -> None:
    """Each value is restored or listed; an outdated list is removed."""
    report = written(
        tmp_path,
        (OURS, "", "Two", UPDATED),
        (THEIRS, "One", "Two", UPDATED),
    )
    undo_sheet = make_undo_sheet(report)
    assert (undo_sheet.rows, undo_sheet.values, len(undo_sheet.lost)) == (1, 2, 1)
    [line] = read_csv(tmp_path / "x.not-restored.csv")
    assert (line["incident_id"], line["field"], line["it was"], line["it is"]) == (
        OURS,
        "title",
        "",
        "Two",
    )
    (tmp_path / "x.before.csv").unlink()
    report.unlink()
    again = make_undo_sheet(written(tmp_path, (OURS, "One", "Two", UPDATED)))
    assert (again.lost_file, (tmp_path / "x.not-restored.csv").exists()) == ("", False)


def test_a_sheet_that_was_not_made_by_an_undo_is_not_replaced(tmp_path: Path) -> None:
    """It has the name of an undo sheet, but other columns."""
    report = written(tmp_path, (OURS, "One", "Two", UPDATED))
    (tmp_path / "x.undo.csv").write_text("my own notes\n")
    with pytest.raises(InputError, match="was not made by an undo"):
        make_undo_sheet(report)
    assert (tmp_path / "x.undo.csv").read_text() == "my own notes\n"
    (tmp_path / "x.undo.csv").unlink()
    (tmp_path / "x.not-restored.csv").mkdir()
    assert make_undo_sheet(report).rows == make_undo_sheet(report).rows == 1
