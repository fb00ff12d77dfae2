"""Checks the templates of ``[set]``, and the texts of those that use no value of an incident."""

from __future__ import annotations

from collections.abc import Mapping

from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.sheets.cell_rules import problem_of
from bulk_reset.sheets.columns import field_named
from bulk_reset.workflows.edit_rules import Rules

_FOR_CELLS = ", or clear the cell"


def rules_of(templates: Mapping[str, str]) -> list[str]:
    """Return templates as rules: ``FIELD=TEMPLATE``."""
    return [f"{name}={template}" for name, template in templates.items()]


def template_problem(name: str, template: str) -> str:
    """Return what is wrong with a field's template, and the fix; empty if it is valid.

    Args:
        name: of a field.
    """
    field = field_named(name)
    if field == ID_FIELD or field is None:
        return "an incident's id cannot be set. Remove this key."
    try:
        rules = Rules.of(rules_of({name: template}))
    except InputError as exc:
        return str(exc).partition(f" {name}: ")[2] or str(exc)
    return _constant_problem(field, rules, template)


def _constant_problem(field: str, rules: Rules, template: str) -> str:
    """Return what is wrong with a text that is the same for each incident; empty if nothing is."""
    from jinja2 import meta  # noqa: PLC0415  (rarely needed)

    compiled = rules.templates[field]
    if meta.find_undeclared_variables(compiled.environment.parse(template)):
        return ""
    try:
        text = compiled.render()
    except Exception as exc:  # noqa: BLE001  (a template can raise anything)
        return f"fails for every incident ({str(exc).rstrip('.')}). Fix the template."
    if not text:
        return "is always empty, so nothing will be set. Write a text, or remove this key."
    found = problem_of(field, text)
    if found is None:
        return ""
    problem, fix = found
    fix = fix.removesuffix(_FOR_CELLS)
    return f"cannot be set: {problem}. {'Write another text' if 'cell' in fix else fix}."
