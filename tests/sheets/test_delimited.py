"""Delimited text whose cells are uncertain: refused by row with what is wrong, never sent.

The other rows of such a file have the values that the sheet shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from sheet_zoo import A, B, inspect_sheet

from bulk_reset.core.errors import SheetError
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.sheet_check import check_rows

C: Final = "69da451ef77b1b51f40e8aaa"
D: Final = "69da451ef77b1b51f40e8bbb"
LAST: Final = f"{D},Last one\n"
TWICE: Final = "Put the cell in double quotes, and write each double quote inside of it twice"
CLOSE: Final = (
    "Close the double quote at the end of its cell, or write it twice if it is part of the text"
)
TAKES_IN: Final = (
    "a double quote is not closed, or not paired, so the cell takes in the next {} of the file"
)
ROWS: Final = (
    "Close the double quote at the end of its cell. If the lines are part of the text, save the "
    "sheet as .xlsx"
)
QUOTE: Final = "Put a cell that contains the delimiter in double quotes"
LEFT_OVER: Final = f"{QUOTE}, or remove the cells that are left over"
MISSING: Final = "Add the missing cells, or put a cell that contains line breaks in double quotes"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "incidents.csv"


def errors_of(path: Path, **options: str) -> list[tuple[int, str, str, str, str, str]]:
    """Return the errors of a sheet: row, column, kind, value, problem, fix."""
    with open_sheet(path, **options) as sheet:
        return [
            (one.row_number, one.column, one.kind, one.value, one.problem, one.fix)
            for one in check_rows(sheet).row_errors
        ]


def titles_of(path: Path, **options: str) -> dict[int, str]:
    """Return the titles that the server would receive, by row."""
    return {
        number: values["title"]
        for number, (_, values) in inspect_sheet(path, **options).rows.items()
    }


# --- Quotes ----------------------------------------------------------------------------------

QUOTES: Final[dict[str, tuple[str, str, str, str, str]]] = {
    # name: the lines below the header, column, value, problem, fix
    "two cells not closed": (
        f'{A},"Disk full\n{B},x y z\n{C},"Queue full\n',
        "title",
        f"Disk full {B},x y z {C},Queue full"[:59] + "…",
        TAKES_IN.format("2 lines"),
        CLOSE,
    ),
    "opened in one row, closed in another": (
        f'{A},"Disk full\n{B},x y z\n{C},Queue full"\n',
        "title",
        f"Disk full {B},x y z {C},Queue full"[:59] + "…",
        "the cell takes in 2 lines of the file that look like rows",
        ROWS,
    ),
    "opened in one row, closed in the next": (
        f'{A},"Disk full\n{B},Queue full"\n',
        "title",
        f"Disk full {B},Queue full",
        "the cell takes in 1 line of the file that look like rows",
        ROWS,
    ),
    "a row with a link is taken in": (
        f'{A},"Disk full\r\nhttps://x.example/{B},Queue full"\r\n',
        "title",
        f"Disk full https://x.example/{B},Queue full"[:59] + "…",
        "the cell takes in 1 line of the file that look like rows",
        ROWS,
    ),
    "all cells in quotes, one not closed": (
        f'"{A}","Disk full\n"{B}","x y z"\n',
        "title",
        f'Disk full {B}"',
        TAKES_IN.format("1 line"),
        CLOSE,
    ),
    "text after a quote": (
        f'{A},"Disk" full\n',
        *("title", "Disk full", "text follows the closing double quote", TWICE),
    ),
    "space after a quote": (
        f'{A},"Disk full" \n',
        *("title", "Disk full", "text follows the closing double quote", TWICE),
    ),
    "quotes doubled once too often": (
        f'{A},""Disk full""\n',
        *("title", 'Disk full""', "text follows the closing double quote", TWICE),
    ),
    "backslashes in quotes": (
        f'{A},"He said \\"no\\""\n',
        *("title", 'He said \\no\\""'),
        "a backslash before a double quote does not make it part of the text",
        'Write the double quote twice ("") instead',
    ),
    "backslashes without quotes": (
        f'{A},He said \\"no\\"\n',
        *("title", 'He said \\"no\\"', "a backslash before a double quote is part of the text"),
        f"{TWICE}, without the backslash",
    ),
    "closed, not opened": (
        f'{A},Disk full"\n',
        *("title", 'Disk full"', "a double quote is not paired", TWICE),
    ),
    "one in the middle": (
        f'{A},a 5" disk\n',
        *("title", 'a 5" disk', "a double quote is not paired", TWICE),
    ),
    "space before a quote": (
        f'{A}, "Disk full"\n',
        *("title", '"Disk full"', "spaces before a double quote make it part of the text"),
        "Remove the spaces before the double quote",
    ),
    "id in quotes with text": (
        f'"{A}"x,Disk full\n',
        *("id", f"{A}x", "text follows the closing double quote", TWICE),
    ),
}


@pytest.mark.parametrize(
    ("lines", "column", "value", "problem", "fix"), QUOTES.values(), ids=QUOTES
)
def test_row_with_a_misplaced_quote_is_refused(
    path: Path, lines: str, column: str, value: str, problem: str, fix: str
) -> None:
    """Neither the row nor what it takes in is sent; the next row is."""
    path.write_text(f"id,title\n{lines}{LAST}", newline="")

    assert errors_of(path) == [(2, column, "quotes", value, problem, fix)]
    assert titles_of(path) == {3: "Last one"}


def test_row_taken_in_is_found_in_any_column(path: Path) -> None:
    """The ID may be in another column, and under a name that only a mapping explains."""
    path.write_text(f'what,ref\n"Disk full,{A}\nQueue full",{B}\nLast one,{D}\n')
    options = {"mapping": {"id": "ref", "title": "what"}}

    assert titles_of(path, **options) == {3: "Last one"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('"on db, and web\nthen, ""all""\r\nof them"', 'on db, and web\nthen, "all"\r\nof them'),
        (f'"see also:\n{B}\n{C}"', f"see also:\n{B}\n{C}"),
        (f'"see also:\n{B}, {C}"', f"see also:\n{B}, {C}"),
        (f'"see also:\nA, {B}"', f"see also:\nA, {B}"),
        (f'"{B}, down\nand up, again"', f"{B}, down\nand up, again"),
        ('"a ""b"""', 'a "b"'),
        ('the "b" disk', 'the "b" disk'),
        ('"path C:\\"', "path C:\\"),
        ('"[""a \\"" b""]"', '["a \\" b"]'),
    ],
)
def test_cell_that_is_written_as_it_should_be_is_read(path: Path, written: str, text: str) -> None:
    """Line breaks, delimiters, quotes, backslashes and IDs in a text are no errors."""
    path.write_text(f"id,title\n{A},{written}\n{LAST}", newline="")

    assert (errors_of(path), titles_of(path)) == ([], {2: text, 3: "Last one"})


def test_json_in_a_tab_separated_cell_may_contain_backslashes(path: Path) -> None:
    """JSON writes a quote so."""
    path.write_text(f'id\ttitle\tfield:x:json\n{A}\tDisk full\t["a \\"b\\""]\n')

    assert errors_of(path) == []


def test_header_with_a_misplaced_quote_is_an_error(path: Path) -> None:
    """No row is sent under names that are not certain."""
    path.write_text(f'id,title,"Team" of\n{LAST}')

    with pytest.raises(SheetError) as caught:
        errors_of(path)
    assert str(caught.value) == (
        f"{path}: row 1, the header: text follows the closing double quote. {TWICE}."
    )


# --- Numbers of cells ------------------------------------------------------------------------

COUNTS: Final[dict[str, tuple[str, list[tuple[int, str, str, str, str, str]], dict[int, str]]]] = {
    # name: the text, errors, titles by row
    "delimiter in a cell": (
        f"id,title\n{A},Disk full, on db\n{LAST}",
        [
            (
                *(2, "column 3", "cell_count", "on db"),
                "the row has 3 cells, the header has 2; left over: 'on db'",
                LEFT_OVER,
            )
        ],
        {3: "Last one"},
    ),
    "delimiter in a cell, last cell empty": (
        f"id,title,impact\n{A},Disk full, on db,\n{D},Last one,none yet\n",
        [(2, "column 4", "cell_count", "", "the row has 4 cells, the header has 3", LEFT_OVER)],
        {3: "Last one"},
    ),
    "line break in a cell": (
        f"id,title,impact\n{A},first\nsecond,none yet\n{D},Last one,none yet\n",
        [
            (row, "impact", "cell_count", "", "the row has 2 cells, the header has 3", MISSING)
            for row in (2, 3)
        ],
        {4: "Last one"},
    ),
    "two delimiters at the end": (
        f"id,title\n{A},Disk full,,\n{LAST}",
        [(2, "column 3", "cell_count", "", "the row has 4 cells, the header has 2", LEFT_OVER)],
        {3: "Last one"},
    ),
    "a delimiter at the end of one row": (
        f"id,title\n{A},Disk full,\n{LAST}",
        [(2, "column 3", "cell_count", "", "the row has 3 cells, the header has 2", LEFT_OVER)],
        {3: "Last one"},
    ),
    "a delimiter at the end of every row": (
        f"id,title\n{A},Disk full,\n{D},Last one,\n",
        *([], {2: "Disk full", 3: "Last one"}),
    ),
    "text in a column without a name": (
        f"id,title,,severity\n{A},Disk full, on db,Info\n{D},Last one,,Info\n",
        [
            (
                *(2, "column 3", "no_column_name", "on db"),
                "the header has no name for column 3, which contains text",
                f"{QUOTE}, name the column, or clear the cell",
            )
        ],
        {3: "Last one"},
    ),
    "text in a column with an invisible character as its name": (
        f"id,title,\u200b\n{A},Disk full, on db\n{LAST}",
        [
            (
                *(2, "\u200b", "no_column_name", "on db"),
                "the header has no name for column 3, which contains text",
                f"{QUOTE}, name the column, or clear the cell",
            )
        ],
        {3: "Last one"},
    ),
    "text in a column with the number that pandas gives it as its name": (
        f"id,title,Unnamed: 2\n{A},Disk full, on db\n{LAST}",
        [
            (
                *(2, "Unnamed: 2", "no_column_name", "on db"),
                "the header has no name for column 3, which contains text",
                f"{QUOTE}, name the column, or clear the cell",
            )
        ],
        {3: "Last one"},
    ),
    "text right of the header": (
        f"id,title,\n{A},Disk full, on db\n{LAST}",
        [
            (
                *(2, "column 3", "no_column_name", "on db"),
                "the header has no name for column 3, which contains text",
                f"{QUOTE}, name the column, or clear the cell",
            )
        ],
        {3: "Last one"},
    ),
    "text left of the header": (f",id,title\n0,{A},Disk full\n", [], {2: "Disk full"}),
    "delimiters alone": (
        f"id,title\n,,,,\n;\n\n  \n{LAST}".replace(";\n", ""),
        [],
        {5: "Last one"},
    ),
    "title wider than the table": (f"a,b,c,d,e,f\nid,title\n{LAST}", [], {3: "Last one"}),
}


@pytest.mark.parametrize(("text", "errors", "titles"), COUNTS.values(), ids=COUNTS)
def test_row_with_another_number_of_cells_than_the_header_is_refused(
    path: Path,
    text: str,
    errors: list[tuple[int, str, str, str, str, str]],
    titles: dict[int, str],
) -> None:
    """No cell is cut off or moved to another field without an error of its row."""
    path.write_text(text)

    assert (errors_of(path), titles_of(path)) == (errors, titles)


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 1000])
def test_faults_are_in_the_right_row_at_every_border_of_a_chunk(
    path: Path, chunk_rows: int
) -> None:
    """Row numbers count blank lines, and line breaks in cells not."""
    path.write_text(
        f'x\nid,title\n{A},"a\n\nb"\n\n{B},"c" d\n\ufeff{C},"e, f"\n{C},g,h\n\ufeffid,title\n{LAST}'
    )
    with open_sheet(path) as sheet:
        chunks = list(sheet.chunks(chunk_rows))
    faults = {number: fault.kind for chunk in chunks for number, fault in chunk.row_faults.items()}

    assert faults == {5: "quotes", 7: "cell_count", 8: "second_header"}
    assert [row for chunk in chunks for row in chunk.rows() if row[0] not in faults] == [
        (3, A, "a\n\nb"),
        (6, C, "e, f"),
        (9, D, "Last one"),
    ]


# --- Joined files ----------------------------------------------------------------------------


@pytest.mark.parametrize("bom", ["", "\ufeff", "\ufeff\ufeff"])
@pytest.mark.parametrize("second", ["id,title", '"id","title"', "ID, Title", "incident_id,标题"])
def test_header_of_a_joined_file_is_refused_as_a_row(path: Path, bom: str, second: str) -> None:
    """``cat a.csv b.csv``: the second header is named, and the rows below it are read."""
    path.write_text(f"\ufeffid,title\n{A},Disk full\n{bom}{second}\n{LAST}")

    assert [
        (row, column, kind, problem, fix) for row, column, kind, _, problem, fix in errors_of(path)
    ] == [(3, "id", "second_header", "the row repeats the header", "Remove the row")]
    assert titles_of(path) == {2: "Disk full", 4: "Last one"}


def test_bom_of_a_joined_file_is_not_part_of_a_text(path: Path) -> None:
    """A BOM at the start of a line is no text, and does not hide a quote."""
    path.write_text(f'title,id\nDisk full,{A}\n\ufeff"Queue, full",{B}\n\ufeffLast one,{D}\n')

    assert titles_of(path) == {2: "Disk full", 3: "Queue, full", 4: "Last one"}


@pytest.mark.parametrize("second", ["id,description", "title,id", "id,impact,title"])
def test_joined_file_with_other_columns_is_an_error(path: Path, second: str) -> None:
    """The rows below belong to other fields, so nothing is read as if it were certain."""
    path.write_text(f"id,title,impact\n{A},Disk full,\n{second}\n{D},a text,\n")

    with pytest.raises(SheetError) as caught:
        errors_of(path)
    assert str(caught.value) == (
        f"{path}: row 3 is a second header, with other columns. "
        "Save the rows from there on as a sheet of their own."
    )


# --- Files that may be incomplete ------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r"])
def test_last_line_without_an_end_is_a_notice(path: Path, encoding: str, end: str) -> None:
    """The file may have been cut off; only the user knows."""
    bom = "\ufeff" if encoding == "utf-16-be" else ""
    path.write_bytes(f"{bom}id,title\n{A},Disk full{end}".encode(encoding))

    notice = "; the last line has no line break, so check that the file is complete"
    assert (notice in inspect_sheet(path).notices) == (end == "")
    assert titles_of(path) == {2: "Disk full"}
