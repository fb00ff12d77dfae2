"""Corrections of a sheet that is not changed itself: its cells are replaced while it is read.

A file of corrections is JSON: the sheet's hash, the texts of single cells, and for whole columns
which value is replaced by which. This is its only reader and writer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.errors import InputError
from bulk_reset.core.file_hash import hash_file
from bulk_reset.core.input_file import open_input
from bulk_reset.core.option_names import option
from bulk_reset.sheets.chunk import Chunk

if TYPE_CHECKING:
    from bulk_reset.sheets.sheet import Source

_FORMAT: Final = "bulk-reset corrections"
_VERSION: Final = 1
_MOST_BYTES: Final = 1 << 28

Cells = Mapping[int, Mapping[int, str]]
"""row_number -> 0-based column -> text."""
Values = Mapping[int, Mapping[str, str]]
"""0-based column -> text of a cell without surrounding spaces -> new text."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """What is replaced: single cells, and values of whole columns where no cell is replaced."""

    cells: Cells = field(default_factory=dict)
    values: Values = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.cells or self.values)

    @classmethod
    def read(cls, path: Path, sheet: Path | None) -> Self:
        """Read a file of corrections.

        Args:
            sheet: the file that is corrected; None if it is no file.

        Raises:
            InputError: it cannot be read, or is of another sheet.
        """
        where = option("corrections", str(path))
        try:
            with open_input(path) as file:
                content = file.read(_MOST_BYTES + 1)
        except OSError as exc:
            raise InputError(f"{where}: cannot be read ({exc.strerror or exc}).") from exc
        found = _parsed(content)
        if found is None:
            raise InputError(
                f"{where}: not a file of corrections. Use one that bulk-reset web has written."
            )
        sha256, cells, values = found
        if sheet is None or hash_file(sheet).sha256 != sha256:
            raise InputError(f"{where}: made for another sheet. Remove this option.")
        return cls(cells, values)

    def write(self, path: Path, sheet: Path) -> None:
        """Write a file of corrections; raises OSError."""
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "sheet_sha256": hash_file(sheet).sha256,
            "cells": self.cells,
            "values": self.values,
        }
        with atomic_file(path, like=sheet) as file:
            file.write(json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n")

    def applied(self, chunk: Chunk) -> Chunk:
        """Return a chunk with its cells replaced; a replaced cell is no longer uncertain."""
        columns, odd = list(chunk.columns), dict(chunk.odd_cells)
        for column, texts in self.values.items():
            if column < len(columns):
                columns[column] = [texts.get(cell.strip(), cell) for cell in columns[column]]
        touched = self.cells.keys() & set(chunk.numbers) if self.cells else set()
        if touched:
            columns = [list(cells) for cells in columns]
            place_of = {number: place for place, number in enumerate(chunk.numbers)}
            for number in touched:
                for column, text in self.cells[number].items():
                    if column < len(columns):
                        columns[column][place_of[number]] = text
                        odd.pop((number, column), None)
        may_have_controls = chunk.may_have_controls or bool(touched or self.values)
        return replace(chunk, columns=columns, odd_cells=odd, may_have_controls=may_have_controls)


class CorrectedSource:
    """The source of a sheet, with corrections applied to what it reads; see ``Source``."""

    def __init__(self, source: Source, corrections: Corrections) -> None:
        self._source, self._corrections = source, corrections
        self.header_row, self.header = source.header_row, source.header
        self.notice = source.notice

    def read(self, chunk_rows: int) -> Iterator[Chunk]:
        """Yield the rows below the header in file order, including blank rows."""
        return map(self._corrections.applied, self._source.read(chunk_rows))


def _parsed(content: bytes) -> tuple[str, Cells, Values] | None:
    try:
        found: Any = json.loads(content) if len(content) <= _MOST_BYTES else None
        if (found["format"], found["version"]) != (_FORMAT, _VERSION):
            return None
        cells = {
            int(row): {int(column): _text(text) for column, text in texts.items()}
            for row, texts in found["cells"].items()
        }
        values = {
            int(column): {_text(old): _text(new) for old, new in texts.items()}
            for column, texts in found["values"].items()
        }
        return _text(found["sheet_sha256"]), cells, values
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
