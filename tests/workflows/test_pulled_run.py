"""A pulled sheet, edited as people do, then run: what was typed is sent, or the row refused."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from bulk_reset import (
    Callbacks,
    InvalidRowsError,
    Options,
    SheetError,
    answer,
    check,
    plan,
    pull,
    read_report,
    run,
    summarise,
    write_page,
)
from bulk_reset.core.plan import meaning_of
from bulk_reset.sheets.columns import CHECK_COLUMN, GUARDED_COLUMN

ID = "69da451e{:016x}"
Rows = list[list[str]]
Edit = Callable[[Rows], object]


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(sandbox_state=tmp_path / "state.json", per_second=5000, per_minute=300_000)


def seeded(path: Path, options: Options, **more: object) -> Path:
    """Pull 10 incidents into a sheet."""
    ids = [ID.format(number) for number in range(1, 11)]
    pull(path, ids, options, **more)  # type: ignore[arg-type]
    return path


def edit(path: Path, change: Edit) -> None:
    """Change the cells of a sheet, the header first; a workbook's hidden worksheet is not seen."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
        change(rows)
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            csv.writer(file).writerows(rows)
        return
    book = openpyxl.load_workbook(path)
    page = book["Incidents"]
    rows = [[cell.value or "" for cell in row] for row in page.iter_rows()]
    change(rows)
    page.delete_rows(1, page.max_row)
    for row in rows:
        page.append([cell or None for cell in row])
    for row in page.iter_rows():
        for cell in row:
            if cell.data_type == "f":
                cell.data_type = "s"
    book.save(path)


def set_cell(row: int, name: str, text: str) -> Edit:
    """Return an edit of one cell; ``row`` as Excel counts."""

    def change(rows: Rows) -> None:
        rows[row - 1][rows[0].index(name)] = text

    return change


def replace_all(old: str, new: str) -> Edit:
    """Return what a spreadsheet's "replace all" does, in every column that it shows or hides."""

    def change(rows: Rows) -> None:
        rows[:] = [[cell.replace(old, new) for cell in row] for row in rows]

    return change


def in_api(options: Options) -> dict[str, dict[str, Any]]:
    """Return the incidents of the sandbox by id."""
    assert options.sandbox_state is not None
    found: dict[str, dict[str, Any]] = json.loads(options.sandbox_state.read_text(encoding="utf-8"))
    return found


def values_of(options: Options, name: str) -> list[Any]:
    """Return a field of the 10 incidents."""
    incidents = in_api(options)
    return [incidents[ID.format(number)][name] for number in range(1, 11)]


def set_in_api(options: Options, number: int, **values: str) -> None:
    """Set fields as another user does."""
    sheet = options.sandbox_state.with_name(f"other{number}.csv")  # type: ignore[union-attr]
    with sheet.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", *values], [ID.format(number), *values.values()]])
    assert run(sheet, options).exit_code == 0


def is_own(name: str) -> bool:
    return name.startswith("bulk-reset ")


# --- Whatever people do to the sheet ---------------------------------------------------------


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv"])
def test_replace_all_is_sent_or_refused(name: str, tmp_path: Path, options: Options) -> None:
    """Never "not edited": a workbook's pulled values are out of reach, a CSV's are checked."""
    path = seeded(tmp_path / name, options)
    set_in_api(options, 1, impact="None")
    before = values_of(options, "title")
    edit(path, replace_all("CPU", "Central"))
    wanted = [title.replace("CPU", "Central") for title in before]
    edited = sum(old != new for old, new in zip(before, wanted, strict=True))
    if name == "x.csv":
        with pytest.raises(InvalidRowsError) as caught:
            run(path, options)
        kinds = [error.kind for error in caught.value.row_errors]
        assert (kinds, values_of(options, "title")) == (["pulled_values"] * edited, before)
    else:
        totals = run(path, options)
        assert (totals.not_edited, values_of(options, "title")) == (10 - edited, wanted)


def sort_visible(rows: Rows) -> None:
    """Sort by title, from Z to A, only the columns that the user sees."""
    width = next((at for at, name in enumerate(rows[0]) if is_own(name)), len(rows[0]))
    moved = sorted((row[:width] for row in rows[1:]), key=lambda row: row[1], reverse=True)
    rows[1:] = [cells + row[width:] for cells, row in zip(moved, rows[1:], strict=True)]


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv"])
def test_sorting_only_the_visible_columns_loses_no_edit(
    name: str, tmp_path: Path, options: Options
) -> None:
    """An edit belongs to its incident: it is sent to it, or its row is refused."""
    path = seeded(tmp_path / name, options)
    for row in range(2, 12):
        edit(path, set_cell(row, "Title", f"Edited {row:02}"))
    edit(path, sort_visible)
    if name == "x.csv":
        with pytest.raises(InvalidRowsError) as caught:
            run(path, options)
        [error, *_] = caught.value.row_errors
        assert (len(caught.value.row_errors), error.row_number, error.column) == (
            10,
            2,
            "Incident ID",
        )
        assert (error.problem, error.fix) == (
            "the pulled values of this row were changed or moved",
            "Pull again, or undo what changed them (replace all, or sorting some of the columns)",
        )
    else:
        assert run(path, options).counts["updated"] == 10
        assert values_of(options, "title") == [f"Edited {row:02}" for row in range(2, 12)]


@pytest.mark.parametrize(
    "gone",
    ["bulk-reset ", "bulk-reset was ", "bulk-reset check", "Number"],
)
def test_a_sheet_without_its_pulled_values_is_refused(
    gone: str, tmp_path: Path, options: Options
) -> None:
    """Without them, every cell would be sent, and others' work overwritten."""
    path = seeded(tmp_path / "x.csv", options)

    def remove(rows: Rows) -> None:
        kept = [
            at
            for at, name in enumerate(rows[0])
            if not name.startswith(gone) and not (gone == "Number" and is_own(name))
        ]
        rows[:] = [[row[at] for at in kept] for row in rows]

    edit(path, remove)
    with pytest.raises(SheetError, match=r"pulled values.* pull again\."):
        run(path, options)


def test_the_visible_worksheet_alone_is_refused_and_can_be_sent_on_purpose(
    tmp_path: Path, options: Options
) -> None:
    """As saved as CSV from a spreadsheet program."""
    book = openpyxl.load_workbook(seeded(tmp_path / "x.xlsx", options))
    rows = [[cell.value or "" for cell in row] for row in book["Incidents"].iter_rows()]
    path = tmp_path / "saved.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    [started] = [name for name in rows[0] if name.startswith("Started (")]
    with pytest.raises(SheetError) as caught:
        run(path, options)
    assert str(caught.value) == (
        f"{path}: the sheet was pulled, but its pulled values are missing. Use the file as it was "
        f"pulled, or pull again. To send every cell, remove the column {started!r}."
    )
    edit(path, lambda rows: [row.pop(rows[0].index(started)) for row in reversed(rows)])
    assert run(path, options).counts["unchanged"] == 10


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv"])
def test_a_row_that_was_not_pulled_is_refused(name: str, tmp_path: Path, options: Options) -> None:
    """Its values when it was edited are unknown."""
    path = seeded(tmp_path / name, options)
    edit(path, lambda rows: rows.append([ID.format(99), "By hand", *[""] * (len(rows[0]) - 2)]))
    with pytest.raises(InvalidRowsError) as caught:
        run(path, options)
    [error] = caught.value.row_errors
    assert (error.row_number, error.problem, error.fix) == (
        12,
        "the pulled values of this row are missing",
        "Pull again, or move the row to a sheet of its own",
    )


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv"])
def test_an_id_in_another_form_keeps_its_pulled_values(
    name: str, tmp_path: Path, options: Options
) -> None:
    """In upper case, with spaces, as a link."""
    path = seeded(tmp_path / name, options)
    forms = [ID.format(1).upper(), f" {ID.format(2)} ", f"https://x.invalid/{ID.format(3)}"]
    for row, text in enumerate(forms, 2):
        edit(path, set_cell(row, "Incident ID", text))
    totals = run(path, options)
    assert (totals.not_edited, totals.row_errors) == (10, ())


# --- What is sent ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv"])
def test_a_cell_set_back_to_its_pulled_value_after_a_run_is_sent(
    name: str, tmp_path: Path, options: Options
) -> None:
    """The run has written another value since."""
    path = seeded(tmp_path / name, options)
    before = values_of(options, "title")
    edit(path, set_cell(2, "Title", "Wrong"))
    edit(path, set_cell(3, "Title", "Right"))
    assert run(path, options).counts["updated"] == 2
    edit(path, set_cell(2, "Title", before[0]))
    planned: list[Any] = []
    plan(path, options, add=planned.append)
    assert [(row.row_number, row.verdict) for row in planned if row.fields] == [(2, "update")]
    totals = run(path, options)
    assert (totals.counts["updated"], totals.counts["conflict"]) == (2, 0)
    assert values_of(options, "title")[:3] == [before[0], "Right", before[2]]


def test_a_sheet_pulled_again_after_a_run_is_not_edited(tmp_path: Path, options: Options) -> None:
    """The values of the last run are older than those of the pull."""
    path = seeded(tmp_path / "x.xlsx", options)
    edit(path, set_cell(2, "Title", "Ours"))
    run(path, options)
    set_in_api(options, 1, title="Theirs")
    seeded(path, options, overwrite=True)
    edit(path, set_cell(3, "Title", "Right"))
    planned = plan(path, options)
    assert planned.counts == {"update": 1, "unchanged": 1, "done before": 8}
    assert run(path, options).not_edited == 9


TYPED = [
    "'-force' was used",
    "'=none",
    "Steps:\n'-force' flag\n'+1",
    "a;'-b;'=c",
    "''=x\n''-y",
    "'\n'@home",
    "' = quoted",
    "-a\n=b",
]


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv"])
def test_what_a_person_types_arrives_as_typed(name: str, tmp_path: Path, options: Options) -> None:
    """A quote at the start of a line is a guard only where a guard was written."""
    path = seeded(tmp_path / name, options)
    for row, text in enumerate(TYPED, 2):
        edit(path, set_cell(row, "Title", text))
    assert run(path, options).counts["updated"] == len(TYPED)
    assert values_of(options, "title")[: len(TYPED)] == TYPED


GUARDED = "=1+1\n-a\n'=quoted\nend"


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("end", "the end", GUARDED.replace("end", "the end")),
        ("-a", "-abc", GUARDED.replace("-a", "-abc")),
        ("end", "'-typed\nend", GUARDED.replace("end", "'-typed\nend")),
        ("'=1+1\n", "", GUARDED.removeprefix("=1+1\n")),
        ("'=1+1", "=1+1", GUARDED + "\n"),
    ],
)
def test_guards_are_removed_from_a_text_that_was_edited(
    old: str, new: str, wanted: str, tmp_path: Path, options: Options
) -> None:
    """Also where other lines were added, edited or removed."""
    path = seeded(tmp_path / "first.xlsx", options)
    edit(path, set_cell(2, "Description", GUARDED))
    run(path, options)
    path = seeded(tmp_path / "x.csv", options)

    def change(rows: Rows) -> None:
        at = rows[0].index("Description")
        assert rows[1][at] == "'=1+1\n'-a\n''=quoted\nend"
        rows[1][at] = rows[1][at].replace(old, new) + ("\n" if wanted.endswith("\n") else "")

    edit(path, change)
    run(path, options)
    assert values_of(options, "description")[0] == wanted


def test_what_a_rule_sets_arrives_without_its_guard(tmp_path: Path, options: Options) -> None:
    """A rule can set a text that a CSV guards, where the pulled text had no guard."""
    rules = ["title==Up: {{ title }}", "comment=-{{ num }}"]
    path = seeded(tmp_path / "x.csv", options, rules=rules)
    before = values_of(options, "title") if options.sandbox_state.exists() else []  # type: ignore[union-attr]
    edit(path, set_cell(3, "comment", "'-typed'"))
    assert run(path, options).counts["updated"] == 10
    assert values_of(options, "title") == [f"=Up: {title}" for title in before]


def test_a_field_of_only_spaces_that_was_edited_is_no_conflict(
    tmp_path: Path, options: Options
) -> None:
    """Some programs write white space alone as an empty cell, as this one does here."""
    path = seeded(tmp_path / "x.xlsx", options)
    incidents = in_api(options)
    for number in (1, 2):
        incidents[ID.format(number)]["impact"] = "  \n "
    options.sandbox_state.write_text(json.dumps(incidents))  # type: ignore[union-attr]
    seeded(path, options, overwrite=True)
    edit(path, set_cell(2, "Impact", "All users"))
    totals = run(path, options)
    assert (totals.counts["updated"], totals.counts["conflict"], totals.not_edited) == (1, 0, 9)


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv"])
def test_a_list_that_is_edited_as_a_list_stays_one(
    name: str, tmp_path: Path, options: Options
) -> None:
    """In a column that was pulled without ``:json``; a text for a list is refused."""
    path = seeded(tmp_path / name, options, custom=["field:tags"])
    edit(path, set_cell(2, "field:tags", '["seeded", "b"]'))
    assert run(path, options).counts["updated"] == 1
    assert in_api(options)[ID.format(1)]["fields"]["tags"] == ["seeded", "b"]
    edit(path, set_cell(3, "field:tags", "seeded, b"))
    with pytest.raises(InvalidRowsError) as caught:
        run(path, options)
    [error] = caught.value.row_errors
    assert (error.row_number, error.problem, error.fix) == (
        3,
        "the pulled value is a list, the new one is not",
        'Enter a list as JSON, for example ["a", "b"]',
    )


# --- Not edited, or unchanged ----------------------------------------------------------------


def test_rows_not_edited_are_told_from_rows_with_the_value_already(
    tmp_path: Path, options: Options
) -> None:
    """In the counts, the plan and the report; both have the status ``unchanged``."""
    path = seeded(tmp_path / "x.xlsx", options)
    edit(path, set_cell(2, "Title", "Same"))
    edit(path, set_cell(3, "Title", "New"))
    set_in_api(options, 1, title="Same")
    planned = plan(path, options)
    assert (planned.not_edited, planned.counts) == (8, {"update": 1, "unchanged": 9})
    assert meaning_of(planned, "unchanged") == (
        "8 not edited since the pull, 1 already with these values; will not be sent"
    )
    assert check(path).not_edited == 8
    totals = run(path, options)
    assert (totals.counts["unchanged"], totals.not_edited) == (9, 8)
    messages = Counter(
        outcome.error_message
        for outcome in read_report(totals.report)
        if outcome.status == "unchanged"
    )
    assert messages == {
        "not edited since the pull": 8,
        "the incident already has these values": 1,
    }
    assert summarise(totals.report).not_edited == 8
    page = Path(write_page(totals.report)).read_text(encoding="utf-8")
    assert "8 not edited since the pull, 1 already with these values; not sent" in page


# --- Files that are made of a pulled sheet ---------------------------------------------------


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv"])
def test_failed_rows_keep_the_pulled_values_and_what_is_typed(
    name: str, tmp_path: Path, options: Options
) -> None:
    """Fixed and run, the file sends only what was edited, and detects conflicts."""
    path = seeded(tmp_path / name, options)
    edit(path, set_cell(2, "Title", "x" * 600))
    edit(path, set_cell(3, "Title", "y" * 600))
    edit(path, set_cell(3, "Impact", "-typed\n'=x"))
    totals = run(path, replace(options, skip_invalid=True))
    set_in_api(options, 2, title="Theirs")
    failed = Path(totals.failed)
    edit(failed, set_cell(2, "Title", "'-fixed"))
    edit(failed, set_cell(3, "Title", "Fixed"))
    again = run(failed, options)
    assert (again.counts["updated"], again.counts["conflict"]) == (1, 1)
    assert values_of(options, "title")[:2] == ["'-fixed", "Theirs"]


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv"])
def test_an_answer_workbook_of_a_pulled_sheet_is_one_too(
    name: str, tmp_path: Path, options: Options
) -> None:
    """Edited and run, it sends what was edited, as it was typed."""
    path = seeded(tmp_path / name, options)
    edit(path, set_cell(2, "Title", "'=typed"))
    run(path, options)
    answered = answer(tmp_path / "x.sandbox.report.csv", path, options)
    edit(answered, set_cell(4, "Title", "'-again\n'+1"))
    totals = run(answered, options)
    assert (totals.not_edited, totals.counts["conflict"], totals.row_errors) == (8, 0, ())
    titles = values_of(options, "title")
    assert (titles[0], titles[2]) == ("'=typed", "'-again\n'+1")


def test_previous_values_run_as_a_sheet_send_what_is_typed(
    tmp_path: Path, options: Options
) -> None:
    """Guards are removed, quotes that were typed are not."""
    path = seeded(tmp_path / "x.xlsx", options)
    edit(path, set_cell(2, "Title", "=pulled\n-a"))
    run(path, options)
    again = seeded(tmp_path / "y.xlsx", options)
    edit(again, set_cell(2, "Title", "Other"))
    edit(again, set_cell(3, "Title", "Other"))
    before = Path(run(again, options).before)
    edit(before, set_cell(3, "title", "Said:\n'-typed'"))
    run(before, replace(options, report=tmp_path / "z.report.csv"))
    assert values_of(options, "title")[:2] == ["=pulled\n-a", "Said:\n'-typed'"]


def test_a_sheet_of_an_older_version_is_read_with_a_notice(
    tmp_path: Path, options: Options
) -> None:
    """It has pulled values without checks, and guards everywhere."""
    path = seeded(tmp_path / "x.csv", options)
    edit(path, set_cell(2, "Title", "'=edited"))

    def make_older(rows: Rows) -> None:
        kept = [at for at, name in enumerate(rows[0]) if name not in (CHECK_COLUMN, GUARDED_COLUMN)]
        rows[:] = [[row[at] for at in kept] for row in rows]

    edit(path, make_older)
    notices: list[str] = []
    totals = run(path, options, Callbacks(on_notice=notices.append))
    assert (totals.counts["updated"], totals.not_edited) == (1, 9)
    assert values_of(options, "title")[0] == "=edited"
    assert notices[1] == (
        f"{path}: pulled by an older version, so changes of its pulled values cannot be detected; "
        "pull again to be safe"
    )


def test_a_users_column_with_our_prefix_is_the_users(tmp_path: Path, options: Options) -> None:
    """No quotes are removed because of it, and failed rows keep it."""
    path = tmp_path / "own.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [
                ["id", "title", "bulk-reset notes"],
                [ID.format(1), "'=typed", "mine"],
                [ID.format(2), "x" * 600, "'-mine"],
            ]
        )
    totals = run(path, replace(options, skip_invalid=True))
    assert values_of(options, "title")[0] == "'=typed"
    with Path(totals.failed).open(encoding="utf-8-sig", newline="") as file:
        [line] = csv.DictReader(file)
    assert line["bulk-reset notes"] == "''-mine"  # guarded, and unguarded when it is read


@pytest.mark.parametrize("name", ["x.csv", "x.xlsx"])
def test_edits_of_columns_that_are_never_sent_are_reported(
    name: str, tmp_path: Path, options: Options
) -> None:
    """Number, Progress and Channel cannot be set; the other edits of such a row are sent."""
    sheet = seeded(tmp_path / name, options)
    notices: list[str] = []
    callbacks = Callbacks(on_notice=notices.append)
    run(sheet, replace(options, dry_run=True), callbacks)
    text = "with edits in Number, Progress or Channel; these columns are never sent"
    assert [notice for notice in notices if text in notice] == []
    for change in (
        set_cell(3, "Progress", "Closed"),
        set_cell(3, "Title", "Disk replaced"),
        set_cell(5, "Number", "7"),
    ):
        edit(sheet, change)
    totals = run(sheet, options, callbacks)
    assert f"{sheet}: 2 rows {text}" in notices
    assert (totals.counts["updated"], totals.not_edited) == (1, 9)


def test_a_cleared_record_of_guards_refuses_the_row(tmp_path: Path, options: Options) -> None:
    """Else the quote that guards a formula would be sent as a part of the text."""
    set_in_api(options, 1, title="=cmd")
    sheet = seeded(tmp_path / "x.csv", options)
    edit(sheet, set_cell(2, GUARDED_COLUMN, ""))
    with pytest.raises(InvalidRowsError) as caught:
        run(sheet, options)
    assert [(one.row_number, one.kind) for one in caught.value.row_errors] == [(2, "pulled_values")]
    assert values_of(options, "title")[0] == "=cmd"
