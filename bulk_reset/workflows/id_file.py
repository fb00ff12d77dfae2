"""Reads the ids of a pull from a text file: every id in it, or an error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.core.incident_ids import Readings, is_id, read_ids
from bulk_reset.core.input_file import open_input
from bulk_reset.core.option_names import option_name
from bulk_reset.core.safe_text import one_line
from bulk_reset.engine.options import PathLike
from bulk_reset.sheets.columns import field_named

_BETWEEN: Final = re.compile(r"[\s,;|]+")
_LIKE_AN_ID: Final = re.compile(r"[0-9a-f]{8,}|https?://", re.IGNORECASE)
"""A word of a first line that is meant as an id, so the line is not a header."""
_BETWEEN_COLUMNS: Final = re.compile(r"[,;\t|]")
_PART_OF_ID: Final = re.compile(r"[0-9a-f]{16,}|https?://\S+", re.IGNORECASE)
"""A word of another column that may be an id that was cut, or a link to an incident."""
_SHOWN: Final = 40


def read_id_file(path: PathLike) -> list[str]:
    """Return the incident ids of a text file: ids or links to incidents, in any number per line.

    A first line without ids is a header. Below a header of several columns, each line has one id;
    its other columns are ignored.

    Raises:
        InputError: it cannot be read, or has anything else; no id is left out.
    """
    where = f"{option_name('ids')} {path}"
    try:
        with open_input(Path(path), accepts_pipe=True) as file:
            lines = file.read().decode("utf-8-sig").splitlines()
    except OSError as exc:
        raise InputError(f"{where}: cannot be read ({exc.strerror}). Use a text file.") from exc
    except UnicodeDecodeError as exc:
        at = exc.object[: exc.start].count(b"\n") + 1
        raise InputError(f"{where}: line {at}: not UTF-8. Save the file as UTF-8.") from exc
    ids: dict[str, None] = {}
    is_table = is_below = False
    for number, line in enumerate(lines, 1):
        words = [word for word in _BETWEEN.split(line.strip()) if word.strip("\"'")]
        if not words:
            continue
        if not is_below and _is_header(line):
            is_table = _BETWEEN_COLUMNS.search(line) is not None
        else:
            ids |= dict.fromkeys(_ids_of(words, is_table, f"{where}: line {number}"))
        is_below = True
    if not ids:
        raise InputError(f"{where}: no incident ids. Write one on each line.")
    return list(ids)


def _is_header(line: str) -> bool:
    if _LIKE_AN_ID.search(line):
        return False
    names = [name.strip(" \"'") for name in _BETWEEN_COLUMNS.split(line)]
    return not re.search(r"\d", line) or ID_FIELD in map(field_named, names)


def _ids_of(words: Sequence[str], is_table: bool, where: str) -> Iterator[str]:
    """Yield the ids of a line; raises InputError for anything else."""
    found = read_ids([word.lower() for word in words], Readings())
    others = [word for word, one in zip(words, found, strict=True) if not is_id(one)]
    ids = [one for one in found if is_id(one)]
    if is_table and len(ids) > 1:
        raise InputError(f"{where}: {len(ids)} incident ids. Keep only the column of ids.")
    cut = [word for word in others if _PART_OF_ID.search(word)] if is_table and ids else others
    if cut:
        raise InputError(
            f"{where}: '{one_line(cut[0])[:_SHOWN]}' is not an incident id or a link to an "
            "incident. Fix it, or remove it."
        )
    yield from ids
