"""Search and replace over incidents, as rules of ``edit_rules``.

All replacements are made in one pass, the longest text first, so a text that was put in is not
replaced again. Nothing but the given texts is searched: a text is no pattern.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import TEXT_LENGTHS
from bulk_reset.core.input_file import open_input
from bulk_reset.core.option_names import option, option_name
from bulk_reset.sheets.columns import field_named

_MAX_BYTES: Final = 1 << 20
_LONGEST_NAME: Final = 40
_PAIR: Final = 2


def read_glossary(path: Path) -> dict[str, str]:
    """Return old text -> new text of a CSV file with two columns, in UTF-8; it has no header.

    Raises:
        InputError: it cannot be read, or a line of it has no two texts.
    """
    where = option("glossary", str(path))
    try:
        with open_input(path) as file:
            content = file.read(_MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as exc:
        raise InputError(f"{where}: cannot be read ({exc.strerror}). Use a CSV file.") from exc
    except UnicodeDecodeError as exc:
        raise InputError(f"{where}: not UTF-8. Save it as CSV in UTF-8.") from exc
    if len(content) > _MAX_BYTES:
        raise InputError(f"{where}: larger than 1 MB. Use a list of texts, not the sheet.")
    found: dict[str, str] = {}
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        for cells in filter(any, reader):
            if len(cells) != _PAIR or not cells[0]:
                raise InputError(
                    f"{where}: line {reader.line_num}: not two texts. Write OLD,NEW, with texts "
                    "that have a comma in double quotes."
                )
            if found.setdefault(cells[0], cells[1]) != cells[1]:
                raise InputError(
                    f"{where}: line {reader.line_num}: {cells[0]!r} is there twice, with two new "
                    "texts. Remove one of the lines."
                )
    except csv.Error as exc:
        raise InputError(
            f"{where}: line {reader.line_num}: not CSV ({exc}). Close its quotes."
        ) from exc
    if not found:
        raise InputError(f"{where}: is empty. Write OLD,NEW on each line.")
    return found


def replacement_rules(
    texts: Mapping[str, str], fields: Sequence[str], *, whole_word: bool = False
) -> list[str]:
    """Return the rules that replace texts in fields.

    Args:
        texts: old text -> new text.
        fields: names of text fields.
        whole_word: leave out texts within a longer word of ASCII letters, digits and ``_``.

    Raises:
        InputError: a field has no text, or there is nothing to replace.
    """
    if not texts or "" in texts:
        raise InputError("no text to search for. Give the old and the new text.")
    named: list[str] = []
    for name in fields:
        field = field_named(name.strip())
        if field not in TEXT_LENGTHS:
            raise InputError(
                f"{option_name('in')} {name}: not a text field. Use {', '.join(TEXT_LENGTHS)}."
            )
        named.append(field)
    pairs = ", ".join(f"{_literal(old)}: {_literal(new)}" for old, new in texts.items())
    whole = ", true" if whole_word else ""
    return [
        f"{name}={{{{ {name} | replace_all({{{pairs}}}{whole}) }}}}"
        for name in dict.fromkeys(named)
    ]


def replacement_sheet(rules: Sequence[str], filters: str, first: str) -> Path:
    """Return the name of the sheet with the edits: the same for the same replacement.

    Args:
        first: a text that is searched for, or the name of the glossary.
    """
    words = re.sub(r"[^\w]+", "-", first).strip("-")[:_LONGEST_NAME] or "texts"
    digest = hashlib.sha256("\0".join([filters, *rules]).encode("utf-8", "replace")).hexdigest()
    return Path(f"replace-{words}-{digest[:6]}.csv")


def _literal(text: str) -> str:
    """Return a text as a template has it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
