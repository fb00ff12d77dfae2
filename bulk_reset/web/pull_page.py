"""A sheet that is pulled by filters, or made by a rule, as the beginning of a task."""

from __future__ import annotations

from aiohttp import web

from bulk_reset.core.errors import BulkResetError, InputError
from bulk_reset.core.option_names import OptionStyle, name_options_as
from bulk_reset.web.pages import SETTINGS, TASKS, address, begin, form_of, go_to
from bulk_reset.web.work import Work
from bulk_reset.workflows.edit_rules import Rules
from bulk_reset.workflows.incident_query import Query, query_of
from bulk_reset.workflows.pull import pull


async def start_pull(request: web.Request) -> web.Response:
    """Pull incidents into the sheet of a new task; with a rule, those that it changes."""
    form = await form_of(request)
    settings = request.app[SETTINGS]
    is_sandbox = not settings.key_source()
    try:
        with name_options_as(OptionStyle.COMMAND_LINE):
            query, rules = _query(form), _rules(form)
    except BulkResetError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error
    name = "incidents.csv" if rules else "incidents.xlsx"
    task = request.app[TASKS].new(name, is_sandbox=is_sandbox)
    task.write()
    options = settings.options_for(is_sandbox=is_sandbox)

    def work_on(work: Work) -> None:
        pull(task.sheet, query, options, work.callbacks(), rules=rules)

    begin(request, task, Work("pull"), work_on)
    return go_to(address(task, "columns"))


def _query(form: dict[str, str]) -> Query:
    def words(name: str) -> list[str]:
        return [one.strip() for one in form.get(name, "").split(",") if one.strip()]

    return query_of(
        form.get("since", "").strip() or "30d",
        form.get("until", "").strip() or "now",
        query=form.get("query", "").strip(),
        severities=words("severity"),
        progress=words("progress"),
        channels=tuple(words("channel")),
        team_ids=tuple(_number(one) for one in words("team")),
    )


def _number(text: str) -> int:
    if not text.isdecimal():
        raise InputError(f"team {text}: not a number. Use the team's number.")
    return int(text)


def _rules(form: dict[str, str]) -> list[str]:
    """Return the rule of a form, which is valid."""
    field, template = form.get("rule_field", ""), form.get("rule", "")
    rules = [f"{field}={template}"] if template.strip() else []
    Rules.of(rules)
    return rules
