"""Before-images: what stood in an incident before a row was sent to it, and what the row set.

``NAME.before.csv`` is written as the run goes on, each line on the disk before its row is sent,
so that there is a way back from whatever was ever sent. It is a valid sheet too: its cells hold
what stood there, where a cell can hold it (not ``Ok``, nor a list). All of it stands as JSON too,
in a column of its own, and that is what is read back: a spreadsheet that saves the file leaves it
alone, where it makes 7 of 007. Of several lines for one row, all count, in their order.

This is the file's only writer and reader. State: its end, moved by ``append`` alone, which may
run in another thread while nothing else is done with it.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import shutil
from array import array
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import numpy as np

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.custom_fields import is_custom, text_of
from bulk_reset.core.errors import InputError, RunError
from bulk_reset.core.fields import FIELDS, ID_FIELD, SETTABLE_FIELDS
from bulk_reset.core.row_keys import keys_of
from bulk_reset.core.safe_text import guard_formula, unguard_formula
from bulk_reset.sheets.columns import OWN_PREFIX
from bulk_reset.sheets.validation import error_of

_OWN: Final = tuple(OWN_PREFIX + name for name in ("row", "digest", "link", "before", "wrote"))
COLUMNS: Final = (*FIELDS, *_OWN)
_HEADER: Final = ("\ufeff" + ",".join(COLUMNS) + "\r\n").encode()
_LONGEST_CELL: Final = 1 << 27


@dataclass(frozen=True, slots=True)
class PreviousValues:
    """What stood in an incident before a row was sent, and what the row sets.

    Attributes:
        link: the incident's page.
        before: field -> value, of the fields that are set.
        wrote: field -> value.
    """

    row_number: int
    digest: str
    incident_id: str
    link: str = ""
    before: Mapping[str, Any] = field(default_factory=dict)
    wrote: Mapping[str, Any] = field(default_factory=dict)


def why_not_restorable(name: str, value: object) -> str:
    """Return why a value cannot be set again; empty where it can."""
    if is_custom(name):
        if value is None or value == "":
            return "it was not set, and the API says no way to unset a custom field"
        column = f"{name}:json"
        problem = error_of(column, text_of(column, value))
        return f"the API does not take what it was: {problem}" if problem else ""
    if value is None or value == "":
        return "it was empty, and the API cannot empty a field"
    if not isinstance(value, str):
        return "it was no text"
    if value == "Ok" and name not in _TEXTS:
        return "it was Ok, which the API cannot set"
    problem = error_of(name, value)
    return f"the API does not take what it was: {problem}" if problem else ""


_TEXTS: Final = SETTABLE_FIELDS[:-1]


class PreviousValuesFile:
    """An open file of before-images, its torn end mended; the lock is the report's.

    Raises:
        InputError: it cannot be opened, or is something else; nothing was sent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            _write_anew(path)
            self._file = path.open("a+b", buffering=0)
            end = _end_of_last_line(path)
            if end is None:
                self._file.close()
                raise InputError(
                    f"{path}: this is not a file of before-images, so it is left as it is. "
                    "Move it away, or say --report FILE to write elsewhere."
                )
            self._file.truncate(end)
            if end == 0:
                self._write(_HEADER)
        except OSError as exc:
            raise InputError(
                f"{path}: the before-images cannot be written ({exc.strerror}). Make room there, "
                "say --report FILE to write elsewhere, or --no-before to go without."
            ) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def append(self, count: Iterable[PreviousValues]) -> None:
        """Add lines and see them onto the disk.

        Raises:
            RunError: the disk is full or gone; none of the rows may be sent.
        """
        text = io.StringIO(newline="")
        csv.writer(text).writerows(map(_cells, count))
        try:
            self._write(text.getvalue().encode())
            os.fsync(self._file.fileno())
        except OSError as exc:
            raise RunError(
                f"{self.path}: what stood there before cannot be written ({exc.strerror}), so the "
                "run stopped. Make room, then give the same command again."
            ) from exc

    def _write(self, content: bytes) -> None:
        while content:
            content = content[self._file.write(content) :]


def _cells(image: PreviousValues) -> list[str]:
    cells = {
        name: guard_formula(value)
        for name, value in image.before.items()
        if name in SETTABLE_FIELDS and not why_not_restorable(name, value)
    }
    return [
        image.incident_id,
        *(cells.get(name, "") for name in SETTABLE_FIELDS),
        str(image.row_number),
        image.digest,
        guard_formula(image.link),
        _json(image.before),
        _json(image.wrote),
    ]


def _json(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(values)
    return text


def _write_anew(path: Path) -> None:
    """Write a file as it should be that another program has saved; keep that one with a ``~``."""
    if not path.exists():
        return
    with path.open("rb") as file:
        first = file.readline(1 << 12)
    if _HEADER.startswith(first) or _end_of_last_line(path) is None:
        return
    text = io.StringIO(newline="")
    csv.writer(text).writerows(map(_cells, read_previous_values(path)))
    shutil.copy2(path, f"{path}~")
    with atomic_file(path, like=path) as fresh:
        fresh.write(_HEADER + text.getvalue().encode())


class SentDigests(Container[str]):
    """The digests of rows that a file of before-images has; 8 bytes each.

    Attributes:
        images: how many the file has.
    """

    def __init__(self, path: Path) -> None:
        """Read the file; see ``read_previous_values`` for what is raised."""
        lines = _lines(path) if path.exists() else iter(())
        keys = array("Q")
        try:
            for some in iter(lambda: [c[_OWN[1]] for c in itertools.islice(lines, 10_000)], []):
                keys.extend(keys_of(some).tolist())
        except (ValueError, TypeError) as exc:
            raise _edited(path) from exc
        self.count = len(keys)
        self._keys = np.sort(np.frombuffer(keys, np.uint64)) if keys else np.empty(0, np.uint64)

    def __contains__(self, digest: object) -> bool:
        key = keys_of([str(digest)])[0]
        place = int(np.searchsorted(self._keys, key))
        return place < len(self._keys) and bool(self._keys[place] == key)


class LastWritten:
    """What a file of before-images says that was written last; read when it is first asked.

    In memory stay two numbers a value.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._last: dict[int, int] | None = None

    def is_last(self, incident_id: str, name: str, value: object) -> bool:
        """Tell whether a value is what was written last; raises as ``read_previous_values``."""
        if self._last is None:
            is_there = self._path is not None and self._path.exists()
            self._last = {
                hash((image.incident_id, name)): hash(repr(wrote))
                for image in (read_previous_values(self._path) if self._path and is_there else ())
                for name, wrote in image.wrote.items()
            }
        return self._last.get(hash((incident_id, name))) == hash(repr(value))


def read_previous_values(path: Path, first: int = 0) -> Iterator[PreviousValues]:
    """Read before-images in the order in which their rows were sent.

    A spreadsheet may have saved the file. A torn last line is left out.

    Args:
        first: how many to leave out.

    Raises:
        InputError: no such file, something else, or a line that cannot be one.
    """
    try:
        for cells in itertools.islice(_lines(path), first, None):
            yield _image(cells)
    except (ValueError, TypeError, AttributeError) as exc:
        raise _edited(path) from exc


def _edited(path: Path) -> InputError:
    return InputError(f"{path}: a line of it cannot be read; was it edited? Undo the edit.")


def _lines(path: Path) -> Iterator[dict[str, str]]:
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        end = _end_of_last_line(path) or 0
        with path.open("rb", buffering=0) as file:
            text = io.TextIOWrapper(io.BufferedReader(_Head(file, end)), "utf-8-sig", newline="")
            header = text.readline()
            delimiter = ";" if header.count(";") >= len(COLUMNS) - 1 else ","
            rows = itertools.chain([header], text)
            reader = csv.DictReader(rows, delimiter=delimiter)
            if not set(COLUMNS) <= set(reader.fieldnames or ()):
                raise InputError(f"{path}: this is not a file of before-images.")
            yield from reader
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc
    except (UnicodeError, csv.Error) as exc:
        raise _edited(path) from exc
    finally:
        csv.field_size_limit(limit)


class _Head(io.RawIOBase):
    """The first bytes of a file: what comes after the last whole line is not read."""

    def __init__(self, file: io.FileIO, size: int) -> None:
        self._file, self._left = file, size

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401  (bytes that can be written)
        """Read some bytes; none at the end."""
        with memoryview(buffer) as view:
            count = self._file.readinto(view[: self._left])
        self._left -= count
        return count


def _image(cells: dict[str, str]) -> PreviousValues:
    row, digest, link, before_text, wrote_text = (cells[name] for name in _OWN)
    before, wrote = json.loads(before_text), json.loads(wrote_text)
    if before.keys() != wrote.keys():
        raise ValueError(before_text)
    return PreviousValues(int(row), digest, cells[ID_FIELD], unguard_formula(link), before, wrote)


def _end_of_last_line(path: Path) -> int | None:
    """Return where the last whole line ends, None where the file is something else.

    Cells hold line breaks, in quotes: a line is whole where as many quotes opened as closed.
    """
    with path.open("rb") as file:
        first = file.readline(1 << 12)
        if _HEADER.startswith(first):
            end = len(first) if first == _HEADER else 0
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
