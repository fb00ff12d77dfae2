"""The custom fields that an account has defined, and the values of cells by their types.

Source: ``/field/list`` of the Flashduty Open API: a field's name never changes; its type is
checkbox (true or false), single_select (one of the options), multi_select (a list of options) or
text (up to 3,000 characters).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bulk_reset.core.custom_fields import CUSTOM_PREFIX, api_name, custom_column, is_custom
from bulk_reset.core.safe_text import one_line

LONGEST_FIELD_TEXT: Final = 3_000
_MOST_SHOWN: Final = 20
_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "1", "是"), True),
    **dict.fromkeys(("false", "no", "0", "否"), False),
}
_SEPARATORS: Final = re.compile("[;,\n\u3001\uff1b\uff0c]")
"""Between the options of a cell, also as Chinese input methods write them."""
_TYPES: Final = frozenset({"checkbox", "single_select", "multi_select", "text"})


class CellValueError(ValueError):
    """A cell is not a value of its field.

    Attributes:
        problem, fix: phrases without a full stop.
    """

    def __init__(self, problem: str, fix: str) -> None:
        self.problem, self.fix = problem, fix
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class FieldType:
    """One custom field.

    Attributes:
        name: as the API has it.
        display_name: as the console shows it.
        kind: checkbox, single_select, multi_select or text.
        options: the values of a select.
        is_deleted: whether it can no longer be set.
    """

    name: str
    display_name: str
    kind: str
    options: tuple[str, ...] = ()
    is_deleted: bool = False

    @property
    def column(self) -> str:
        """The column that sets it: ``field:NAME``."""
        return custom_column(CUSTOM_PREFIX + self.name) or ""

    @property
    def choices(self) -> tuple[str, ...]:
        """The texts among which a cell can choose; empty for other types."""
        return {"checkbox": ("yes", "no"), "single_select": self.options}.get(self.kind, ())

    def value_of(self, text: str) -> Any:  # noqa: ANN401  (JSON)
        """Return the value of a cell.

        Raises:
            CellValueError: it is not a value of this field.
        """
        match self.kind:
            case "checkbox":
                return self._checked(text)
            case "single_select":
                return self._option(text)
            case "multi_select":
                return self._options(text)
            case _:
                return self._text(text)

    def require_value(self, value: Any) -> None:  # noqa: ANN401  (JSON)
        """Check the value of a JSON cell; raises CellValueError."""
        if self.kind == "checkbox" and not isinstance(value, bool):
            raise CellValueError("the field is a checkbox", "Enter true or false")
        if self.kind == "multi_select":
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise CellValueError(
                    "the field is a list of texts", f"Enter for example {self._example()}"
                )
            self._known(value)
        if self.kind in {"single_select", "text"}:
            if not isinstance(value, str):
                raise CellValueError("the field is a text", 'Enter a JSON text, for example "a"')
            self.value_of(value)

    def _checked(self, text: str) -> bool:
        word = text.strip().casefold()
        if word not in _WORDS:
            raise CellValueError("the field is a checkbox", "Enter yes or no (是 or 否)")
        return _WORDS[word]

    def _text(self, text: str) -> str:
        if len(text) > LONGEST_FIELD_TEXT:
            problem = f"{len(text):,} characters; the maximum is {LONGEST_FIELD_TEXT:,}"
            raise CellValueError(problem, "Shorten the text")
        return text

    def _option(self, text: str) -> str:
        for one in (text, text.strip()):
            if one in self.options:
                return one
        same = [one for one in self.options if one.casefold() == text.strip().casefold()]
        if len(same) == 1:
            return same[0]
        near = difflib.get_close_matches(text.strip(), self.options, n=1)
        shown = ", ".join(one_line(one) for one in self.options[:_MOST_SHOWN]) or "none"
        fix = f"Did you mean {one_line(near[0])}?" if near else f"Use one of: {shown}"
        raise CellValueError(f"{one_line(text)!r} is not an option of the field", fix.rstrip("?"))

    def _options(self, text: str) -> list[str]:
        if text.lstrip().startswith("["):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, list):
                self.require_value(value)
                return value
        if text.strip() in self.options:  # an option may contain a separator
            return [text.strip()]
        parts = [part.strip() for part in _SEPARATORS.split(text) if part.strip()]
        if not parts:
            raise CellValueError("no option", f"Enter for example {'; '.join(self.options[:2])}")
        return list(dict.fromkeys(map(self._option, parts)))

    def _known(self, values: list[str]) -> None:
        for one in values:
            if self._option(one) != one:
                raise CellValueError(
                    f"{one_line(one)!r} is not an option of the field",
                    f"Did you mean {one_line(self._option(one))}",
                )

    def _example(self) -> str:
        return json.dumps(list(self.options[:2]) or ["a", "b"], ensure_ascii=False)


class FieldTypes:
    """The custom fields of an account."""

    def __init__(self, fields: Iterable[FieldType]) -> None:
        self.fields = tuple(fields)

    @classmethod
    def read(cls, data: object) -> FieldTypes:
        """Return the fields of an answer of ``/field/list``.

        Raises:
            ValueError: it is not such an answer.
        """
        items = data.get("items") if isinstance(data, Mapping) else None
        if not isinstance(items, list):
            raise ValueError("not a list of fields")  # noqa: TRY004  (data, not an argument)
        return cls(map(_field_of, items))

    def of(self, column: str) -> list[FieldType]:
        """Return the fields that a column may mean: one by its name, else by display name."""
        if not is_custom(column):
            return []
        name = api_name(column)
        by_name = [one for one in self.fields if one.name == name]
        if by_name and not by_name[0].is_deleted:
            return by_name
        wanted = _plain(name)
        shown = [one for one in self.fields if _plain(one.display_name) == wanted]
        return [one for one in shown if not one.is_deleted] or by_name or shown

    def near(self, column: str) -> list[str]:
        """Return the names of fields that a column may mean."""
        known = {
            text: one.name
            for one in self.fields
            if not one.is_deleted
            for text in (one.name, one.display_name)
        }
        found = difflib.get_close_matches(api_name(column), known, n=3)
        return list(dict.fromkeys(known[text] for text in found)) or sorted(set(known.values()))


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def _field_of(item: object) -> FieldType:
    if not isinstance(item, Mapping):
        raise ValueError("not a field")  # noqa: TRY004  (data, not an argument)
    name, kind = item.get("field_name"), item.get("field_type")
    if not isinstance(name, str) or not name or kind not in _TYPES:
        raise ValueError("not a field")
    options = item.get("options") or ()
    display_name = item.get("display_name")
    return FieldType(
        name,
        display_name if isinstance(display_name, str) else "",
        str(kind),
        tuple(one for one in options if isinstance(one, str)),
        item.get("status") == "deleted",
    )
