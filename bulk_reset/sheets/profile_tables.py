"""The tables of a profile's file: which keys there are, and what is wrong with the given ones."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.custom_fields import COMMENT_FIELD
from bulk_reset.core.fields import FIELDS, ID_FIELD
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.cell_formats import CellFormat
from bulk_reset.sheets.columns import field_named
from bulk_reset.sheets.toml_file import Keys, Lines, Problem, dotted
from bulk_reset.sheets.user_rules import rules_in

Texts = Mapping[str, str]

SOURCE_KEYS: Final[dict[str, type]] = {
    "worksheet": str,
    "header_row": int,
    "encoding": str,
    "delimiter": str,
    "trim": bool,
}
_WRONG_TYPE: Final = {
    str: 'not a text. Write it in quotes: "…".',
    int: "not a whole number. Write it without quotes.",
    bool: "not true or false. Use one of them, without quotes.",
}


def _shown(value: object) -> str:
    return one_line(repr(value))[:60]


def with_fields(lines: Lines, tables: Collection[str]) -> dict[Keys, int]:
    """Return the lines of keys also under the names of fields, which errors use."""
    found = dict(lines)
    for keys, line in lines.items():
        if len(keys) > 1 and keys[0] in tables and (field := field_named(keys[1])):
            found.setdefault((keys[0], field, *keys[2:]), line)
    return found


class TableReader:
    """Reads the tables of a profile and collects what is wrong in them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def read(self, tables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes of the profile; what is wrong is added to ``problems``."""
        names = ("source", "columns", "templates", "values", "formats", "ignore", "rules")
        self._refuse_unknown((), tables, names)
        source = self._table(("source",), tables)
        self._refuse_unknown(("source",), source, SOURCE_KEYS)
        ignore = self._table(("ignore",), tables)
        self._refuse_unknown(("ignore",), ignore, ("blank_id", "values"))
        found = {
            name: self._value(("source", name), source[name], kind)
            for name, kind in SOURCE_KEYS.items()
            if name in source
        }
        if isinstance(found.get("header_row"), int) and found["header_row"] < 1:
            self._add(("source", "header_row"), "must be 1 or more. Use the row that Excel shows.")
        columns = self._texts(("columns",), tables, self._field_of)
        templates = self._texts(("templates",), tables, self._set_field_of)
        for name in templates.keys() & columns.keys():
            self._add(("templates", name), f"{name} is in [columns] too. Remove one of the two.")
        self._check_templates(templates)
        formats = self._texts(("formats",), tables)
        self._check_formats(formats)
        values = self._table(("values",), tables)
        mapped = {
            field: self._texts(("values", name), values, key=str, may_be_empty=True)
            for name in values
            if (field := self._set_field_of(("values", name)))
        }
        ignored = self._table(("ignore", "values"), ignore)
        return {
            **found,
            "columns": columns,
            "templates": templates,
            "values": mapped,
            "formats": formats,
            "ignore_blank_id": self._value(
                ("ignore", "blank_id"), ignore.get("blank_id", False), bool
            ),
            "rules": rules_in(self._table(("rules",), tables), ("rules",), self.problems),
            "ignore_values": {name: self._several(name, one) for name, one in ignored.items()},
        }

    def _add(self, keys: Keys, text: str) -> None:
        self.problems.append(Problem(keys, text))

    def _refuse_unknown(self, table: Keys, given: Iterable[str], known: Iterable[str]) -> None:
        allowed = list(known)
        kind = "key" if table else "table"
        for name in set(given).difference(allowed):
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            self._add((*table, name), f"no such {kind}.{hint} Allowed are {', '.join(allowed)}.")

    def _table(self, keys: Keys, parent: Mapping[str, Any]) -> dict[str, Any]:
        table = parent.get(keys[-1], {})
        if isinstance(table, dict):
            return table
        self._add(keys, f"not a table. Write [{dotted(keys)}] above its keys.")
        return {}

    def _value(self, keys: Keys, value: object, kind: type) -> Any:  # noqa: ANN401  (TOML)
        is_right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if not is_right:
            self._add(keys, f"{_shown(value)}: {_WRONG_TYPE[kind]}")
        elif value == "":
            self._add(keys, "is empty. Set a value, or remove the key.")
        return value if is_right else None

    def _texts(
        self,
        keys: Keys,
        parent: Mapping[str, Any],
        key: Callable[[Any], str] | None = None,
        *,
        may_be_empty: bool = False,
    ) -> dict[str, str]:
        """Return a table of texts; ``key`` makes the names of its keys."""
        found: dict[str, str] = {}
        for name, value in self._table(keys, parent).items():
            place = (*keys, name)
            called = name if key in {None, str} else key(place)
            if called and called in found:
                self._add(place, f"{called} is set twice. Remove one of the keys.")
            is_allowed_empty = may_be_empty and value == ""
            if called and (is_allowed_empty or self._value(place, value, str)):
                found[called] = value
        return found

    def _several(self, column: str, value: object) -> tuple[str, ...]:
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str) for one in texts) or not texts:
            fix = 'Write ["Total"].'
            self._add(("ignore", "values", column), f"{_shown(value)}: not a list of texts. {fix}")
            return ()
        return tuple(texts)

    def _field_of(self, keys: Keys) -> str:
        """Return the field that a key names; empty after an error."""
        field = field_named(keys[-1])
        if field is None:
            known = (*FIELDS, ACTION_FIELD, COMMENT_FIELD)
            near = difflib.get_close_matches(keys[-1].casefold(), known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            self._add(keys, f"no such field.{hint} Use one of {', '.join(known)} or field:NAME.")
        return field or ""

    def _set_field_of(self, keys: Keys) -> str:
        field = self._field_of(keys)
        if field == ID_FIELD:
            self._add(keys, "an incident's id is read as it is. Remove this key.")
            return ""
        return field

    def _check_templates(self, templates: Texts) -> None:
        if not templates:
            return
        from bulk_reset.sheets.row_templates import RowTemplate  # noqa: PLC0415  (Jinja2)

        for name, text in templates.items():
            try:
                RowTemplate.of(text)
            except ValueError as exc:
                self._add(("templates", name), str(exc))

    def _check_formats(self, formats: Texts) -> None:
        for name, text in formats.items():
            try:
                CellFormat.of(text)
            except ValueError as exc:
                self._add(("formats", name), f"{_shown(text)}: {exc}")
