"""Edits by a rule like ``title={{ title | replace("[TEST] ", "") }}``, without a spreadsheet.

Rules are Jinja2 templates in its sandbox: they can read an incident's values, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from bulk_reset.core.custom_fields import COMMENT_FIELD, is_same, live_value, text_of
from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.core.option_names import option_name
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.columns import field_named

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.runtime import Context
    from jinja2.sandbox import SandboxedEnvironment

_MAX_CHARACTERS: Final = 100_000
"""More than any field can have."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules, one a column.

    Attributes:
        templates: ``title``, ``field:NAME`` or ``comment`` -> template of its new text.
    """

    templates: Mapping[str, Template]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """Read rules like ``title={{ title | upper }}``.

        Raises:
            InputError: no such field, a field twice, or an invalid template.
        """
        from jinja2 import StrictUndefined, TemplateError  # noqa: PLC0415  (rarely needed)

        environment = _environment()(
            undefined=StrictUndefined,
            keep_trailing_newline=True,
            autoescape=False,
        )
        environment.filters["regex_replace"] = _regex_replace
        templates: dict[str, Template] = {}
        for text in texts:
            name, sign, template = text.partition("=")
            field = field_named(name.strip())
            if not sign or field is None or field == ID_FIELD:
                raise InputError(
                    f"{_option()} {text}: not a rule, or no field that can be set. Use for example "
                    "'title={{ title | upper }}'."
                )
            if field in templates:
                raise InputError(f"{_option()} {name}: used twice. Use one rule for each field.")
            try:
                templates[field] = environment.from_string(template)
            except TemplateError as exc:
                what = str(exc).rstrip(".")
                raise InputError(f"{_option()} {name}: {what}. Fix the template.") from exc
        return cls(templates)

    def wanted(self, incident: Mapping[str, Any], row_number: int) -> dict[str, str]:
        """Return the new texts that differ from the incident's current ones: column -> text.

        Raises:
            InputError: a template failed; the message names the row and the variable.
        """
        found = {}
        for field, template in self.templates.items():
            try:
                text = template.render(incident)
            except Exception as exc:  # a template can raise anything
                where = f"{_option()} {field}: row {row_number}, incident {incident.get(ID_FIELD)}"
                what = one_line(str(exc)).rstrip(".")
                raise InputError(
                    f"{where}: {what}. Available values: {', '.join(sorted(incident))}."
                ) from exc
            now = "" if field == COMMENT_FIELD else text_of(field, live_value(incident, field))
            if text and not is_same(text, now):
                found[field] = text
        return found


def _option() -> str:
    """Return the option that rules come from; in Python it is a parameter of another name."""
    name = option_name("set")
    return "rules" if name == "set" else name


def _environment() -> type[SandboxedEnvironment]:
    """Return Jinja2's sandbox, with operators that cannot make a text that fills the memory."""
    from jinja2.exceptions import SecurityError  # noqa: PLC0415  (rarely needed)
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

    class Bounded(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
            sizes = [len(one) if isinstance(one, Sized) else abs(one) for one in (left, right)]
            if operator == "**" or sizes[0] * sizes[1] > _MAX_CHARACTERS:
                text = f"the result of {operator} has more than {_MAX_CHARACTERS:,} characters"
                raise SecurityError(text)
            return super().call_binop(context, operator, left, right)

    return Bounded


def _regex_replace(text: str, pattern: str, replacement: str = "") -> str:
    """Return the text with the matches of a regular expression replaced."""
    return re.sub(pattern, replacement, text)
