"""Which column of a sheet is which field: by name, in English or Chinese.

Case, spaces, ``_`` and ``-`` do not matter. What the names do not tell, ``--map`` does.
"""

from __future__ import annotations

import difflib
import itertools
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bulk_reset.core.custom_fields import COMMENT_FIELD, custom_column, field_of
from bulk_reset.core.errors import InputError, MissingColumnError, SheetError
from bulk_reset.core.fields import FIELDS, ID_FIELD, SETTABLE_FIELDS

OWN_PREFIX: Final = "bulk-reset "
"""Columns that start so were added by this tool to a file of its own."""
WAS_PREFIX: Final = OWN_PREFIX + "was "
"""Columns that start so hold what the column of that name held when the sheet was made."""

_NAMES: Final = {
    "incident_id": "id, incident, 故障ID, 故障编号, 事件ID, 事件编号",
    "title": "new title, incident title, name, 标题, 新标题, 故障标题, 事件标题",
    "description": "desc, details, 描述, 故障描述, 事件描述, 说明",
    "impact": "impacts, impact description, 影响, 故障影响, 影响范围, 影响描述",
    "root_cause": "cause, root cause analysis, rca, 根因, 根本原因, 故障原因, 故障根因, 根因分析",
    "resolution": "solution, fix, resolution notes, 解决方案, 解决办法, 解决方法, 处理方案",
    "incident_severity": "severity, level, 严重程度, 严重级别, 严重性, 级别, 故障级别, 故障等级",
    COMMENT_FIELD: "",
}


_ROWS_LOOKED_AT: Final = 20
"""A header stands among so many rows that are not blank."""
_NAMES_SHOWN: Final = 20
_NAMES_COMPARED: Final = 200


def _plain(name: str) -> str:
    """Return the name without what does not matter in it."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in folded if c not in " _-\t\r\n\u00a0\ufeff\u200b")


_FIELD_OF: Final = {
    _plain(name): field
    for field, names in _NAMES.items()
    for name in (field, *names.split(", "))
    if name
}


def field_named(name: str) -> str | None:
    """Return the field that a column's name means, None for a name of no meaning here."""
    return _FIELD_OF.get(_plain(name)) or custom_column(name)


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the fields stand in a sheet.

    Attributes:
        position: field -> 0-based column, in the order of ``FIELDS``; then custom fields
            (``field:NAME`` or ``field:NAME:json``) and the comment.
        header: the sheet's own names.
        was: field -> the column with what the sheet was made from.
        notices: sentences for the user about columns that mean nothing here.
    """

    position: dict[str, int]
    header: tuple[str, ...]
    notices: tuple[str, ...] = ()
    was: dict[str, int] = field(default_factory=dict)

    def name(self, field: str) -> str:
        """Return the sheet's own name of a field's column."""
        position = self.position.get(field)
        return field if position is None else self.header[position]


def recognised(header: tuple[str, ...]) -> int:
    """Count the names that mean a field; tells a header from other lines."""
    return sum(field_named(name) is not None for name in header)


class Header(NamedTuple):
    """A header and where it stands.

    Attributes:
        row_number: 1-based; 0 where there is none.
        is_below: whether rows that are not blank stand above it.
    """

    row_number: int
    names: tuple[str, ...]
    is_below: bool = False

    @property
    def notice(self) -> str:
        """What is to be said of where it was found."""
        return f", header in row {self.row_number}" if self.is_below else ""


NO_HEADER: Final = Header(0, ())


def is_header(names: tuple[str, ...]) -> bool:
    """Tell whether a row names the id and a field to set, as no other row does."""
    fields = {field_named(name) for name in names} - {None}
    return ID_FIELD in fields and len(fields) > 1


def find_header(rows: Iterable[Sequence[object]], header_row: int | None) -> Header:
    """Find the header below blank rows and below a title of the sheet.

    It is the row that was said; else the first that ``is_header`` among the first 20; else the
    first that is not blank, whose names a mapping may explain.

    Args:
        rows: from the first of the sheet on, blank ones too.
        header_row: 1-based, None to find it.
    """
    first: Header | None = None
    start = (header_row or 1) - 1
    looked_at = 0
    for row_number, cells in enumerate(itertools.islice(rows, start, None), start + 1):
        names = tuple(str(cell).strip() for cell in cells)
        if header_row is not None:
            return Header(row_number, names, is_below=header_row > 1) if any(names) else NO_HEADER
        if not any(names):
            continue
        if is_header(names):
            return Header(row_number, names, is_below=first is not None)
        first = first or Header(row_number, names)
        looked_at += 1
        if looked_at == _ROWS_LOOKED_AT:
            break
    return first or NO_HEADER


def bind(header: tuple[str, ...], mapping: dict[str, str], path: str) -> Columns:
    """Find each field's column.

    Args:
        header: the sheet's column names.
        mapping: field -> column name, which wins over what the names tell.
        path: named in errors.

    Raises:
        MissingColumnError: no id, no field to set, or a mapped name that is not there.
        SheetError: two columns for one field.
        InputError: the mapping names something that is not a field.
    """
    found: dict[str, list[int]] = {field: [] for field in FIELDS}
    customs = filter(None, map(custom_column, header))
    found |= {field: [] for field in (*customs, COMMENT_FIELD)}
    mapped: dict[str, str] = {}
    for alias, name in mapping.items():
        field = _mapped_field(alias)
        if field in mapped:
            raise InputError(f"--map: {field} is mapped twice. Say it once.")
        mapped[field] = name
    for field, name in mapped.items():
        found[field] = _positions(header, name, field, path)
    taken = {position for positions in found.values() for position in positions}
    for position, name in enumerate(header):
        guessed = field_named(name)
        if guessed is not None and guessed not in mapped and position not in taken:
            found[guessed].append(position)
    for field, positions in found.items():
        if len(positions) > 1:
            names = " and ".join(f"{header[p]!r} (column {p + 1})" for p in positions)
            raise SheetError(
                f"{path}: two columns for {field}: {names}. "
                f'Remove one, or choose: --map {field}="NAME OF THE COLUMN".'
            )
    position_of = {field: positions[0] for field, positions in found.items() if positions}
    _require(position_of, header, path)
    _refuse_two_types(position_of, path)
    was_at = {
        custom_column(name.removeprefix(WAS_PREFIX)) or name.removeprefix(WAS_PREFIX): position
        for position, name in reversed(list(enumerate(header)))
        if name.startswith(WAS_PREFIX)
    }
    was = {field: was_at[field] for field in position_of if field in was_at}
    notices = _notices(header, set(position_of.values()), is_pulled=bool(was))
    if COMMENT_FIELD in position_of:
        name = header[position_of[COMMENT_FIELD]]
        notices += (f"{name!r} is added to the incidents as comments, which cannot be undone",)
    return Columns(position_of, header, notices, was)


def _refuse_two_types(position_of: dict[str, int], path: str) -> None:
    fields = [field_of(column) for column in position_of]
    twice = next((name for name in fields if fields.count(name) > 1), None)
    if twice is not None:
        raise SheetError(f"{path}: {twice!r} and '{twice}:json' are one field. Remove one.")


def _mapped_field(name: str) -> str:
    field = field_named(name)
    if field is None:
        raise InputError(f"--map {name}=…: no such field. The fields are {', '.join(FIELDS)}.")
    return field


def _positions(header: tuple[str, ...], name: str, field: str, path: str) -> list[int]:
    exact = [p for p, own in enumerate(header) if own == name]
    positions = exact or [p for p, own in enumerate(header) if _plain(own) == _plain(name)]
    if not positions:
        near = difflib.get_close_matches(name, header, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "Say the name as the header has it."
        raise MissingColumnError(f"{field} named {name!r}", header, path, hint)
    return positions


def _require(position_of: dict[str, int], header: tuple[str, ...], path: str) -> None:
    used = set(position_of.values())
    free = [name for p, name in enumerate(header) if p not in used][:_NAMES_COMPARED]
    if ID_FIELD not in position_of:
        near = next((name for name in free if _near(name) == ID_FIELD), None)
        hint = f'Is it {near!r}? Then say --map {ID_FIELD}="{near}".' if near else ""
        if sum(map(bool, header)) == 1:
            # A title above the table, or a delimiter that splits nothing.
            hint = hint or (
                "If the header is another row, say --header-row N; "
                "if it is one column only, say --delimiter."
            )
        raise MissingColumnError(ID_FIELD, header, path, hint)
    if len(position_of) == 1:
        near = next((name for name in free if _near(name)), None)
        hint = (
            f'Is {near!r} one of them? Then say --map {_near(near)}="{near}".'
            if near
            else 'Add a column, or say which one it is, for example --map title="NAME".'
        )
        raise MissingColumnError(
            f"any field to set ({', '.join(SETTABLE_FIELDS)})", header, path, hint
        )


def _near(name: str) -> str | None:
    """Return the field that a misspelt name may mean."""
    close = difflib.get_close_matches(_plain(name), _FIELD_OF, n=1, cutoff=0.75)
    return _FIELD_OF[close[0]] if close else None


def _notices(
    header: tuple[str, ...], used: set[int], *, is_pulled: bool = False
) -> tuple[str, ...]:
    if is_pulled:
        # The others were put there to be read.
        return ()
    unused = [
        name
        for position, name in enumerate(header)
        if position not in used and name.strip() and not name.startswith(OWN_PREFIX)
    ]
    notices = []
    if unused:
        more = len(unused) - _NAMES_SHOWN
        shown = ", ".join(repr(name) for name in unused[:_NAMES_SHOWN])
        notices.append(f"not used: {shown}" + (f" and {more:,} more" if more > 0 else ""))
    # Comparing thousands of names would take longer than reading the sheet.
    for name in unused[:_NAMES_COMPARED]:
        field = _near(name)
        if field is not None:
            notices.append(f'{name!r} looks like {field}: if it is, say --map {field}="{name}"')
    return tuple(notices)
