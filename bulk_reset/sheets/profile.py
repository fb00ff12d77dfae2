"""Profiles, read and written: TOML files with what has to be known to read one kind of sheet.

A profile names the columns, maps values, gives formats for dates and numbers, makes fields of
templates and ignores rows that are no incidents. It is named with an option, or found beside the
sheet as ``NAME.profile.toml``. ``profile_rows`` applies it.

    [source]
    worksheet = "Log"
    header_row = 3
    trim = true

    [columns]
    incident_id = "Ref"
    incident_severity = "Sev"

    [templates]
    title = "[{{ row.Region }}] {{ row.Name }}"

    [values.incident_severity]
    SEV1 = "Critical"

    [formats]
    Started = "%Y-%m-%d %H:%M"

    [ignore]
    blank_id = true
    [ignore.values]
    Ref = ["Total"]
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.errors import InputError
from bulk_reset.sheets.profile_tables import SOURCE_KEYS, TableReader, Texts, with_fields
from bulk_reset.sheets.toml_file import (
    Keys,
    Lines,
    Problem,
    TomlFileError,
    dotted,
    quoted,
    read_toml,
)
from bulk_reset.sheets.user_rules import FieldRule, rule_table

SUFFIX: Final = ".profile.toml"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How one kind of sheet is read.

    Attributes:
        worksheet, header_row, encoding, delimiter: how the file is read; auto-detected when None.
        trim: remove white space around the texts of the used columns.
        columns: field -> name of its column.
        templates: field -> template of its text, made of the cells of the row.
        values: field -> text of the sheet -> text that is sent.
        formats: column -> format of its dates and numbers.
        ignore_blank_id: leave out rows without an incident id.
        ignore_values: column -> texts; a row with one of them is left out.
        rules: field -> the user's own rules for its texts.
        path: the file that it was read from.
        lines: the line of each key in it.
    """

    worksheet: str | None = None
    header_row: int | None = None
    encoding: str | None = None
    delimiter: str | None = None
    trim: bool = False
    columns: Texts = field(default_factory=dict)
    templates: Texts = field(default_factory=dict)
    values: Mapping[str, Texts] = field(default_factory=dict)
    formats: Texts = field(default_factory=dict)
    ignore_blank_id: bool = False
    ignore_values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rules: Mapping[str, FieldRule] = field(default_factory=dict)
    path: Path | None = None
    lines: Lines = field(default_factory=dict, repr=False, compare=False)


class ProfileError(TomlFileError):
    """An invalid profile, or one that does not fit the sheet; nothing was sent."""

    def __init__(self, profile: Profile, problems: Iterable[Problem]) -> None:
        super().__init__(profile.path or "profile", profile.lines, problems)


def find_profile(sheet: Path) -> Path | None:
    """Return the profile beside a sheet; None if there is none."""
    path = sheet.with_suffix(SUFFIX)
    return path if path.is_file() else None


def read_profile(path: Path) -> Profile:
    """Read a profile.

    Raises:
        TomlFileError: it is invalid: every error, each with its line.
        InputError: it cannot be read.
    """
    file = read_toml(path, "profile")
    return profile_of(file.tables, path, file.lines)


def profile_of(
    tables: Mapping[str, Any], path: Path | None = None, lines: Lines | None = None
) -> Profile:
    """Make a profile of the tables of a file, which may also come from a program.

    Raises:
        ProfileError: it is invalid: every error, with its line where lines are given.
    """
    reader = TableReader()
    values = reader.read(tables)
    given = with_fields(lines or {}, {"columns", "templates", "values", "rules"})
    profile = Profile(path=path, lines=given, **values)
    if reader.problems:
        raise ProfileError(profile, reader.problems)
    return profile


# --- Writing ---------------------------------------------------------------------------------


def write_profile(path: Path, profile: Profile) -> None:
    """Write a profile; an existing file is not replaced.

    Raises:
        InputError: it cannot be written, or there is a file already.
    """
    if path.exists():
        raise InputError(
            f"{path}: already exists and may contain edits. Choose another name, or remove it."
        )
    with atomic_file(path) as file:
        file.write(profile_text(profile).encode())


def profile_text(profile: Profile) -> str:
    """Return the content of a profile's file."""
    source = {name: getattr(profile, name) for name in SOURCE_KEYS if getattr(profile, name)}
    blank = {"blank_id": True} if profile.ignore_blank_id else {}
    tables: dict[Keys, Mapping[str, Any]] = {
        ("source",): source,
        ("columns",): profile.columns,
        ("templates",): profile.templates,
        **{("values", name): texts for name, texts in profile.values.items()},
        ("formats",): profile.formats,
        **{("rules", name): rule_table(rule) for name, rule in profile.rules.items()},
        ("ignore",): blank,
        ("ignore", "values"): profile.ignore_values,
    }
    parts = ["\n".join(_table_lines(keys, table)) for keys, table in tables.items() if table]
    return "# How bulk-reset reads this sheet\n\n" + "\n\n".join(parts) + "\n"


def _table_lines(keys: Keys, table: Mapping[str, Any]) -> Iterator[str]:
    yield f"[{dotted(keys)}]"
    for name, value in table.items():
        yield f"{dotted((name,))} = {_as_toml(value)}"


def _as_toml(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_as_toml, value))}]"
    return json.dumps(value)
