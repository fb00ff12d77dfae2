"""Previous values: an incident's values before a row was sent to it, and what the row set.

``NAME.before.csv`` is written during the run, each line on the disk before its row is sent, so
that everything that was sent can be undone. It is a valid sheet too: its cells hold the previous
values that a cell can hold (not ``Ok``, nor a list). All values are also stored as JSON, in a
column of its own, and this column is read back: a spreadsheet that saves the file does not change
it, while it turns 007 into 7. All lines of a row count, in their order.

This is the file's only writer and reader. State: its end, moved only by ``append``, which may run
in another thread while the file is not used otherwise.
"""

from __future__ import annotations

import csv
import functools
import io
import itertools
import json
import os
import shutil
from array import array
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self

import numpy as np

from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.atomic_file import atomic_file, opener_like
from bulk_reset.core.csv_line import csv_line
from bulk_reset.core.custom_fields import is_custom, is_whole
from bulk_reset.core.errors import InputError, RunError
from bulk_reset.core.fields import FIELDS, ID_FIELD, SETTABLE_FIELDS
from bulk_reset.core.incident_ids import is_id
from bulk_reset.core.input_file import open_input, why_not_text
from bulk_reset.core.json_codec import loads_object
from bulk_reset.core.option_names import option
from bulk_reset.core.plan import NOTHING
from bulk_reset.core.row_keys import keys_of, place_of
from bulk_reset.core.safe_text import guard_formula, guard_json, unguard_formula
from bulk_reset.records.restorability import why_not_restorable
from bulk_reset.sheets.cell_rules import error_of
from bulk_reset.sheets.columns import OWN_PREFIX

BEFORE: Final = "before.csv"
"""The end of the file's name; it begins with that of the report."""
_OWN: Final = tuple(OWN_PREFIX + name for name in ("row", "digest", "link", "before", "wrote"))
COLUMNS: Final = (*FIELDS, *_OWN)
HEADER: Final = ("\ufeff" + ",".join(COLUMNS) + "\r\n").encode()
LONGEST_CELL: Final = 1 << 27
_MOST_ROWS: Final = 10**15
_encode: Final = json.JSONEncoder(ensure_ascii=False).encode
_encode_text: Final = json.encoder.encode_basestring
_encode_name: Final = functools.lru_cache(maxsize=1024)(_encode_text)


class PreviousValues(NamedTuple):
    """The previous values of an incident, and the new values of a row; a tuple for speed.

    Attributes:
        link: the incident's page.
        before: field -> previous value, of the fields that the row sets.
        wrote: field -> new value.
    """

    row_number: int
    digest: str
    incident_id: str
    link: str = ""
    before: Mapping[str, Any] = NOTHING
    wrote: Mapping[str, Any] = NOTHING


class PreviousValuesFile:
    """An open file of previous values; a torn last line is removed. The report's lock covers it.

    Args:
        like: the report; a new file gets no more permissions.

    Raises:
        InputError: it cannot be opened, or is another file; nothing was sent.
    """

    def __init__(self, path: Path, like: Path | None = None) -> None:
        self.path = path
        try:
            _rewrite_resaved(path)
            self._file = open(path, "a+b", 0, opener=opener_like(like))  # noqa: SIM115
            end = end_of_last_line(path)
            if end is None:
                self._file.close()
                raise InputError(
                    f"{path}: not a file of previous values; the file was not changed. Move it, "
                    f"or use {option('report', 'FILE')} to write elsewhere."
                )
            self._file.truncate(end)
            if end == 0:
                self._write(HEADER)
        except OSError as exc:
            raise InputError(
                f"{path}: the previous values cannot be written ({exc.strerror}). Free disk space, "
                f"use {option('report', 'FILE')} to write elsewhere, or {option('before', False)} "
                "to run without undo."
            ) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, rows: Iterable[PreviousValues]) -> None:
        """Append lines and write them to the disk.

        Raises:
            RunError: the disk is full or gone; none of the rows may be sent.
        """
        try:
            self._write("".join(map(line_of, rows)).encode())
            os.fsync(self._file.fileno())
        except OSError as exc:
            raise RunError(
                f"{self.path}: the previous values cannot be written ({exc.strerror}), so the run "
                "stopped. Free disk space, then run the same command again to resume."
            ) from exc

    def _write(self, content: bytes) -> None:
        while content:
            content = content[self._file.write(content) :]


def line_of(row: PreviousValues) -> str:
    """Return the line of a row, with its end."""
    before = row.before
    return csv_line(
        [
            row.incident_id,
            *[_cell(name, old) if (old := before.get(name)) else "" for name in SETTABLE_FIELDS],
            str(row.row_number),
            row.digest,
            guard_formula(row.link),
            _json(before),
            _json(row.wrote),
        ]
    )


def _cell(name: str, value: Any) -> str:  # noqa: ANN401  (JSON)
    # A sheet may not set all that an undo restores.
    if why_not_restorable(name, value) or error_of(name, value):
        return ""
    return guard_formula(value)


def _json(values: Mapping[str, Any]) -> str:
    # ``_encode`` makes an encoder each time, which takes as long as to encode.
    members = [
        f"{_encode_name(name)}: "
        f"{_encode_text(one) if type(one) is str else 'null' if one is None else _encode(one)}"
        for name, one in values.items()
    ]
    text = f"{{{', '.join(members)}}}"
    # A text with half of a surrogate pair cannot be written as it is.
    return guard_json(text if is_whole(text) else json.dumps(dict(values)))


def _rewrite_resaved(path: Path) -> None:
    """Restore the format of a file that another program has saved; keep that one with a ``~``."""
    if not path.exists():
        return
    with open_input(path) as file:
        first = file.readline(1 << 12)
    if HEADER.startswith(first) or end_of_last_line(path) is None:
        return
    text = "".join(map(line_of, read_previous_values(path)))
    shutil.copy2(path, f"{path}~")
    with atomic_file(path, like=path) as fresh:
        fresh.write(HEADER + text.encode())


class SentDigests(Container[str]):
    """The digests of the rows in a file of previous values; 8 bytes each.

    Attributes:
        count: lines of the file.
    """

    def __init__(self, path: Path) -> None:
        """Read the file; see ``read_previous_values`` for what is raised."""
        lines = _lines(path) if path.exists() else iter(())
        keys = array("Q")
        for some in iter(lambda: [c[_OWN[1]] for c in itertools.islice(lines, 10_000)], []):
            try:
                keys.extend(keys_of(some).tolist())
            except (ValueError, TypeError) as exc:
                wrong = next((n for n, one in enumerate(some) if not is_id(one or "")), 0)
                raise edited(path, len(keys) + wrong + 1) from exc
        self.count = len(keys)
        self._keys = np.sort(np.frombuffer(keys, np.uint64)) if keys else np.empty(0, np.uint64)

    def __contains__(self, digest: object) -> bool:
        return place_of(str(digest), self._keys) is not None


def read_previous_values(path: Path, first: int = 0) -> Iterator[PreviousValues]:
    """Read previous values in the order in which their rows were sent.

    A spreadsheet may have saved the file. A torn last line is ignored.

    Args:
        first: lines to skip at the start.

    Raises:
        InputError: no such file, another file, or an invalid line.
    """
    for number, cells in enumerate(itertools.islice(_lines(path), first, None), first + 1):
        try:
            values = _previous_values(cells)
        except (ValueError, TypeError, AttributeError, RecursionError) as exc:
            raise edited(path, number) from exc
        yield values


def edited(path: Path, number: int) -> InputError:
    """Return the error about a line; the first one is 1."""
    return InputError(
        f"{path}: row {number + 1:,}: not as a run wrote it; it may have been edited. Undo the "
        "edit."
    )


def _lines(path: Path) -> Iterator[dict[str, str]]:
    limit = csv.field_size_limit(LONGEST_CELL)
    number = 0
    try:
        end = end_of_last_line(path) or 0
        with open_input(path) as file:
            text = io.TextIOWrapper(io.BufferedReader(_Head(file, end)), "utf-8-sig", newline="")
            header = text.readline()
            delimiter = ";" if header.count(";") >= len(COLUMNS) - 1 else ","
            rows = itertools.chain([header], text)
            reader = csv.DictReader(rows, delimiter=delimiter)
            if not set(COLUMNS) <= set(reader.fieldnames or ()):
                raise _foreign(path)
            for number, cells in enumerate(reader, 1):  # noqa: B007  (for the error below)
                yield cells
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc
    except (UnicodeError, csv.Error) as exc:
        raise edited(path, number + 1) from exc
    finally:
        csv.field_size_limit(limit)


def _foreign(path: Path) -> InputError:
    with open_input(path) as file:
        why = why_not_text(file.read(1 << 12))
    fix = "Save it as CSV in UTF-8." if why else "Use the NAME.before.csv of the run."
    return InputError(f"{path}: not a file of previous values{why and f' ({why})'}. {fix}")


class _Head(io.RawIOBase):
    """The first bytes of a file, up to the end of its last complete line."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self._file, self._left = file, size

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401  (bytes that can be written)
        """Read some bytes; none at the end."""
        with memoryview(buffer) as view:
            count = self._file.readinto(view[: self._left])
        self._left -= count
        return count


def _previous_values(cells: dict[str, str]) -> PreviousValues:
    return values_of(cells[ID_FIELD], *(cells[name] for name in _OWN))


def values_of(  # noqa: PLR0913, PLR0917  (the columns that are read back)
    incident_id: str, row: str, digest: str, link: str, before_text: str, wrote_text: str
) -> PreviousValues:
    """Return the previous values of a line's cells.

    Raises:
        ValueError, TypeError, AttributeError, RecursionError: they are not as a run wrote them.
    """
    before, wrote = loads_object(before_text), loads_object(wrote_text)
    are_known = before.keys() == wrote.keys() and _are_known(tuple(before))
    number = int(row)
    is_row = 0 <= number < _MOST_ROWS
    if not (are_known and is_row and is_id(digest) and is_id(incident_id)):
        raise ValueError(before_text)
    return PreviousValues(number, digest, incident_id, unguard_formula(link), before, wrote)


@functools.lru_cache(maxsize=1024)
def _are_known(names: tuple[str, ...]) -> bool:
    return all(name in SETTABLE_FIELDS or name == ACTION_FIELD or is_custom(name) for name in names)


def end_of_last_line(path: Path) -> int | None:
    """Return where the last complete line ends; None for another file.

    Cells may contain line breaks in quotes: a line is complete when all its quotes are closed.
    """
    with open_input(path) as file:
        first = file.readline(1 << 12)
        if HEADER.startswith(first):
            end = len(first) if first == HEADER else 0
        elif all(name.encode() in first for name in _OWN):
            end = len(first)  # another program has saved it
        else:
            return None
        return end and _end_of_lines(file, end)


def _end_of_lines(file: IO[bytes], end: int) -> int:
    position, is_open = end, False
    for line in file:
        position += len(line)
        is_open ^= line.count(b'"') % 2 == 1
        if not is_open and line.endswith(b"\n"):
            end = position
    return end
