"""Which rows a plan or a run selects by an expression over old, new and row.

An expression is Jinja2 in its sandbox: it can read the values of a row and its incident, nothing
else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from bulk_reset.core.actions import ACTION_FIELD, PROGRESS_FIELD
from bulk_reset.core.custom_fields import api_name, is_custom
from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import SEVERITY_FIELD
from bulk_reset.core.option_names import option
from bulk_reset.core.safe_text import one_line

if TYPE_CHECKING:
    from jinja2 import Template

    from bulk_reset.core.rule_templates import Environment
    from bulk_reset.engine.options import Options

_SEVERITY: Final = "severity"
"""A short name of the severity, as a column may have it."""


@dataclass(slots=True)
class Conditions:
    """The conditions of ``where`` and ``exclude_where``."""

    templates: dict[str, tuple[str, Template]] = field(default_factory=dict)
    _environment: Environment | None = None

    @classmethod
    def of(cls, options: Options) -> Self:
        """Compile the conditions of some options.

        Raises:
            InputError: one of them is not an expression.
        """
        texts = {"where": options.where, "exclude_where": options.exclude_where}
        given = {name: text for name, text in texts.items() if text is not None}
        if not given:
            return cls()
        from jinja2 import TemplateError  # noqa: PLC0415  (rarely needed)

        from bulk_reset.core.rule_templates import Environment  # noqa: PLC0415

        conditions = cls(_environment=Environment())
        for name, text in given.items():
            try:
                # Alone first, so that no text ends the block that it is put into.
                conditions._environment.compile_expression(text)  # type: ignore[union-attr]
                template = conditions._environment.from_string(  # type: ignore[union-attr]
                    f"{{% if ({text}\n) %}}1{{% endif %}}"
                )
            except (TemplateError, ValueError, RecursionError) as exc:
                what = one_line(str(exc)).rstrip(".")
                raise InputError(
                    f"{option(name, text)}: {what}. Use an expression such as "
                    '\'new.severity == "Critical" and "db" in old.title\'.'
                ) from exc
            conditions.templates[name] = text, template
        return conditions

    def __bool__(self) -> bool:
        return bool(self.templates)

    def selects(
        self, row_number: int, incident: Mapping[str, Any], wanted: Mapping[str, Any]
    ) -> bool:
        """Return whether a row is selected.

        Args:
            incident: as it is now.
            wanted: field -> the value that the row sets.

        Raises:
            InputError: the expression failed; the message names the row.
        """
        if not self.templates:
            return True
        values = {"old": _values(incident, {}), "new": _values(incident, wanted), "row": row_number}
        return all(self._holds(name, values) is (name == "where") for name in self.templates)

    def _holds(self, name: str, values: Mapping[str, Any]) -> bool:
        text, template = self.templates[name]
        assert self._environment is not None  # noqa: S101  (there is a template)
        try:
            return self._environment.render(template, values) == "1"
        except Exception as exc:  # an expression can raise anything
            what = one_line(str(exc)).rstrip(".") or type(exc).__name__
            raise InputError(
                f"{option(name, text)}: row {values['row']}: {what}. Available values: row, and of "
                f"old and new {', '.join(sorted(values['old']))}."
            ) from exc


def _values(incident: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return an incident's values with those that a row sets."""
    values = dict(incident)
    customs = values.get("fields")
    fields = dict(customs) if isinstance(customs, Mapping) else {}
    for name, value in wanted.items():
        if is_custom(name):
            fields[api_name(name)] = value
        else:
            values[PROGRESS_FIELD if name == ACTION_FIELD else name] = value
    return {**values, "fields": fields, _SEVERITY: values.get(SEVERITY_FIELD)}
