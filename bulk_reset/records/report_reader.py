"""Reading the report file: all of its lines, or what a resume needs of them.

A file that was saved by a spreadsheet is read as well: other quotes, line ends and delimiters, no
BOM, columns added or in another order. What a resume needs (status, fields, digest, and the id of
a written row) is read exactly, or is an error that names the line; a number or a time that cannot
be read counts as none.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt

from bulk_reset.core.argument_types import require_path
from bulk_reset.core.errors import InputError
from bulk_reset.core.input_file import open_input, why_not_text
from bulk_reset.core.outcome import Outcome
from bulk_reset.core.row_keys import numbers_at, pieces_at
from bulk_reset.records.history import (
    History,
    Lines,
    code_of,
    is_write,
    lines_of,
    mask_of,
    may_be_current,
)
from bulk_reset.records.report_columns import (
    BOM,
    COLUMNS,
    DIGEST_LENGTH,
    HEADER,
    outcome_of,
    status_and_fields,
)

HEADERS: Final = frozenset({HEADER, HEADER[len(BOM.encode()) :]})
_BOMS: Final = " \t\r\n\ufeff\u00ef\u00bb\u00bf"
"""A BOM, and the characters it becomes when it is decoded with a code page."""
_LONGEST_ROW_S: Final = 600.0
LONGEST_HEADER: Final = 1 << 13
_FIRST_LINE: Final = re.compile(r"([^\r\n]*)(?:\r|\n)")
_BLOCK_BYTES: Final = 1 << 18
"""Larger ones, and what is derived from them, leave the CPU's cache."""
_NOT_PLAIN: Final = (b'"', b"\r", b"\0")
"""In lines that are parsed one by one."""
_SAVE_AS_CSV: Final = "Save it as CSV in UTF-8."
_USE_A_REPORT: Final = "Use the NAME.report.csv of a run."


def beside(report: Path, ending: str) -> Path:
    """Return ``NAME.ending`` for ``NAME.report.csv``, in the same folder."""
    name = report.name
    for own in (".report.csv", ".csv"):
        if name.endswith(own):
            name = name.removesuffix(own)
            break
    return report.with_name(f"{name}.{ending}")


def read_report(path: str | os.PathLike[str]) -> Iterator[Outcome]:
    """Read a report's lines, in the order of finishing.

    Yields: outcomes; several of a row that was sent again. A torn last line is ignored.

    Raises:
        InputError: no such file, not a report, or an invalid line.
    """
    require_path("path", path)
    path = Path(path)
    try:
        with open_input(path) as file:
            if file.readline(LONGEST_HEADER) in HEADERS:
                # Line by line: a torn line may end within a character, and an open quote of an
                # edited file ends with its line, because no cell contains a line break.
                whole = (line[:-1] for line in file if line.endswith(b"\n"))
                rows = (next(csv.reader([line.decode(errors="replace")]), []) for line in whole)
                yield from _outcomes(path, rows, "undo the edit")
                return
        yield from _resaved_outcomes(path)
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc


def first_sent_at(path: Path) -> float:
    """Return a time before the first request of a report's runs; UTC epoch seconds.

    It is known from the first line only, whose row may have been sent again before it ended.
    """
    first = next((outcome.started_at or outcome.finished_at for outcome in read_report(path)), 0.0)
    return (first or path.stat().st_mtime) - _LONGEST_ROW_S


def _outcomes(path: Path, rows: Iterator[list[str]], fix: str) -> Iterator[Outcome]:
    for number in itertools.count(2):
        try:
            cells = next(rows, None)
            outcome = outcome_of(cells) if cells and any(cells) else None
        except (ValueError, csv.Error) as exc:
            raise InputError(
                f"{path}: line {number}: not a line of a report; it may have been edited. Remove "
                f"the line to send its row again, move the file to start from scratch, or {fix}."
            ) from exc
        if cells is None:
            return
        if outcome is not None:
            yield outcome


# --- Reports that a spreadsheet has saved ----------------------------------------------------


def is_resaved(path: Path) -> bool:
    """Return whether a file is a report that another program has saved."""
    with open_input(path) as file:
        start = file.read(LONGEST_HEADER)
    is_own = any(start.startswith(header) for header in HEADERS)
    return not is_own and _found(start)[0] != ""


def _found(start: bytes) -> tuple[str, list[str]]:
    """Return the delimiter of a header and its names; an empty delimiter if it is no report."""
    header = _FIRST_LINE.match(start.decode("utf-8-sig", "replace"))
    text = header[1] if header is not None else ""
    for delimiter in ",;\t" if text else "":
        names = [name.strip(_BOMS) for name in next(csv.reader([text], delimiter=delimiter), [])]
        if set(COLUMNS) <= set(names):
            return delimiter, names
    return "", []


def _resaved_outcomes(path: Path) -> Iterator[Outcome]:
    with open_input(path) as file:
        content = file.read()
    delimiter, names = _found(content[:LONGEST_HEADER])
    if not delimiter:
        why = why_not_text(content)
        fix = f"{_SAVE_AS_CSV} {_USE_A_REPORT}" if why else _USE_A_REPORT
        raise InputError(f"{path}: not a report of bulk-reset{why and f' ({why})'}. {fix}")
    # Some programs save in a code page; what a resume needs is ASCII in all of them.
    text = io.StringIO(content.decode("utf-8-sig", "replace"), newline="")
    rows = csv.reader(text, delimiter=delimiter)
    next(rows)
    fix = "undo the change of the spreadsheet (for example a long number that it has rounded)"
    yield from _outcomes(path, _as_written(rows, names), fix)


def _as_written(rows: Iterable[list[str]], names: list[str]) -> Iterator[list[str]]:
    """Yield the report's own cells, in its order."""
    for cells in rows:
        by_name = dict(zip_longest(names, cells, fillvalue=""))
        yield [by_name[name] for name in COLUMNS]


# --- What a resume needs ---------------------------------------------------------------------


def read_history(path: Path) -> History:
    """Read what a resume needs of a report; see ``read_report`` for what it raises.

    Lines without quotes are parsed many at a time, which is about eight times faster.
    """
    try:
        with open_input(path) as file:
            if file.readline(LONGEST_HEADER) in HEADERS:
                return History(blocks_of(file))
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc
    except (ValueError, csv.Error):
        pass  # Reading line by line below finds the invalid line.
    return History.of(read_report(path))


def blocks_of(file: IO[bytes]) -> Iterator[Lines]:
    """Yield the lines from the file's position on, many at a time.

    Raises:
        ValueError, csv.Error: some lines must be read one by one, or are invalid.
    """
    rest = b""
    while block := file.read(max(_BLOCK_BYTES, len(rest))):
        end = block.rfind(b"\n") + 1
        if not end:
            rest += block
            continue
        whole, rest = rest + block[:end], block[end:]
        if any(byte in whole for byte in _NOT_PLAIN):
            yield from lines_of(outcome_of(csv_cells(line)) for line in whole[:-1].split(b"\n"))
        else:
            yield _plain_lines(whole)


def _plain_lines(whole: bytes) -> Lines:
    """Parse lines without quotes, in which every comma separates cells."""
    text = np.frombuffer(whole, np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    commas = np.flatnonzero(text == ord(","))
    if len(commas) != len(ends) * (len(COLUMNS) - 1):
        raise ValueError("more or fewer cells")
    borders = commas.reshape(len(ends), -1)
    if (ends - borders[:, -1] != DIGEST_LENGTH + 1).any() or (borders[1:, 0] < ends[:-1]).any():
        raise ValueError("cells of another kind")
    # There are only a few different texts of status and fields, so each is parsed once.
    kinds, kind_of = _different(text, borders[:, 1] + 1, borders[:, 3])
    words = [status_and_fields(*kind.decode().split(",")) for kind in kinds]
    statuses = np.array([code_of(status) for status, _ in words], np.uint8)
    fields = np.array([mask_of(names) for _, names in words], np.uint32)
    is_id_length = borders[:, 1] - borders[:, 0] == DIGEST_LENGTH + 1
    if not is_id_length[is_write(statuses)[kind_of]].all():
        raise ValueError("an id of another length")
    has_incident = may_be_current(statuses)[kind_of] & is_id_length
    return Lines(
        numbers_at(text, borders[:, -1] + 1),
        numbers_at(text, borders[has_incident, 0] + 1),
        has_incident,
        fields[kind_of],
        statuses[kind_of],
    )


def _different(
    text: npt.NDArray[np.uint8], starts: npt.NDArray[np.intp], ends: npt.NDArray[np.intp]
) -> tuple[list[bytes], npt.NDArray[np.intp]]:
    """Return the different pieces of a text without NUL, and which of them each piece is."""
    lengths = ends - starts
    kinds: list[bytes] = []
    kind_of = np.empty(len(starts), np.intp)
    for length in np.unique(lengths).tolist():
        places = np.flatnonzero(lengths == length)
        pieces = pieces_at(text, starts[places], length)
        if pieces.tobytes() == pieces[0] * len(pieces):  # nearly always, and faster than sorting
            kind_of[places] = len(kinds)
            kinds.append(pieces[0])
        else:
            different, kind_of_piece = np.unique(pieces, return_inverse=True)
            kind_of[places] = kind_of_piece + len(kinds)
            kinds += different.tolist()
    return kinds, kind_of


def csv_cells(line: bytes) -> list[str]:
    """Return the cells of one line of the file."""
    return next(csv.reader([line.decode()]))
