"""Sheets as people save them: the right rows, or a clear error; nothing else.

One line per kind of file. The expected values are those that the server would receive.
"""

from __future__ import annotations

import datetime as dt
import gzip
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pytest
from programs import read_csv
from sheet_zoo import (
    FILES,
    ROWS,
    TABLE,
    A,
    B,
    Cells,
    Make,
    by_hand,
    by_openpyxl,
    by_xlsxwriter,
    copy_of,
    inline,
    inspect_sheet,
    put,
    raw,
    text,
    zipped,
)
from workbooks import encrypted

from bulk_reset.core.errors import InputError, SheetError
from bulk_reset.sheets.open_sheet import open_sheet

CSV: Final = f"id,title\n{A},Disk full\n{B},磁盘已满 😀\n"
WESTERN: Final = f"id,title\n{A},Störung: Größe überschritten\n"
JAPANESE: Final = f"id,title\n{A},データベースの接続がタイムアウトしました\n"
KANJI: Final = f"id,title\n{A},接続数の上限に到達、再起動を実施し復旧、原因は調査中\n"
KOREAN: Final = f"id,title\n{A},데이터베이스 연결 시간 초과 오류\n"
RUSSIAN: Final = f"id,title\n{A},Диск на сервере переполнен\n"
TRADITIONAL: Final = f"id,title\n{A},資料庫連線逾時故障\n"
GUESSED: Final = "is uncertain. Use the one that shows the text correctly: encoding="


def below(rows: dict[int, Any], by: int) -> dict[int, Any]:
    """Return the same rows further down."""
    return {number + by: row for number, row in rows.items()}


def one(title: str, encoding_of: str = A) -> dict[int, tuple[str, dict[str, str]]]:
    return {2: (encoding_of, {"title": title})}


# --- Files that are read ---------------------------------------------------------------------


def with_delimiter(delimiter: str) -> str:
    return CSV.replace(",", delimiter)


def with_title(rows: Cells) -> Make:
    return by_xlsxwriter(lambda _, ws: (ws.write(0, 0, "Incidents of October"), put(ws, rows, 2)))


def rich(book: Any, ws: Any) -> None:  # noqa: ANN401
    put(ws, [["id", "title"], [A]])
    ws.write_rich_string(1, 1, "Disk ", book.add_format({"bold": True}), "full", " again")


def formulas(_: object, ws: Any) -> None:  # noqa: ANN401
    put(ws, [["id", "title"], [A], [B]])
    ws.write_formula(1, 1, '="Disk "&"full"', None, "Disk full")
    ws.write_formula(2, 1, "=TRUE()", None, value=True)


def plain_numbers(book: Any, ws: Any) -> None:  # noqa: ANN401
    put(ws, [["id", "title"], [A, 2024], [B, True]])
    ws.write(1, 1, 2024, book.add_format({"num_format": "0", "bold": True}))


def hidden_row(_: object, ws: Any) -> None:  # noqa: ANN401
    put(ws, TABLE)
    ws.set_row(2, None, None, {"hidden": True})
    ws.set_row(50, None, None, {"hidden": True})


def merged_title(book: Any, ws: Any) -> None:  # noqa: ANN401
    put(ws, TABLE, 2)
    ws.merge_range("A1:D2", "Incidents of October", book.add_format({"bold": True}))


def two_headers(_: object, ws: Any) -> None:  # noqa: ANN401
    put(ws, [["Which one", "Its new name"], ["incident_id", "title"], *TABLE[1:]])


def in_pandas(path: Path) -> None:
    frame = pd.DataFrame(TABLE[1:], columns=["incident_id", "title"])
    frame.to_excel(path, index=False, engine="openpyxl")


LO_ROWS: Final = {
    4: ("69da451e0000000000000001", "Disk full on db-01", "数据库磁盘已满 😀", "Critical"),
    5: (
        *("69da451e0000000000000002", 'He said "no", twice'),
        *("line one\nline two\n\nline four", "Info"),
    ),
    6: ("69da451e0000000000000003", "  spaces kept  ", "=not a formula", "Warning"),
    8: ("69da451e0000000000000004", "é and é", "tab\there, a;b|c", ""),
    9: ("69da451e0000000000000005", "", "x" * 6144, ""),
}


def of_libreoffice(**other: str) -> dict[int, Any]:
    """Return the requests for the table that LibreOffice wrote."""
    names = ("title", "description", "incident_severity")
    sent = {}
    for number, (incident_id, *cells) in LO_ROWS.items():
        values = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
        sent[number] = (incident_id, {n: other.get(t, t) for n, t in values.items()})
    return sent


LINES = f'id,title\n{A},"one\ntwo"\n\n{B},three\n'
LINES_ROWS: Final = {2: (A, {"title": "one\ntwo"}), 4: (B, {"title": "three"})}
WIDE = ["id", "title", *(f"c{n}" for n in range(16_382))]

READ: Final[dict[str, tuple[str, Make, dict[str, Any], dict[int, Any], str]]] = {
    # name: extension, how it is made, options, requests, notice
    "utf-8": ("csv", text(CSV), {}, ROWS, "UTF-8, comma"),
    "utf-8 with bom": ("csv", text(CSV, "utf-8-sig"), {}, ROWS, "UTF-8 with BOM"),
    "utf-16 with bom": ("csv", text(CSV, "utf-16"), {}, ROWS, "UTF-16"),
    "utf-16-be with bom": ("csv", text("\ufeff" + CSV, "utf-16-be"), {}, ROWS, "UTF-16"),
    "utf-16-le set": ("csv", text(CSV, "utf-16-le"), {"encoding": "utf-16-le"}, ROWS, ""),
    "utf-32 with bom": ("csv", text(CSV, "utf-32"), {}, ROWS, "UTF-32"),
    "gb18030": ("csv", text(CSV, "gb18030"), {}, ROWS, "GB18030"),
    "shift_jis set": (
        *("csv", text(JAPANESE, "shift_jis"), {"encoding": "shift_jis"}),
        *(one("データベースの接続がタイムアウトしました"), "SHIFT_JIS"),
    ),
    "cp1252 set": (
        *("csv", text(WESTERN, "cp1252"), {"encoding": "cp1252"}),
        *(one("Störung: Größe überschritten"), "CP1252"),
    ),
    "semicolon": ("csv", text(with_delimiter(";")), {}, ROWS, "semicolon"),
    "tab": ("tsv", text(with_delimiter("\t")), {}, ROWS, "tab"),
    "pipe": ("txt", text(with_delimiter("|")), {}, ROWS, "pipe"),
    "pipe set": ("csv", text(with_delimiter("|")), {"delimiter": "|"}, ROWS, "pipe"),
    "caret set": ("csv", text(with_delimiter("^")), {"delimiter": "^"}, ROWS, "'^'"),
    "crlf": ("csv", text(CSV.replace("\n", "\r\n")), {}, ROWS, ""),
    "cr": ("csv", text(CSV.replace("\n", "\r")), {}, ROWS, ""),
    "no end of line": ("csv", text(CSV.strip()), {}, ROWS, ""),
    "hint of excel": ("csv", text("sep=;\r\n" + with_delimiter(";")), {}, ROWS, "semicolon"),
    "hint, bom": ("csv", text("sep=;\n" + with_delimiter(";"), "utf-8-sig"), {}, ROWS, "BOM"),
    "hint, utf-16": ("csv", text("sep=\t\n" + with_delimiter("\t"), "utf-16"), {}, ROWS, "tab"),
    "hint in quotes, cr": ("csv", text('"sep=|"\r' + with_delimiter("|")), {}, ROWS, "pipe"),
    "hint, then a title": ("csv", text("sep=,\nOctober\n" + CSV), {}, below(ROWS, 1), "row 2"),
    "hint, lines in cells": ("csv", text("sep=,\n" + LINES), {}, LINES_ROWS, ""),
    "blank lines on top": ("csv", text("\n\n \n" + CSV), {}, below(ROWS, 3), ""),
    "lines in cells": ("csv", text(LINES), {}, LINES_ROWS, ""),
    "quotes in quotes": ("csv", text(f'id,title\n{A},"a ""b"", c"\n'), {}, one('a "b", c'), ""),
    "title above": (
        *("csv", text("Incidents of October\n\n" + CSV), {}),
        *(below(ROWS, 2), "header in row 3"),
    ),
    "title of several cells": (
        *("csv", text("Incidents,October,\nexported,by me,\n" + CSV), {}),
        *(below(ROWS, 2), "header in row 3"),
    ),
    "title with a comma, semicolons below": (
        *("csv", text("Id, title\n" + with_delimiter(";")), {"header_row": 2}),
        *(below(ROWS, 1), "semicolon-separated, header in row 2"),
    ),
    "header set": (
        *("csv", text("Which,What\nref,headline\n" + CSV.split("\n", 1)[1])),
        {"header_row": 2, "mapping": {"id": "ref", "title": "headline"}},
        *(below(ROWS, 1), "header in row 2"),
    ),
    "100,000 empty rows": ("csv", text(CSV + ",\n" * 100_000), {}, ROWS, ""),
    "index of pandas": (
        *("csv", text(f",id,title\n0,{A},Disk full\n1,{B},磁盘已满 😀\n"), {}),
        *(ROWS, ""),
    ),
    "delimiter at the end of the header": (
        *("csv", text(f"id,title,\n{A},Disk full\n{B},磁盘已满 😀,\n"), {}),
        *(ROWS, ""),
    ),
    "title wider than the table": (
        *("csv", text("Incidents,of,October,by,me\n" + CSV), {}),
        *(below(ROWS, 1), "header in row 2"),
    ),
    "one empty cell more": ("csv", text(f"id,title\n{A},Disk full,\n"), {}, one("Disk full"), ""),
    "16,384 columns": (
        *("csv", text(",".join(WIDE) + f"\n{A},Disk full{',' * 16_382}\n"), {}),
        *(one("Disk full"), "and 16,362 more"),
    ),
    "xlsxwriter": ("xlsx", by_xlsxwriter(lambda _, ws: put(ws, TABLE)), {}, ROWS, "'Sheet1'"),
    "openpyxl": ("xlsx", by_openpyxl(TABLE), {}, ROWS, "'Sheet'"),
    "pandas": ("xlsx", in_pandas, {}, ROWS, "'Sheet1'"),
    "inline strings": ("xlsx", by_hand(inline(TABLE, has_places=True)), {}, ROWS, "'Export'"),
    "prefixed names": (
        *("xlsx", by_hand(inline(TABLE, has_places=True), prefix="x"), {}),
        *(ROWS, "'Export'"),
    ),
    "cells without places": ("xlsx", by_hand(inline(TABLE, has_places=False)), {}, ROWS, ""),
    "absolute target": (
        *("xlsx", by_hand(inline(TABLE, has_places=True), target="/xl/worksheets/s.xml"), {}),
        *(ROWS, ""),
    ),
    "title above, workbook": ("xlsx", with_title(TABLE), {}, below(ROWS, 2), "header in row 3"),
    "header set, workbook": (
        *("xlsx", with_title([["x", "y"], *TABLE]), {"header_row": 4}),
        *(below(ROWS, 3), "header in row 4"),
    ),
    "two headers": ("xlsx", by_xlsxwriter(two_headers), {}, below(ROWS, 1), "header in row 2"),
    "merged title": ("xlsx", by_xlsxwriter(merged_title), {}, below(ROWS, 2), ""),
    "blank rows on top, workbook": (
        *("xlsx", by_xlsxwriter(lambda _, ws: put(ws, TABLE, 4)), {}),
        *(below(ROWS, 4), ""),
    ),
    "hidden rows": ("xlsx", by_xlsxwriter(hidden_row), {}, ROWS, "1 hidden row included"),
    "rich text": ("xlsx", by_xlsxwriter(rich), {}, one("Disk full again"), ""),
    "results of formulas": (
        *("xlsx", by_xlsxwriter(formulas), {}),
        *({2: (A, {"title": "Disk full"}), 3: (B, {"title": "TRUE"})}, ""),
    ),
    "plain numbers": (
        *("xlsx", by_xlsxwriter(plain_numbers), {}),
        *({2: (A, {"title": "2024"}), 3: (B, {"title": "TRUE"})}, ""),
    ),
    "16,384 columns, workbook": (
        *("xlsx", by_xlsxwriter(lambda _, ws: put(ws, [WIDE, [A, "Disk full"]])), {}),
        *(one("Disk full"), "and 16,362 more"),
    ),
    "libreoffice": ("xlsx", copy_of("lo-table.xlsx"), {}, of_libreoffice(), "header in row 3"),
    "libreoffice, from ods": (
        *("xlsx", copy_of("lo-table-from-ods.xlsx"), {}),
        *(of_libreoffice(**{"tab\there, a;b|c": "tabhere, a;b|c"}), "header in row 3"),
    ),
    "libreoffice, ods": ("ods", copy_of("lo-table.ods"), {}, of_libreoffice(), "header in row 3"),
    "libreoffice, csv": ("csv", copy_of("lo-table.csv"), {}, of_libreoffice(), "header in row 3"),
    "libreoffice, from csv": (
        *("xlsx", copy_of("lo-from-csv.xlsx"), {}),
        {
            2: ("69da451e0000000000000001", {"title": "Disk full"}),
            3: ("69da451e0000000000000002", {"title": "磁盘已满\nsecond line"}),
        },
        "'plain'",
    ),
}


@pytest.mark.parametrize(
    ("ending", "make", "options", "rows", "notice"), READ.values(), ids=READ.keys()
)
def test_file_with_a_table_gives_its_rows(
    ending: str,
    make: Make,
    options: dict[str, Any],
    rows: dict[int, Any],
    notice: str,
    tmp_path: Path,
) -> None:
    """Every row is read with its number, its ID and its values, and nothing else."""
    path = tmp_path / f"sheet.{ending}"
    make(path)
    found = inspect_sheet(path, **options)

    assert (found.rows, found.row_errors) == (rows, [])
    assert notice in found.notices


# --- Files with an error ---------------------------------------------------------------------


def page(start: str) -> Make:
    return text(start + "<table><tr><td>id</td><td>title</td></tr></table></body></html>")


def two_sheets(book: Any, ws: Any) -> None:  # noqa: ANN401
    put(ws, TABLE)
    put(book.add_worksheet("October"), TABLE)


def far_cell(place: str) -> Make:
    return by_xlsxwriter(lambda _, ws: (put(ws, TABLE), ws.write(place, "stray")))


def cut(path: Path) -> None:
    by_openpyxl(TABLE)(path)
    path.write_bytes(path.read_bytes()[:-400])


def member_of_zeros(name: str, size: int) -> Make:
    return zipped({"xl/workbook.xml": "<workbook/>", name: " " * size})


HTML: Final = "<!DOCTYPE html>\n<html><body>"
XML_2003: Final = (
    "<?xml version='1.0'?><?mso-application progid='Excel.Sheet'?>"
    "<Workbook xmlns='urn:schemas-microsoft-com:office:spreadsheet'></Workbook>"
)
SAVE: Final = "Open it in a spreadsheet program and save it as .xlsx or .csv."

REFUSED: Final[dict[str, tuple[str, Make, dict[str, Any], str]]] = {
    # name: extension, how it is made, options, part of the error
    "empty": ("csv", raw(b""), {}, "the file is empty."),
    "a bom alone": ("csv", raw(b"\xef\xbb\xbf"), {}, "only blank lines."),
    "blank lines": ("csv", text("\n\r\n , \n"), {}, "only blank lines."),
    "hint alone": ("csv", text("sep=;\n"), {}, "only blank lines."),
    "shift_jis": ("csv", text(JAPANESE, "shift_jis"), {}, GUESSED),
    "euc-jp": ("csv", text(JAPANESE, "euc_jp"), {}, GUESSED),
    "euc-jp, mostly kanji": ("csv", text(KANJI, "euc_jp"), {}, GUESSED),
    "euc-kr": ("csv", text(KOREAN, "euc_kr"), {}, GUESSED),
    "big5": ("csv", text(TRADITIONAL, "big5"), {}, GUESSED),
    "cp1251": ("csv", text(RUSSIAN, "cp1251"), {}, GUESSED),
    "koi8-r": ("csv", text(RUSSIAN, "koi8_r"), {}, GUESSED),
    "cp1252": ("csv", text(WESTERN, "cp1252"), {}, GUESSED),
    "utf-16 without a bom": ("csv", text(CSV, "utf-16-le"), {}, "use encoding='utf-16-le'"),
    "cut utf-16": ("csv", raw(CSV.encode("utf-16")[:-1]), {}, "not UTF-16."),
    "wrong encoding set": ("csv", text(CSV), {"encoding": "shift_jis"}, "not SHIFT_JIS."),
    "second header with other columns": (
        *("csv", text(CSV + f"id,description\n{A},Disk full\n"), {}),
        "row 4 is a second header, with other columns.",
    ),
    "open quote": (
        "csv",
        text(CSV + f'{A},"a\nb,c\n'),
        {},
        "a double quote in row 4 is not closed.",
    ),
    "two ids": ("csv", text("id,incident_id,title\n"), {}, "more than one column for incident_id"),
    "two titles": ("csv", text("id,title,Title\n"), {}, "more than one column for title"),
    "title line alone": ("csv", text("October\nref,what\n"), {}, "set header_row"),
    "header set to a blank row": ("csv", text("\n" + CSV), {"header_row": 1}, "row 1 is blank"),
    "header set below the end": (
        "csv",
        text(CSV),
        {"header_row": 9},
        "row 9 is blank or does not",
    ),
    "header set to another row": ("csv", text(CSV), {"header_row": 2}, "no column for incident_id"),
    "pdf": ("csv", raw(b"%PDF-1.7\n%\xe2\xe3\n"), {}, "the file is a PDF"),
    "pdf called workbook": ("xlsx", raw(b"%PDF-1.7\n%\xe2\xe3\n"), {}, "the file is a PDF"),
    "page": ("csv", page(HTML), {}, f"the file is a web page, not text. {SAVE}"),
    "page with a bom": ("csv", page("\ufeff\r\n <HTML>"), {}, "the file is a web page"),
    "page called workbook": ("xlsx", page("<html>"), {}, "the file is a web page"),
    "page called xls": (
        "xls",
        page("<meta charset='utf-8'>"),
        {},
        "(the file is a web page). Save",
    ),
    "xml of excel 2003": ("xls", text(XML_2003), {}, "(the file is an Excel 2003 XML workbook)"),
    "xml called csv": ("csv", text("<?xml version='1.0'?><rows/>"), {}, "the file is XML"),
    "json": ("csv", text('[\n  {"id": "x"}]'), {}, "the file is JSON"),
    "gzip": ("csv", raw(gzip.compress(CSV.encode())), {}, "a compressed file (gzip)"),
    "picture": ("xlsx", raw(b"\x89PNG\r\n\x1a\n" + bytes(99)), {}, "the file is an image"),
    "rtf": ("txt", text(r"{\rtf1\ansi id}"), {}, "the file is a text document (RTF)"),
    "random bytes": ("csv", raw(bytes(range(256)) * 9), {}, "its encoding is unknown."),
    "zero bytes": ("csv", raw(b"id,title\n" + bytes(99)), {}, "it contains zero bytes"),
    "text called workbook": ("xlsx", text(CSV), {}, "rename it to .csv if it is text."),
    "workbook called csv": ("csv", by_openpyxl(TABLE), {}, "Rename it to .xlsx."),
    "xls of libreoffice": (
        "xls",
        copy_of("lo-table.xls"),
        {},
        ".xls files are not supported. Save it",
    ),
    "xls called xlsx": ("xlsx", copy_of("lo-table.xls"), {}, "the file is an old (.xls) or"),
    "xls called csv": ("csv", copy_of("lo-table.xls"), {}, "the file is an old (.xls) or"),
    "ods called xlsx": ("xlsx", copy_of("lo-table.ods"), {}, "OpenDocument spreadsheet (.ods)"),
    "numbers": (
        "numbers",
        zipped({"Index/Document.iwa": ""}),
        {},
        "(the file is a Numbers document)",
    ),
    "word": ("xlsx", zipped({"word/document.xml": ""}), {}, "the file is a Word document"),
    "zip": ("xlsx", zipped({"a.txt": "x"}), {}, "the file is a ZIP archive"),
    "zip without members": (
        "xlsx",
        raw(b"PK\x05\x06" + bytes(18)),
        {},
        "the file is a ZIP archive",
    ),
    "password": ("xlsx", raw(encrypted()), {}, "protected by a password."),
    "cut workbook": ("xlsx", cut, {}, "cannot be read as a workbook"),
    "workbook without sheets": (
        *("xlsx", zipped({"xl/workbook.xml": "<workbook/>"}), {}),
        "cannot be read as a workbook",
    ),
    "several worksheets": (
        *("xlsx", by_xlsxwriter(two_sheets), {}),
        (
            "several worksheets contain a table: 'Sheet1', 'October'. "
            "Choose one, for example sheet_name='Sheet1'."
        ),
    ),
    "header set below the end, workbook": (
        *("xlsx", by_openpyxl(TABLE), {"header_row": 9}),
        "row 9 is blank or does not exist.",
    ),
    "far corner": (
        *("xlsx", far_cell("XFD1048576"), {}),
        "cells up to row 1,048,576 and column 16,384. Delete the empty rows",
    ),
    "far row and far column": (
        *(
            "xlsx",
            by_xlsxwriter(lambda _, ws: (ws.write("XFD1", "x"), ws.write("A99999", "x"))),
            {},
        ),
        "cells up to row 99,999 and column 16,384.",
    ),
    "impossible row": (
        *("xlsx", by_hand("<row r='1'><c r='A1'><v>1</v></c><c r='B99999999'><v>1</v></c></row>")),
        {},
        "cells up to row 99,999,999",
    ),
    "bomb": (
        *("xlsx", member_of_zeros("xl/worksheets/s.xml", 300_000_000), {}),
        "MB expand to 300 MB, which is too much for a workbook. Save it as CSV.",
    ),
    "no ending": ("", text(CSV), {}, "a file name without an extension is not supported."),
}


@pytest.mark.parametrize(("ending", "make", "options", "words"), REFUSED.values(), ids=REFUSED)
def test_file_without_a_table_is_an_error_with_a_fix(
    ending: str, make: Make, options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """The error names the file, what was found and what to do."""
    path = tmp_path / f"sheet{ending and '.'}{ending}"
    make(path)
    with pytest.raises(InputError) as caught:
        inspect_sheet(path, **options)

    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith(".")
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["folder.csv", "pipe.csv", "none.csv", "/dev/null", "x" * 999])
def test_path_that_is_not_a_file_is_an_error(name: str, tmp_path: Path) -> None:
    """A folder, a pipe, a device and an invalid name are reported without waiting."""
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(SheetError, match=r"(folder|pipe|file not found|regular file|too long)"):
        inspect_sheet(tmp_path / name)


def test_header_row_for_a_frame_is_an_error() -> None:
    """A frame has no row above its names."""
    with pytest.raises(InputError, match=r"header_row: a data frame has column names"):
        inspect_sheet(pd.DataFrame({"id": [A]}), header_row=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_file_without_permission_is_an_error(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's error (a lock of Excel, a missing permission) is reported."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / f"sheet.{ending}"
    path.write_text(CSV, encoding="utf-8")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SheetError) as caught:
        inspect_sheet(path)
    assert str(caught.value) == (
        f"{path}: cannot be read (Permission denied). "
        "Check its permissions, and close it in other programs."
    )


# --- Invalid rows --------------------------------------------------------------------------


def formatted(book: Any, ws: Any) -> None:  # noqa: ANN401
    formats = ["0%", "$#,##0", "#,##0", "000000", '0" AD"', "0.00", "yyyy-mm-dd", "[h]:mm"]
    put(ws, [["id", "title"]])
    for row, number_format in enumerate(formats, 1):
        ws.write(row, 0, f"{row:024}")
        ws.write(row, 1, 45_000, book.add_format({"num_format": number_format}))
    ws.write(len(formats) + 1, 0, f"{0:024}")
    ws.write(len(formats) + 1, 1, dt.time(7, 8), book.add_format({"num_format": "hh:mm"}))


def merged(_: object, ws: Any) -> None:  # noqa: ANN401
    put(ws, [["id", "title", "impact"], [A, "", "users wait"], [B, "", "none yet"]])
    ws.merge_range("B2:B3", "Disk full")


def merged_id(_: object, ws: Any) -> None:  # noqa: ANN401
    put(ws, [["id", "title", "impact"], ["", "Disk full", ""], ["", "", "none yet"]])
    ws.merge_range("A2:A3", A)


def errors(_: object, ws: Any) -> None:  # noqa: ANN401
    put(ws, [["id", "title"], [A], [B]])
    ws.write_formula(1, 1, "=A9", None, "#REF!")
    ws.write_number(2, 1, 6.9e23)


INVALID: Final[dict[str, tuple[str, Make, list[tuple[int, str]], dict[int, Any]]]] = {
    # name: extension, how it is made, (row, kind) of errors, requests of the other rows
    "formats of numbers": (
        *("xlsx", by_xlsxwriter(formatted)),
        *([(row, "cell_type") for row in range(2, 11)], {}),
    ),
    "merged texts": (
        *("xlsx", by_xlsxwriter(merged), [(3, "cell_type")]),
        {2: (A, {"title": "Disk full", "impact": "users wait"})},
    ),
    "merged ids": (
        *("xlsx", by_xlsxwriter(merged_id), [(3, "id_missing")]),
        one("Disk full"),
    ),
    "errors and lost digits": (
        *("xlsx", by_xlsxwriter(errors)),
        *([(2, "cell_type"), (3, "cell_type")], {}),
    ),
    "cells of libreoffice": (
        *("xlsx", copy_of("lo-cells.xlsx")),
        [
            *((row, "cell_type") for row in (3, 4, 5, 7, 9)),
            (10, "nothing_to_set"),
            (14, "cell_type"),
        ],
        {
            2: ("69da451e0000000000000001", {"title": "1234"}),
            6: ("69da451e0000000000000005", {"title": "TRUE"}),
            8: ("69da451e0000000000000007", {"title": "Disk full"}),
            11: ("69da451e000000000000000a", {"title": "disk full again"}),
            12: ("69da451e000000000000000b", {"title": "hidden row"}),
            13: ("69da451e000000000000000c", {"title": "merged title"}),
        },
    ),
    "a cell of 300,000 characters": (
        *("csv", text(f"id,title\n{A},{'x' * 300_000}\n{B},Disk full\n")),
        *([(2, "too_long")], {3: (B, {"title": "Disk full"})}),
    ),
    "zero byte": (
        *("csv", text(f"id,title\n{A},Disk\0 full\n{B},Disk full\n")),
        *([(2, "control_character")], {3: (B, {"title": "Disk full"})}),
    ),
    "zero byte far down": (
        *("csv", text("id,title,n\n" + ",,\n" * 999 + f"{A},Disk\0 full,\n{B},Disk full,\n")),
        *([(1001, "control_character")], {1002: (B, {"title": "Disk full"})}),
    ),
    "ids as numbers": (
        *("csv", text("id,title\n6.9E+23,Disk full\n")),
        *([(2, "id_number")], {}),
    ),
    "one incident in both cases, twice": (
        *("csv", text(f"id,title\n{A},Disk full\n{A.upper()},Disk fuller\n")),
        *([(2, "conflict"), (3, "conflict")], {}),
    ),
    "title of spaces": ("csv", text(f"id,title\n{A},\u3000 \u00a0 \n"), [(2, "only_spaces")], {}),
}


@pytest.mark.parametrize(("ending", "make", "row_errors", "rows"), INVALID.values(), ids=INVALID)
def test_uncertain_row_is_invalid_and_the_others_are_not(
    ending: str,
    make: Make,
    row_errors: list[tuple[int, str]],
    rows: dict[int, Any],
    tmp_path: Path,
) -> None:
    """An uncertain cell is reported in its row, never sent and never left out."""
    path = tmp_path / f"sheet.{ending}"
    make(path)
    found = inspect_sheet(path)

    assert (found.rows, found.row_errors) == (rows, row_errors)


# --- Modified files --------------------------------------------------------------------------


def replaced(path: Path) -> None:
    stat = path.stat()
    other = path.with_name("other")
    other.write_text(f"id,title\n{B},Disk FULL\n")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)


def edited(path: Path) -> None:
    stat = path.stat()
    path.write_text(f"id,title\n{B},Disk FULL\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("change", [replaced, edited])
def test_modification_that_keeps_size_and_time_is_detected(change: Make, tmp_path: Path) -> None:
    """Another file of the same size and date is not sent in place of the checked one."""
    path = tmp_path / "sheet.csv"
    path.write_text(f"id,title\n{A},Disk full\n")
    before = path.stat()
    with open_sheet(path) as sheet:
        change(path)
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (
            before.st_size,
            before.st_mtime_ns,
        )
        with pytest.raises(SheetError, match="the file was modified"):
            list(sheet.chunks())


def test_modification_while_rows_are_read_is_detected(tmp_path: Path) -> None:
    """Rows that are added during the run are not sent unchecked."""
    path = tmp_path / "sheet.csv"
    path.write_text("id,title\n" + f"{A},Disk full\n" * 9_000)
    with open_sheet(path) as sheet:
        chunks = sheet.chunks(1_000)
        next(chunks)
        with path.open("a") as file:
            file.write(f"{B},Disk full\n")
        with pytest.raises(SheetError, match="the file was modified"):
            next(chunks)


def test_command_reads_a_sheet_with_title_mapping_and_links(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """A title above, other column names, links for IDs: sent, reported and resumed."""
    (tmp_path / "october.csv").write_text(
        f"sep=;\nIncidents of October\n\nref;headline\nhttps://x.example/i/{A};Disk full\n"
        f"'{B};Queue full\nhttps://x.example/{A}/{B};No incident\n"
    )
    options = ("--sandbox", "--header-row", "3", "--map", "id=ref", "--map", "title=headline")
    first = command("run", "october.csv", *options, "--skip-invalid")
    again = command("run", "october.csv", *options, "--skip-invalid")
    report = read_csv(tmp_path / "october.sandbox.report.csv")

    assert sorted((line["row"], line["incident_id"], line["status"]) for line in report) == [
        ("4", A, "updated"),
        ("5", B, "updated"),
        ("6", f"https://x.example/{A}/{B}"[:59] + "…", "rejected"),
    ]
    for notice in (
        "october.csv: read as UTF-8, semicolon-separated, header in row 3",
        "october.csv: 1 ID read from links to incidents",
        "october.csv: quotes or invisible characters removed from 1 ID",
    ):
        assert notice in first.stderr
    assert "resumed; 2 of 3 rows already done" in again.stderr


def test_files_of_libreoffice_are_all_in_the_zoo() -> None:
    """No fixture is unused."""
    sheets = (path.name for path in FILES.glob("lo-*") if not path.name.startswith("lo-report"))
    used = set(sheets)
    made = {f"lo-{n}" for n in ("table.xlsx", "table.ods", "table.xls", "table.csv")}
    cells = {"lo-cells.xlsx", "lo-cells.ods"}
    assert used == made | cells | {"lo-table-from-ods.xlsx", "lo-from-csv.xlsx"}
