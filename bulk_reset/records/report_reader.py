"""Reading the report file back: all of its lines, or what a resume needs of them.

A file that somebody opened and saved with a spreadsheet is read as well: other quotes, ends of
lines and delimiters, no BOM, columns added or in another order. What a resume needs (status,
fields, digest, and the id where the row was written) is read for certain, or is an error that
names the line; of the rest, a number or a time that cannot be read is none.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import IO, Final

import numpy as np

from bulk_reset.core.custom_fields import COMMENT_FIELD, is_custom
from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import SETTABLE_FIELDS
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.row_keys import numbers_at
from bulk_reset.records.history import WRITES, History, Lines, code_of, is_write, lines_of, mask_of

COLUMNS: Final = (
    "row",
    "incident_id",
    "status",
    "fields",
    "attempts",
    "throttled",
    "http_status",
    "error_code",
    "error_message",
    "request_id",
    "started_at",
    "finished_at",
    "digest",
)
_BOM: Final = "\ufeff"
HEADER: Final = (_BOM + ",".join(COLUMNS) + "\n").encode()
_HEADERS: Final = frozenset({HEADER, HEADER[len(_BOM.encode()) :]})
_BOMS: Final = " \t\r\n\ufeff\u00ef\u00bb\u00bf"
"""A BOM, and what is left of one that was read in a code page and written in UTF-8."""
_WHOLE_NUMBER: Final = re.compile(r"([0-9]{1,15})(?:\.0)?")
"""As written here; or by pandas, where the column has empty cells."""
_LONGEST_HEADER: Final = 1 << 13
_DIGEST_BYTES: Final = 12
_IS_NUMBER: Final = re.compile(f"[0-9a-f]{{{_DIGEST_BYTES * 2}}}").fullmatch
_BLOCK_BYTES: Final = 1 << 21


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

    Yields: outcomes; several of one row where it was sent again. A torn last line is left out.

    Raises:
        InputError: no such file, not a report, or a line that cannot be one.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.readline(_LONGEST_HEADER) in _HEADERS:
                # Taken apart one by one: a torn line may end in the middle of a character, and a
                # quote that somebody has left open ends with its line, for no cell holds a break.
                whole = (line[:-1] for line in file if line.endswith(b"\n"))
                rows = (next(csv.reader([line.decode(errors="replace")]), []) for line in whole)
                yield from _outcomes(path, rows, "undo the edit")
                return
        yield from _resaved_outcomes(path)
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc
    except (UnicodeError, csv.Error) as exc:
        raise InputError(f"{path}: this is not a report of bulk-reset ({exc}).") from exc


def _outcomes(path: Path, rows: Iterable[list[str]], fix: str) -> Iterator[Outcome]:
    for number, cells in enumerate(rows, 2):
        if not any(cells):
            continue
        try:
            outcome = _outcome(cells)
        except ValueError as exc:
            raise InputError(
                f"{path}: line {number} is not a line of a report; was it edited? Take the line "
                f"out to have its row sent again, move the file away to start over, or {fix}."
            ) from exc
        yield outcome


# --- Reports that a spreadsheet has saved ----------------------------------------------------


def is_resaved(path: Path) -> bool:
    """Tell whether a file is a report, but not as it was written here."""
    with path.open("rb") as file:
        first = file.readline(_LONGEST_HEADER)
    return first not in _HEADERS and _found(first)[0] != ""


def _found(first: bytes) -> tuple[str, list[str]]:
    """Return the delimiter that fits a header, empty for none, and the names in it."""
    text = first.decode("utf-8-sig", "replace")
    for delimiter in ",;\t" if first.endswith(b"\n") else "":
        names = [name.strip(_BOMS) for name in next(csv.reader([text], delimiter=delimiter), [])]
        if set(COLUMNS) <= set(names):
            return delimiter, names
    return "", []


def _resaved_outcomes(path: Path) -> Iterator[Outcome]:
    content = path.read_bytes()
    delimiter, names = _found(content[: content.find(b"\n") + 1])
    if not delimiter:
        raise InputError(f"{path}: this is not a report of bulk-reset.")
    # Some save in a code page of their own; what the resume needs is ASCII in all of them.
    text = io.StringIO(content.decode("utf-8-sig", "replace"), newline="")
    rows = csv.reader(text, delimiter=delimiter)
    next(rows)
    fix = "undo what a spreadsheet made of it (a number of long digits, perhaps)"
    yield from _outcomes(path, _as_written(rows, names), fix)


def _as_written(rows: Iterable[list[str]], names: list[str]) -> Iterator[list[str]]:
    """Yield the cells in the report's own order, without what nobody needs."""
    for cells in rows:
        by_name = dict(zip_longest(names, cells, fillvalue=""))
        yield [by_name[name] for name in COLUMNS]


# --- What a resume needs ---------------------------------------------------------------------


def read_history(path: Path) -> History:
    """Read what a report tells of rows, and no more; see ``read_report`` for what it raises.

    Lines without quotes are taken apart many at a time, which is some eight times faster.
    """
    try:
        with path.open("rb") as file:
            if file.readline(_LONGEST_HEADER) in _HEADERS:
                return History(_blocks(file))
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc
    except (ValueError, csv.Error):
        pass  # Which line it is, only a closer look can tell.
    return History.of(read_report(path))


def _blocks(file: IO[bytes]) -> Iterator[Lines]:
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        whole, newline, rest = (rest + block).rpartition(b"\n")
        if b'"' in whole or b"\r" in whole:
            yield from lines_of(_outcome(csv_cells(line)) for line in whole.split(b"\n"))
        elif newline:
            yield _plain_lines(whole + newline)


def _plain_lines(whole: bytes) -> Lines:
    """Take apart lines that have no quotes, and so a comma for each border of cells."""
    text = np.frombuffer(whole, np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    commas = np.flatnonzero(text == ord(","))
    if len(commas) != len(ends) * (len(COLUMNS) - 1):
        raise ValueError("more or fewer cells")
    borders = commas.reshape(len(ends), -1)
    if (ends - borders[:, -1] != _DIGEST_BYTES * 2 + 1).any() or (borders[1:, 0] < ends[:-1]).any():
        raise ValueError("cells of another kind")
    # Status and fields together are a few different texts, so each is looked at once.
    before, after = borders[:, 1].tolist(), borders[:, 3].tolist()
    texts = [whole[a + 1 : b] for a, b in zip(before, after, strict=True)]
    kinds = {kind: number for number, kind in enumerate(set(texts))}
    words = [_status_and_fields(*kind.decode().split(",")) for kind in kinds]
    statuses = np.array([code_of(status) for status, _ in words], np.uint8)
    fields = np.array([mask_of(names) for _, names in words], np.uint32)
    kind_of = np.fromiter(map(kinds.__getitem__, texts), np.intp, len(texts))
    written = borders[is_write(statuses)[kind_of]]
    if (written[:, 1] - written[:, 0] != _DIGEST_BYTES * 2 + 1).any():
        raise ValueError("an id of another length")
    return Lines(
        numbers_at(text, borders[:, -1] + 1),
        numbers_at(text, written[:, 0] + 1),
        fields[kind_of],
        statuses[kind_of],
    )


def csv_cells(line: bytes) -> list[str]:
    """Return the cells of one line of the file."""
    return next(csv.reader([line.decode()]))


def _outcome(cells: list[str]) -> Outcome:
    row, incident_id, status_text, names, attempts, throttled, http_status, code, message = cells[
        :9
    ]
    request_id, started_at, finished_at, digest = cells[9:]
    status, fields = _status_and_fields(status_text, names)
    for text in (digest, incident_id) if status in WRITES else (digest,):
        if not _IS_NUMBER(text):
            raise ValueError(text)
    return Outcome(
        _as_number(row),
        incident_id,
        status,
        fields,
        digest,
        _as_number(attempts),
        _as_number(http_status),
        code,
        message,
        request_id,
        _as_epoch(started_at),
        _as_epoch(finished_at),
        _as_number(throttled),
    )


def _status_and_fields(status_text: str, names: str) -> tuple[Status, tuple[str, ...]]:
    status, fields = Status(status_text), tuple(names.split())
    are_known = all(
        name in SETTABLE_FIELDS or name == COMMENT_FIELD or is_custom(name) for name in fields
    )
    if not are_known or (status in WRITES and not fields):
        raise ValueError(names)
    return status, fields


def _as_number(text: str) -> int:
    found = _WHOLE_NUMBER.fullmatch(text)
    return int(found[1]) if found else 0


def _as_epoch(text: str) -> float:
    """Return a time as it was written here; nothing for one in a format of a spreadsheet's."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else 0.0
    except (ValueError, OverflowError):
        return 0.0
