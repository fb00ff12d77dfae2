"""For any table: the server receives the values of the cells, or the row is invalid.

Hypothesis generates tables; the csv module, XlsxWriter and openpyxl write them; the rules are
implemented a second time here, as simply as possible.
"""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from pathlib import Path
from typing import Any, Final

import jsonschema
import openpyxl
import pandas as pd
import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st
from sheet_zoo import inspect_sheet
from test_validation import REQUEST

from bulk_reset.core.change import Change
from bulk_reset.core.fields import FIELDS
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.sheet_check import DecidedChunk, SheetCheck
from bulk_reset.sheets.validation import check_chunk

SCHEMA: Final = jsonschema.Draft202012Validator(REQUEST)
ALIASES: Final = {
    "incident_id": ["incident_id", "ID", " Incident-ID", "故障ID", "事件编号"],
    "title": ["title", "New Title", "标题"],
    "description": ["Description", "desc", "描述"],
    "impact": ["IMPACT", "影响范围"],
    "root_cause": ["root cause", "RCA", "根因"],
    "resolution": ["resolution", "Fix", "解决方案"],
    "incident_severity": ["severity", "Level", "严重程度"],
    "": ["Owner", "n/a", "备注"],
}
"""Field -> names of its column; the empty key is no field."""
FORMULA_ERRORS: Final = (
    *("#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#SPILL!", "#CALC!"),
    *("#GETTING_DATA", "#FIELD!", "#BLOCKED!", "#CONNECT!"),
)
SEVERITIES: Final = ("Info", "Warning", "Critical")
DECORATIONS: Final = ("", " ", "\u200b", "'", '"', "\u00a0", "\ufeff")
LINKS: Final = ("https://console.example/incident/{}", "http://x.example/?tab=a&id={}#top")


def characters(**without: Any) -> st.SearchStrategy[str]:  # noqa: ANN401  (hypothesis' own)
    """Any character except half of a surrogate pair, with more of those that break parsers."""
    special = "\n\t ,;|\"'=+-@#\\<>&]%_x0041_\u00a0\u2028\u200b\ufeff磁é😀\U0010ffff"
    return st.characters(exclude_categories=["Cs"], **without) | st.sampled_from(special)


def texts(alphabet: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Texts of all kinds: short, empty, at the limits, and those that look like something else."""
    looks = (
        *("NA", "null", "nan", "007", "1e5", "TRUE", "2024-01-02", "=1+1", "_x0041_", "_x000D_"),
        *("'quoted", '"', '""', "a\nb", "  spaces  ", "   ", "sep=;", "#REF!", "#N/A", "\\n"),
    )
    edges = st.builds(
        lambda character, length: character * length,
        st.sampled_from("x磁😀"),
        st.sampled_from([2, 3, 200, 201, 6144, 6145]),
    )
    return st.just("") | st.text(alphabet, max_size=12) | st.sampled_from(looks) | edges


def ids(number: int) -> st.SearchStrategy[str]:
    """A different id for each row, in one of its valid forms; or no id."""
    plain = f"69da451e{number:016x}"
    around = st.tuples(st.sampled_from(DECORATIONS), st.sampled_from(DECORATIONS))
    named = st.builds(
        lambda a, text: f"{a[0]}{text}{a[1]}", around, st.sampled_from([plain, plain.upper()])
    )
    links = st.sampled_from([link.format(plain) for link in LINKS])
    wrong = st.sampled_from(
        ["", plain[:-1], plain + "0", "6.9E+23", "g" * 24, "https://x.example/"]
    )
    return named | links | wrong


@st.composite
def tables(draw: st.DrawFn, alphabet: st.SearchStrategy[str]) -> list[list[str]]:
    """A header in any order and by any names, and one to five rows."""
    others = draw(st.lists(st.sampled_from([*FIELDS[1:], ""]), min_size=1, max_size=5, unique=True))
    settable = [name for name in others if name]
    names = draw(st.permutations(["incident_id", *(others if settable else ["title"])]))
    rows = [[draw(st.sampled_from(ALIASES[name])) for name in names]]
    for number in range(draw(st.integers(1, 5))):
        cells = {name: draw(texts(alphabet)) for name in names}
        cells["incident_id"] = draw(ids(number))
        if "incident_severity" in cells:
            cells["incident_severity"] = draw(st.sampled_from(["", *SEVERITIES, "Ok", "info", " "]))
        rows.append([cells[name] for name in names])
    return [list(names), *rows]


def is_allowed(field: str, text: str) -> bool:
    """Return whether a cell may be sent, by the simplest rules."""
    if field == "incident_severity":
        return text in SEVERITIES
    longest = 200 if field == "title" else 6144
    controls = {c for c in text if unicodedata.category(c) == "Cc"} - set("\t\n\r")
    is_error = text in FORMULA_ERRORS
    return 3 <= len(text) <= longest and not text.isspace() and not controls and not is_error


def named_by(text: str, number: int) -> str | None:
    """Return the id in a cell of ``ids``."""
    plain = f"69da451e{number:016x}"
    bare = text.strip("".join(DECORATIONS)).lower()
    return plain if bare == plain or bare in {link.format(plain) for link in LINKS} else None


def expected(table: list[list[str]]) -> dict[int, tuple[str, dict[str, str]]]:
    """Return the expected requests: row number -> id and values."""
    names, _, *rows = table
    sent = {}
    for number, row in enumerate(rows):
        cells = {name: cell for name, cell in zip(names, row, strict=True) if name and cell}
        incident_id = named_by(cells.pop("incident_id", ""), number)
        if incident_id and cells and all(is_allowed(*cell) for cell in cells.items()):
            sent[number + 2] = (incident_id, cells)
    return sent


def rows_with_text(table: list[list[str]]) -> set[int]:
    """Return the numbers of the rows that are not blank."""
    return {n for n, row in enumerate(table[2:], 2) if any(cell.strip() for cell in row)}


def assert_all_arrive(path: Path, table: list[list[str]], **options: Any) -> None:  # noqa: ANN401
    """Compare the requests with the cells; every other row must be invalid."""
    found = inspect_sheet(path, **options)
    sent = expected(table)

    assert found.rows == sent
    assert {number for number, _ in found.row_errors} == rows_with_text(table) - sent.keys()


@pytest.mark.slow
@settings(max_examples=120)
@given(
    table=tables(characters()),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "gb18030"]),
    above=st.sampled_from(["", "\r\n", "Incidents of October\r\n\r\n"]),
)
def test_any_csv_table_is_read_unchanged(
    table: list[list[str]],
    delimiter: str,
    quoting: Any,  # noqa: ANN401  (the csv module's)
    encoding: str,
    above: str,
    tmp_path: Path,
) -> None:
    """With any dialect, encoding, names and order: each cell is sent unchanged, or rejected."""
    path = tmp_path / "table.csv"
    with path.open("w", encoding=encoding, newline="") as file:
        file.write(above)
        # With this line ending the csv module quotes cells with any line break.
        csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator="\r\n").writerows(
            table[1:]
        )
    # A few characters are not enough to detect Chinese.
    options = {"encoding": encoding} if encoding == "gb18030" else {}
    shift = above.count("\n")
    found = inspect_sheet(path, **options)
    sent = {number + shift: row for number, row in expected(table).items()}

    assert found.rows == sent
    wrong = {number + shift for number in rows_with_text(table)} - sent.keys()
    assert {number for number, _ in found.row_errors} == wrong


@pytest.mark.slow
@settings(max_examples=60)
@given(
    table=tables(characters(exclude_characters="\ufffe\uffff")),  # no characters of XML
    is_constant_memory=st.booleans(),
)
def test_any_xlsxwriter_table_is_read_unchanged(
    table: list[list[str]], is_constant_memory: bool, tmp_path: Path
) -> None:
    """Control characters, ``_x0041_`` and both line breaks are restored from Excel's escapes."""
    path = tmp_path / "table.xlsx"
    with xlsxwriter.Workbook(path, {"constant_memory": is_constant_memory}) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate(table[1:]):
            for column, cell in enumerate(row):
                sheet.write_string(number, column, cell)

    assert_all_arrive(path, table)


ESCAPE: Final = re.compile(r"_x[0-9a-fA-F]{4}_")


@pytest.mark.slow
@settings(max_examples=60)
@given(
    # openpyxl refuses control characters, and writes a carriage return unescaped, which every
    # XML reader turns into a line break.
    table=tables(
        characters(exclude_characters="\ufffe\uffff\r").filter(
            lambda c: unicodedata.category(c) != "Cc" or c in "\t\n"
        )
    ).filter(
        # openpyxl does not escape text like Excel's escapes, so Excel shows another text.
        lambda table: not any(ESCAPE.search(cell) for row in table for cell in row)
    )
)
def test_any_openpyxl_table_is_read_unchanged(table: list[list[str]], tmp_path: Path) -> None:
    """Text that begins like a formula or an error stays text if the workbook stores it as text."""
    # openpyxl does not mark leading spaces as significant, so a text of spaces is empty.
    table = [[cell if cell.strip(" \t\n") else "" for cell in row] for row in table]
    book = openpyxl.Workbook()
    for number, row in enumerate(table[1:], 1):
        for column, text in enumerate(row, 1):
            if text:
                cell = book.active.cell(number, column, text)
                cell.data_type = "s"
    path = tmp_path / "table.xlsx"
    book.save(path)

    assert_all_arrive(path, table)


ANY_TEXT: Final = texts(st.characters(exclude_categories=["Cs"]))
VALUES: Final = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(FIELDS[1:-1], ANY_TEXT)
    | {"incident_severity": st.sampled_from(["", *SEVERITIES, "Ok", "info", "CRITICAL", " "])},
)


@pytest.mark.slow
@settings(max_examples=300)
@given(values=VALUES, incident_id=ids(1) | st.text(max_size=26))
def test_check_accepts_exactly_what_the_published_schema_accepts(
    values: dict[str, str], incident_id: str
) -> None:
    """What is sent is valid; a rejected row breaks the schema or one of our own rules."""
    frame = pd.DataFrame([{**dict.fromkeys(FIELDS, ""), **values, "incident_id": incident_id}])
    with open_sheet(frame) as sheet:
        chunks = [check_chunk(chunk, sheet.columns) for chunk in sheet.chunks()]
    items = [item for chunk in chunks for item in DecidedChunk(chunk, SheetCheck(), "").items()]
    filled = {name: text for name, text in values.items() if text}
    if not items:
        assert not any(text.strip() for text in (incident_id, *filled.values()))
        return
    (item,) = items
    if isinstance(item, Change):
        body = json.loads(item.body)
        SCHEMA.validate(body)
        assert {name: text for name, text in body.items() if name != "incident_id"} == filled
        return
    is_own_rule = {
        name
        for name, text in filled.items()
        if name != "incident_severity" and len(text) > 2 and not is_allowed(name, text)
    }
    request = {**filled, "incident_id": incident_id.strip()}
    assert not SCHEMA.is_valid(request) or is_own_rule


@pytest.mark.parametrize("name", FIELDS[1:])
def test_property_has_valid_and_invalid_cells(name: str) -> None:
    """The rules are neither always true nor always false."""
    good = "Info" if name == "incident_severity" else "abc"

    assert (is_allowed(name, good), is_allowed(name, "#N/A"), is_allowed(name, "x")) == (
        *(True, False),
        False,
    )
