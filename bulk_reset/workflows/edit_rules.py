"""Edits by a rule like ``title={{ title | replace("[TEST] ", "") }}``, without a spreadsheet.

Rules are Jinja2 templates in its sandbox: they can read an incident's values, nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from bulk_reset.core.actions import ACTION_FIELD, PROGRESS_AFTER, action_named, is_reached
from bulk_reset.core.custom_fields import (
    COMMENT_FIELD,
    field_of,
    is_same,
    live_value,
    text_of,
    value_of,
)
from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.core.option_names import option_name
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.columns import field_named

if TYPE_CHECKING:
    from jinja2 import Template

    from bulk_reset.core.rule_templates import Environment


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules, one a column.

    Attributes:
        templates: ``title``, ``field:NAME``, ``action`` or ``comment`` -> template of its new text.
    """

    templates: Mapping[str, Template]
    _environment: Environment

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """Read rules like ``title={{ title | upper }}``.

        Raises:
            InputError: no such field, a field twice, or an invalid template.
        """
        from jinja2 import TemplateError  # noqa: PLC0415  (rarely needed)

        from bulk_reset.core.rule_templates import Environment  # noqa: PLC0415

        environment = Environment()
        templates: dict[str, Template] = {}
        for text in texts:
            name, sign, template = text.partition("=")
            field = field_named(name.strip())
            if not sign or field is None or field == ID_FIELD:
                raise InputError(
                    f"{_option()} {text}: not a rule, or no field that can be set. Use for example "
                    "'title={{ title | upper }}'."
                )
            if not template:
                raise InputError(
                    f"{_option()} {name}: the template is empty, and would set nothing. Write a "
                    "text after the equals sign."
                )
            if field in templates:
                raise InputError(f"{_option()} {name}: used twice. Use one rule for each field.")
            try:
                templates[field] = environment.from_string(template)
            except (TemplateError, ValueError, RecursionError) as exc:
                what = one_line(str(exc)).rstrip(".")
                raise InputError(f"{_option()} {name}: {what}. Fix the template.") from exc
        return cls(templates, environment)

    def wanted(self, incident: Mapping[str, Any], row_number: int) -> dict[str, str]:
        """Return the new texts that differ from the incident's current ones: column -> text.

        Raises:
            InputError: a template failed; the message names the row and the variable.
        """
        found = {}
        for field, template in self.templates.items():
            try:
                text = self._environment.render(template, incident)
            except Exception as exc:  # a template can raise anything
                where = f"{_option()} {field}: row {row_number}, incident {incident.get(ID_FIELD)}"
                raise InputError(f"{where}: {_reason(exc, incident)}") from exc
            if text and not _is_current(field, text, incident):
                found[field] = text
        return found


def _reason(error: Exception, incident: Mapping[str, Any]) -> str:
    """Return why a template failed, and the fix."""
    from bulk_reset.core.rule_templates import RuleError  # noqa: PLC0415

    what = one_line(str(error)).rstrip(".") or type(error).__name__
    values = f" Available values: {', '.join(sorted(incident))}."
    return f"{what}.{'' if isinstance(error, RuleError) else values}"


def _is_current(field: str, text: str, incident: Mapping[str, Any]) -> bool:
    """Return whether an incident has this value already; of JSON, however it is written."""
    if field == COMMENT_FIELD:
        return False
    live = live_value(incident, field)
    if field == ACTION_FIELD:
        return is_reached(live, PROGRESS_AFTER.get(action_named(text) or ""))
    if is_same(text, text_of(field, live)):
        return True
    with contextlib.suppress(ValueError):
        return field != field_of(field) and is_same(value_of(field, text), live)
    return False


def _option() -> str:
    """Return the option that rules come from; in Python it is a parameter of another name."""
    name = option_name("set")
    return "rules" if name == "set" else name
