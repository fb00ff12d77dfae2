"""Matches the columns of a sheet to fields, by English or Chinese names.

Case, spaces, ``_``, ``-`` and invisible characters are ignored, and letters that look alike are
equal, see ``core.look_alikes``. The option ``mapping`` (``--map``) sets the rest.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import TYPE_CHECKING, Final, NamedTuple

from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.custom_fields import COMMENT_FIELD, custom_column, field_of
from bulk_reset.core.errors import InputError, MissingColumnError, SheetError
from bulk_reset.core.fields import FIELDS, ID_FIELD, SETTABLE_FIELDS
from bulk_reset.core.look_alikes import plain_name
from bulk_reset.core.option_names import option, option_name

if TYPE_CHECKING:
    from bulk_reset.sheets.user_rules import UserRules

OWN_PREFIX: Final = "bulk-reset "
"""Prefix of columns that bulk-reset added to a file."""
WAS_PREFIX: Final = OWN_PREFIX + "was "
"""Prefix of columns with pulled values; the rest of the name is the field."""
CHECK_COLUMN: Final = OWN_PREFIX + "check"
"""The column with the check of a row's pulled values."""
GUARDED_COLUMN: Final = OWN_PREFIX + "guarded"
"""The column with the cells of a row that were guarded against formulas."""
COMMENT_SENT: Final = OWN_PREFIX + "comment sent"
"""The column of failed rows with the earliest time at which their comment may have been added."""
FAILED_COLUMNS: Final = tuple(OWN_PREFIX + name for name in ("row", "status", "reason"))
"""The columns of a file of failed rows."""
BEFORE_COLUMN: Final = OWN_PREFIX + "before"
"""The column of a file of previous values that has all of them."""
ANSWER_COLUMNS: Final = tuple(
    OWN_PREFIX + name for name in ("status", "old", "new", "error", "link")
)
"""The columns of an answer workbook."""
_OWN: Final = frozenset(
    {
        *(CHECK_COLUMN, GUARDED_COLUMN, COMMENT_SENT, BEFORE_COLUMN),
        *(*FAILED_COLUMNS, *ANSWER_COLUMNS, OWN_PREFIX + "digest", OWN_PREFIX + "wrote"),
    }
)

ONLY_IF: Final = "only if "
"""Prefix of columns with the values that incidents are expected to have."""
_ONLY_IF: Final = re.compile(r"\s*(?:only[\s_-]+if|仅当)[\s_-]*(?=\S)", re.IGNORECASE)

_NAMES: Final = {
    "incident_id": "id, incident, 故障ID, 故障编号, 事件ID, 事件编号",
    "title": "new title, incident title, name, 标题, 新标题, 故障标题, 事件标题",
    "description": "desc, details, 描述, 故障描述, 事件描述, 说明",
    "impact": "impacts, impact description, 影响, 故障影响, 影响范围, 影响描述",
    "root_cause": "cause, root cause analysis, rca, 根因, 根本原因, 故障原因, 故障根因, 根因分析",
    "resolution": "solution, fix, resolution notes, 解决方案, 解决办法, 解决方法, 处理方案",
    "incident_severity": "severity, level, 严重程度, 严重级别, 严重性, 级别, 故障级别, 故障等级",
    ACTION_FIELD: "动作, 处理动作",
    COMMENT_FIELD: "",
}


_HEADER_SEARCH_ROWS: Final = 20
"""The header is searched in this many rows that are not blank."""
_NAMES_SHOWN: Final = 20
_NAMES_COMPARED: Final = 200


_FIELD_OF: Final = {
    plain_name(name): field
    for field, names in _NAMES.items()
    for name in (field, *names.split(", "))
    if name
}


def field_named(name: str) -> str | None:
    """Return the field that a column's name means; None if it means no field."""
    return _FIELD_OF.get(plain_name(name)) or custom_column(name)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of the fields in a sheet.

    Attributes:
        position: field -> 0-based column, in the order of ``FIELDS``; then custom fields
            (``field:NAME`` or ``field:NAME:json``), the action and the comment.
        header: the column names in the sheet.
        notices: sentences for the user about unused columns and comments.
        expected: field -> 0-based column with the value that an incident must have, else its row
            is a conflict.
        rules: the user's own rules for the texts of fields.
        made_from: field -> the columns that its text is made of by a template of a profile.
        mapped_values: the fields whose texts a profile maps.
        is_exact: whether texts are sent as they are, because the API has had them before.
    """

    position: dict[str, int]
    header: tuple[str, ...]
    notices: tuple[str, ...] = ()
    is_exact: bool = False
    expected: dict[str, int] = attribute(default_factory=dict)
    rules: UserRules | None = None
    made_from: dict[str, tuple[int, ...]] = attribute(default_factory=dict)
    mapped_values: frozenset[str] = frozenset()

    def name(self, field: str) -> str:
        """Return the name of a field's column in the sheet."""
        position = self.position.get(field)
        return field if position is None else self.header[position]


def is_own(name: str) -> bool:
    """Return whether a column is one of those that bulk-reset adds; a user may have others."""
    return name in _OWN or was_field(name) is not None


def was_field(name: str) -> str | None:
    """Return the field of a column with pulled values; None for other columns."""
    field = name.removeprefix(WAS_PREFIX)
    if field == name:
        return None
    return custom_column(field) or (field if field in (*SETTABLE_FIELDS, ACTION_FIELD) else None)


def was_positions(header: Sequence[str]) -> dict[str, int]:
    """Return field -> 0-based column with its pulled values, in the order of the header."""
    found: dict[str, int] = {}
    for position, name in enumerate(header):
        field = was_field(name)
        if field is not None:
            found.setdefault(field, position)
    return found


def recognised(header: tuple[str, ...]) -> int:
    """Return how many names mean a field; the header has more of them than other rows."""
    return sum(field_named(name) is not None for name in header)


class Header(NamedTuple):
    """The header of a sheet.

    Attributes:
        row_number: 1-based; 0 if there is no header.
        is_below: whether rows that are not blank are above it.
    """

    row_number: int
    names: tuple[str, ...]
    is_below: bool = False

    @property
    def notice(self) -> str:
        """The end of a notice, if the header is not in the first row with content."""
        return f", header in row {self.row_number}" if self.is_below else ""


NO_HEADER: Final = Header(0, ())


def is_header(names: tuple[str, ...]) -> bool:
    """Return whether a row names the id and a field to set, which only a header does."""
    fields = {field_named(name) for name in names} - {None}
    return ID_FIELD in fields and len(fields) > 1


def is_one_name(one: str, other: str) -> bool:
    """Return whether two column names mean the same."""
    named = field_named(one)
    return plain_name(one) == plain_name(other) or (
        named is not None and named == field_named(other)
    )


def find_header(rows: Iterable[Sequence[object]], header_row: int | None) -> Header:
    """Find the header, which may be below blank rows and a title.

    It is the given row; else the first of 20 rows for which ``is_header`` is true; else the
    first row that is not blank, because a mapping may explain its names.

    Args:
        rows: all rows of the sheet from the first one, including blank rows.
        header_row: 1-based; auto-detected if None.
    """
    first: Header | None = None
    start = (header_row or 1) - 1
    searched = 0
    for row_number, cells in enumerate(itertools.islice(rows, start, None), start + 1):
        names = tuple(str(cell).strip() for cell in cells)
        if header_row is not None:
            return Header(row_number, names, is_below=header_row > 1) if any(names) else NO_HEADER
        if not any(names):
            continue
        if is_header(names):
            return Header(row_number, names, is_below=first is not None)
        first = first or Header(row_number, names)
        searched += 1
        if searched == _HEADER_SEARCH_ROWS:
            break
    return first or NO_HEADER


def bind(
    header: tuple[str, ...],
    mapping: Mapping[str, str],
    path: str,
    *,
    is_pulled: bool = False,
    also_used: Collection[int] = (),
) -> Columns:
    """Find each field's column.

    Args:
        header: the sheet's column names.
        mapping: field -> column name; takes precedence over matching by name.
        path: named in errors.
        is_pulled: whether the other columns are read-only, so that no notice names them.
        also_used: columns that are used besides, so that no notice names them.

    Raises:
        MissingColumnError: no id, no field to set, or a mapped column that does not exist.
        SheetError: two columns for one field.
        InputError: the mapping names a field that does not exist.
    """
    position_of = _positions_of_fields(header, _mapped_fields(mapping), path)
    _require(position_of, header, path)
    _refuse_two_types(position_of, path)
    expected = _expected_positions(header, path)
    used = {*position_of.values(), *expected.values(), *also_used}
    notices = () if is_pulled else _notices(header, used)
    if COMMENT_FIELD in position_of:
        name = header[position_of[COMMENT_FIELD]]
        notices += (f"{name!r} will be added as comments, which cannot be undone",)
    return Columns(position_of, header, notices, expected=expected)


def expected_field(name: str) -> str | None:
    """Return the field of a column ``only if FIELD``; empty for no field; None for other names."""
    found = _ONLY_IF.match(name)
    if found is None:
        return None
    field = field_named(name[found.end() :])
    return field if field not in (None, ID_FIELD, COMMENT_FIELD) else ""


def _expected_positions(header: tuple[str, ...], path: str) -> dict[str, int]:
    """Return field -> column with its expected values.

    Raises:
        SheetError: two columns for one field, or a misspelled field: its condition would be
            ignored.
    """
    found: dict[str, int] = {}
    for position, name in enumerate(header):
        field = expected_field(name)
        if field is None:
            continue
        rest = _ONLY_IF.sub("", name)
        if not field and (near := _near(rest)):
            raise SheetError(
                f"{path}: column {name!r}: {rest!r} is not a field. Rename the column to "
                f"'{ONLY_IF}{near}'."
            )
        if field in found:
            raise SheetError(
                f"{path}: more than one column '{ONLY_IF}{field}': {header[found[field]]!r} and "
                f"{name!r}. Remove one."
            )
        if field:
            found[field] = position
    return found


def _mapped_fields(mapping: Mapping[str, str]) -> dict[str, str]:
    """Return field -> column name; the mapping may use any name of a field."""
    mapped: dict[str, str] = {}
    for alias, name in mapping.items():
        field = field_named(alias)
        if field is None:
            raise InputError(
                f"{option('mapping', {alias: name})}: {alias!r} is not a field. "
                f"Use one of {', '.join(FIELDS)}, {ACTION_FIELD}, {COMMENT_FIELD} or field:NAME."
            )
        if field in mapped:
            raise InputError(
                f"{option_name('mapping')}: {field} is mapped twice. Remove one of the two."
            )
        mapped[field] = name
    return mapped


def _positions_of_fields(
    header: tuple[str, ...], mapped: dict[str, str], path: str
) -> dict[str, int]:
    """Return field -> 0-based column, of the fields that the sheet has."""
    customs = filter(None, map(custom_column, header))
    found: dict[str, list[int]] = {
        one: [] for one in (*FIELDS, *customs, ACTION_FIELD, COMMENT_FIELD)
    }
    for target, name in mapped.items():
        found[target] = _positions(header, name, target, path)
    taken = {position for positions in found.values() for position in positions}
    for position, name in enumerate(header):
        matched = field_named(name)
        if matched is not None and matched not in mapped and position not in taken:
            found[matched].append(position)
    for target, positions in found.items():
        if len(positions) > 1:
            names = [header[p] for p in positions]
            shown = " and ".join(f"{header[p]!r} (column {p + 1})" for p in positions)
            # A mapping cannot choose between two columns of the same name.
            choice = f", or use {option('mapping', {target: names[0]})}"
            fix = "Remove or rename one" + (choice if len(set(names)) == len(names) else "")
            raise SheetError(f"{path}: more than one column for {target}: {shown}. {fix}.")
    return {target: positions[0] for target, positions in found.items() if positions}


def _refuse_two_types(position_of: dict[str, int], path: str) -> None:
    fields = [field_of(column) for column in position_of]
    twice = next((name for name in fields if fields.count(name) > 1), None)
    if twice is not None:
        raise SheetError(f"{path}: {twice!r} and '{twice}:json' set the same field. Remove one.")


def _positions(header: tuple[str, ...], name: str, field: str, path: str) -> list[int]:
    exact = [p for p, own in enumerate(header) if own == name]
    positions = exact or [p for p, own in enumerate(header) if plain_name(own) == plain_name(name)]
    if not positions:
        near = difflib.get_close_matches(name, header, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "Use a column name from the header."
        raise MissingColumnError(f"{field} named {name!r}", header, path, hint)
    return positions


def _require(position_of: dict[str, int], header: tuple[str, ...], path: str) -> None:
    used = set(position_of.values())
    free = [name for p, name in enumerate(header) if p not in used][:_NAMES_COMPARED]
    if ID_FIELD not in position_of:
        near = next((name for name in free if _near(name) == ID_FIELD), None)
        hint = f"If it is {near!r}, use {option('mapping', {ID_FIELD: near})}." if near else ""
        if sum(map(bool, header)) == 1:
            # A title above the table, or a wrong delimiter.
            hint = hint or (
                f"If the header is another row, set {option_name('header_row')}; "
                f"if all columns were read as one, set {option_name('delimiter')}."
            )
        raise MissingColumnError(ID_FIELD, header, path, hint)
    if len(position_of) == 1:
        hint = next(
            (
                f"If {name!r} is one of them, use {option('mapping', {field: name})}."
                for name in free
                if (field := _near(name))
            ),
            "Add a column, or map one, for example "
            f"{option('mapping', {SETTABLE_FIELDS[0]: 'COLUMN NAME'})}.",
        )
        fields = ", ".join(SETTABLE_FIELDS)
        raise MissingColumnError(f"any field to update ({fields})", header, path, hint)


def _near(name: str) -> str | None:
    """Return the field that a misspelled name may mean."""
    close = difflib.get_close_matches(plain_name(name), _FIELD_OF, n=1, cutoff=0.75)
    return _FIELD_OF[close[0]] if close else None


def _notices(header: tuple[str, ...], used: set[int]) -> tuple[str, ...]:
    unused = [
        name
        for position, name in enumerate(header)
        if position not in used and name.strip() and not is_own(name)
    ]
    notices = []
    if unused:
        more = len(unused) - _NAMES_SHOWN
        shown = ", ".join(repr(name) for name in unused[:_NAMES_SHOWN])
        notices.append(f"not used: {shown}" + (f" and {more:,} more" if more > 0 else ""))
    # Comparing thousands of names takes longer than reading the sheet.
    for name in unused[:_NAMES_COMPARED]:
        field = _near(name)
        if field is not None:
            notices.append(
                f"{name!r} may be {field}; if so, use {option('mapping', {field: name})}"
            )
    return tuple(notices)
