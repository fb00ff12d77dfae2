"""OpenDocument spreadsheets: the same strictness as for .xlsx, for each program.

The files of LibreOffice are compared with the workbooks that they were made of.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from ods_files import content, row, table, write_ods
from sheet_zoo import FILES, A, B, inspect_sheet
from workbooks import read

from bulk_reset.core.errors import InputError
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.profile import read_profile

HEADER = row("id", "title")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "故障.ods"


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught, open_sheet(path, **options) as sheet:
        list(sheet.chunks())
    return str(caught.value).removeprefix(f"{path}: ")


def cell(markup: str = "", **attributes: str) -> str:
    """Return a cell; ``value_type`` is the attribute ``o:value-type``."""
    own = "".join(f" o:{name.replace('_', '-')}='{one}'" for name, one in attributes.items())
    return f"<t:table-cell{own}>{markup}</t:table-cell>"


def shown(text: str, kind: str, value: str, name: str = "value") -> str:
    return (
        f"<t:table-cell o:value-type='{kind}' o:{name}='{value}'><x:p>{text}</x:p></t:table-cell>"
    )


# --- Files of LibreOffice --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lo-table", "lo-cells"])
def test_file_of_libreoffice_is_read_as_the_workbook_that_it_was_made_of(name: str) -> None:
    """Texts, dates, formats, failed formulas, merged cells: the same cells and errors."""
    ods, xlsx = FILES / f"{name}.ods", FILES / f"{name}.xlsx"

    assert read(ods) == read(xlsx)
    found, expected = inspect_sheet(ods), inspect_sheet(xlsx)
    assert (found.rows, found.row_errors) == (expected.rows, expected.row_errors)
    assert found.notices == expected.notices.replace(".xlsx", ".ods")


# --- Cells -----------------------------------------------------------------------------------

NUMBER = "the cell contains a number, not text"
FORMAT = "the cell contains a number with a special format, not text"
DATE = "the cell contains a date or time, not text"
FORMULA = "<t:table-cell t:formula='of:=1/0'"
P = "<x:p>"


@pytest.mark.parametrize(
    ("markup", "text", "problem"),
    [
        (shown("12", "float", "12"), "12", ""),
        (cell(value_type="float", value="12"), "12", ""),
        (shown("TRUE", "float", "1"), "TRUE", ""),
        (shown("WAHR", "boolean", "true", "boolean-value"), "TRUE", ""),
        (shown("2.5", "float", "2.5"), "2.5", NUMBER),
        (shown("123456789012", "float", "123456789012"), "123456789012", NUMBER),
        (shown("1.2E+23", "float", "123456789012345678901234"), "1.23456789012346E+23", NUMBER),
        (shown("007", "float", "7"), "7", FORMAT),
        (shown("1,234", "float", "1234"), "1234", FORMAT),
        (shown("500%", "percentage", "5"), "5", FORMAT),
        (cell(value_type="percentage", value="5"), "5", FORMAT),
        (shown("$3", "currency", "3"), "3", FORMAT),
        (shown("6.5.24", "date", "2024-05-06", "date-value"), "2024-05-06", DATE),
        (
            shown("x", "date", "2024-05-06T07:08:09", "date-value"),
            *("2024-05-06 07:08:09", DATE),
        ),
        (shown("07:08", "time", "PT07H08M00S", "time-value"), "07:08:00", DATE),
        (shown("36:00", "time", "PT36H00M00S", "time-value"), "1 day, 12:00:00", DATE),
        (shown("x", "float", "nan"), "x", "the cell has no valid value"),
        (shown("x", "float", "1_0"), "x", "the cell has no valid value"),
        (shown("x", "date", "yesterday", "date-value"), "x", "the cell has no valid value"),
        (shown("x", "duration", "1"), "x", "the cell has no valid value"),
        (f"{FORMULA}/>", "=1/0", "the formula was never calculated"),
        (f"{FORMULA}>{P}</x:p></t:table-cell>", "", ""),
        (
            f"{FORMULA} o:value-type='string' c:value-type='error'>{P}#N/A</x:p></t:table-cell>",
            *("#N/A", "the formula failed with #N/A"),
        ),
        (
            f"{FORMULA} o:value-type='string'>{P}Err:502</x:p></t:table-cell>",
            *("Err:502", "the formula failed with Err:502"),
        ),
        (cell(f"{P}#N/A</x:p>", value_type="string"), "#N/A", ""),
        (cell(f"{P}without a type</x:p>"), "without a type", ""),
        (cell(f"{P}shown</x:p>", value_type="string", string_value="own"), "own", ""),
        (cell(f"{P}a  b\n c</x:p>", value_type="string"), "a b c", ""),
        (
            cell(f"{P}<x:s x:c='2'/>a<x:s/>b<x:tab/>c<x:line-break/>d</x:p>{P}</x:p>{P}e</x:p>"),
            *("  a b\tc\nd\n\ne", ""),
        ),
        (
            cell(f"{P}bold <x:span>wo</x:span>rd <x:a><x:span>link</x:span></x:a></x:p>"),
            *("bold word link", ""),
        ),
        (cell(f"<o:annotation>{P}a note</x:p></o:annotation>{P}own</x:p>"), "own", ""),
        (cell(f"{P}own<d:frame>{P}box</x:p></d:frame></x:p>"), "own", ""),
        (
            cell(
                f"{P}<x:ruby><x:ruby-base>磁</x:ruby-base><x:ruby-text>cí</x:ruby-text></x:ruby></x:p>"
            ),
            *("磁", ""),
        ),
    ],
)
def test_cell_has_a_text_only_if_it_is_certain(
    path: Path, markup: str, text: str, problem: str
) -> None:
    """A number is text only if it was shown as its digits; notes and frames are no text."""
    write_ods(path, table(row("id", "title", "n"), row("a", markup, "end")))

    assert read(path) == ([(2, "a", text, "end")], {(2, 1): problem} if problem else {})


def test_formats_of_a_profile_apply_to_dates_and_durations(path: Path, tmp_path: Path) -> None:
    """A duration below a day is written like a time of day in such a file."""
    cells = (
        shown("6.5.24", "date", "2024-05-06", "date-value"),
        shown("7:08", "time", "PT07H08M00S", "time-value"),
        shown("50%", "percentage", "0.5"),
    )
    write_ods(path, table(row("id", "title", "impact", "resolution"), row(A, *cells)))
    profile = tmp_path / "p.toml"
    profile.write_text(
        '[formats]\ntitle = "%d.%m.%Y"\nimpact = "[h]:mm"\nresolution = "0.0%"\n', "utf-8"
    )

    assert inspect_sheet(path, profile=read_profile(profile)).rows == {
        2: (A, {"title": "06.05.2024", "impact": "7:08", "resolution": "50.0%"})
    }


# --- Tables ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_table_anywhere_on_the_worksheet_has_its_row_numbers(path: Path) -> None:
    """Blank rows and columns are written as repetitions, and are counted."""
    blank = "<t:table-cell t:number-columns-repeated='3'/>"
    rows = (
        row(blank, repeated=4),
        row(blank, "id", "title"),
        *(row(blank, f"id-{n}", "磁盘已满") for n in range(40)),
        row("<t:table-cell t:number-columns-repeated='16384'/>", repeated=900_000),
        row(blank, "last", "same", repeated=2),
        row(blank, repeated=1_000_000),
    )
    write_ods(path, table(*rows))

    assert read(path, 7)[0] == [
        *((6 + n, f"id-{n}", "磁盘已满") for n in range(40)),
        (900_046, "last", "same"),
        (900_047, "last", "same"),
    ]


def test_rows_in_groups_are_read_and_hidden_rows_are_named(path: Path) -> None:
    """A filter and an outline hide rows, which are sent all the same."""
    rows = (
        f"<t:table-header-rows>{HEADER}</t:table-header-rows>",
        f"<t:table-row-group>{row(A, 'Disk full', visibility='filter')}</t:table-row-group>",
        row(B, "Queue full", visibility="collapse"),
    )
    write_ods(path, table(*rows))
    found = inspect_sheet(path)

    assert found.rows == {2: (A, {"title": "Disk full"}), 3: (B, {"title": "Queue full"})}
    assert found.notices == f"{path}: read worksheet 'Table'; 2 hidden rows included"


def test_covered_cells_of_merged_ranges_are_errors(path: Path) -> None:
    """What a merged cell hides is neither sent nor left out silently."""
    merged = (
        "<t:table-cell o:value-type='string' t:number-columns-spanned='2' "
        "t:number-rows-spanned='2'><x:p>m</x:p></t:table-cell>"
    )
    covered = "<t:covered-table-cell o:value-type='string'><x:p>under</x:p></t:covered-table-cell>"
    none = "<t:covered-table-cell/>"
    write_ods(path, table(row("id", "title", "x"), row("a", merged, none), row("b", covered, none)))

    left, above = "merged with a cell to its left", "merged with a cell above it"
    assert read(path) == (
        [(2, "a", "m", ""), (3, "b", "under", "")],
        {(2, 2): left, (3, 1): above, (3, 2): above},
    )


def test_worksheet_is_chosen_as_in_a_workbook(path: Path) -> None:
    """Hidden ones only by name; two tables are an error; charts and sub-tables are no tables."""
    chart = f"<t:shapes>{table(HEADER, name='chart')}</t:shapes>"
    write_ods(
        path,
        table(row("Read me"), name="Notes"),
        table(chart, HEADER, row(A, "Disk full"), name="七月"),
        table(HEADER, row(B, "Queue full"), name="Old", is_hidden=True),
        behind=f"<t:dde-links>{table(HEADER, row('c', 'x'), name='dde')}</t:dde-links>",
    )
    assert read(path)[0] == [(2, A, "Disk full")]
    assert read(path, sheet_name="Old")[0] == [(2, B, "Queue full")]
    assert refusal(path, sheet_name="dde") == (
        f"sheet_name='dde': {path} has no such worksheet. "
        "Its worksheets are 'Notes', '七月', 'Old'."
    )
    write_ods(path, table(HEADER, row(A, "x"), name="A"), table(HEADER, row(B, "y"), name="B"))
    assert refusal(path).startswith("several worksheets contain a table: 'A', 'B'.")


def test_header_with_a_name_that_was_never_calculated_is_an_error(path: Path) -> None:
    """A column is not found by a name that no program has calculated."""
    write_ods(path, table(row("id", "title", f"{FORMULA}/>"), row(A, "Disk full")))

    assert refusal(path).startswith(
        "row 1 is the header, and in column 3 the formula was never calculated (=1/0)."
    )


# --- Hostile and damaged files ---------------------------------------------------------------

WIDE = "<t:table-cell t:number-columns-repeated='16384'><x:p>x</x:p></t:table-cell>"
SPACES = "<x:s x:c='9000000'/>"
DAMAGED = "cannot be read as a workbook ({}). Save it again, or rename it to .csv if it is text."


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (
            (row(WIDE, repeated=1_000_000),),
            (
                "worksheet 'Table' has 16,384,000,000 cells, most of them repeated. "
                "Delete the repeated rows and columns, or save it as CSV."
            ),
        ),
        (
            (row("id", repeated=1_048_577),),
            DAMAGED.format("it has more than 1,048,576 rows"),
        ),
        ((row("a", WIDE),), DAMAGED.format("row 1 has more than 16,384 cells")),
        (
            (row("a", f"{FORMULA}/>" * 9, repeated=200_000),),
            DAMAGED.format("it repeats too many rows"),
        ),
        (
            (row(cell(f"{P}{SPACES}{SPACES}</x:p>")),),
            DAMAGED.format("it has too many spaces"),
        ),
        (
            (row("a", repeated="-1"),),
            DAMAGED.format("a cell or row is repeated '-1' times"),
        ),
        (("<t:table-row>",), DAMAGED.format("invalid XML: mismatched tag: line 1, column 583")),
        ((), "the workbook is empty. Add a header and rows."),
    ],
)
def test_file_that_expands_or_is_damaged_is_a_clear_error(
    path: Path, rows: tuple[str, ...], text: str
) -> None:
    """Repetitions take no space in the file; what they expand to has limits."""
    write_ods(path, table(*rows))

    assert refusal(path) == text


def packed(path: Path, members: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)


ENTITY = "<!DOCTYPE x [<!ENTITY a 'aaaa'>]>" + content(table(HEADER))


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"content.xml": ENTITY}, DAMAGED.format("a part has a document type (<!DOCTYPE)")),
        ({"content.xml": "<a/>"}, DAMAGED.format("it contains no worksheet")),
        (
            {"content.xml": "", "CONTENT.xml": ""},
            DAMAGED.format("it contains two parts 'content.xml'"),
        ),
        (
            {"content.xml": content(table(HEADER), table(HEADER))},
            DAMAGED.format("it contains two worksheets of the same name"),
        ),
        (
            {"content.xml": "", "META-INF/manifest.xml": "<encryption-data/>"},
            "protected by a password. Save it without a password.",
        ),
        (
            {"content.xml": " " * 70_000_000},
            "0.1 MB expand to 70 MB, which is too much for a workbook. Save it as CSV.",
        ),
        (
            {"content.xml": "", "mimetype": "application/vnd.oasis.opendocument.text"},
            (
                "the file is an OpenDocument file without a spreadsheet, not a .ods workbook. "
                "Export the table as .xlsx or .csv."
            ),
        ),
        (
            {"xl/workbook.xml": ""},
            "the file is an Excel workbook, not a .ods workbook. Rename it to .xlsx.",
        ),
        ({"a.txt": ""}, "the file is a ZIP archive, not a .ods workbook. Unpack it first."),
    ],
)
def test_archive_that_is_no_spreadsheet_is_a_clear_error(
    path: Path, members: dict[str, str], text: str
) -> None:
    """A bomb, a document type, a password, another type of file."""
    packed(path, members)

    assert refusal(path) == text
