"""What the pages of a task have in common: the task of a request, its work, and its settings."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from bulk_reset.api.credentials import AppKey, find_credentials
from bulk_reset.core.errors import BulkResetError, CredentialsError
from bulk_reset.core.option_names import OptionStyle, name_options_as
from bulk_reset.engine.options import Options
from bulk_reset.web.phrases import explained, mark, translated
from bulk_reset.web.rendering import page, texts_of
from bulk_reset.web.task import Task, Tasks
from bulk_reset.web.work import Work, Works

TASKS: Final = web.AppKey("tasks", Tasks)
WORKS: Final = web.AppKey("works", Works)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server was started with.

    Attributes:
        options: of the connection to the account; not of a sandbox.
        sandbox_state: the file of the sandbox that tasks use until a key is configured.
        jobs: a folder of job files, or None.
        state_dir: the state folder of jobs; the usual one when None.
        own_key: where a key is kept that was entered on the page.
    """

    options: Options
    sandbox_state: Path
    jobs: Path | None = None
    state_dir: Path | None = None
    own_key: Path | None = None

    def account(self) -> Options:
        """Return the options of the account, with the key that was saved on the page."""
        if self.options.app_key_file is None and self.own_key and self.own_key.exists():
            return replace(self.options, app_key_file=self.own_key)
        return self.options

    def options_for(self, *, is_sandbox: bool) -> Options:
        """Return the options of the account, or of the sandbox."""
        if not is_sandbox:
            return self.account()
        quota = self.options
        return Options(
            sandbox_state=self.sandbox_state,
            per_second=quota.per_second,
            per_minute=quota.per_minute,
            share=quota.share,
        )

    def connection_words(self, *, is_sandbox: bool) -> list[str]:
        """Return the options of the connection as the command line has them."""
        if is_sandbox:
            return ["--sandbox-state", str(self.sandbox_state)]
        words, account = [], self.account()
        if account.app_key_file is not None:
            words += ["--app-key-file", str(account.app_key_file)]
        if self.options.base_url is not None:
            words += ["--base-url", self.options.base_url]
        if self.options.account:
            words += ["--account", self.options.account]
        return words

    def key_source(self) -> str:
        """Return where the key was found; empty if there is none. The key itself stays there."""
        try:
            found = find_credentials(
                app_key_file=self.account().app_key_file, base_url=self.options.base_url
            )
        except CredentialsError:
            return ""
        return found.source


SETTINGS: Final = web.AppKey("settings", Settings)


def task_of(request: web.Request) -> Task:
    """Return the task that the address names; raises HTTPNotFound."""
    task = request.app[TASKS].find(request.match_info["task"])
    if task is None:
        raise web.HTTPNotFound(text=mark("No such task."))
    return task


def address(task: Task, step: str = "") -> str:
    """Return the address of a step of a task, which has its id and never a path."""
    return f"/tasks/{task.id}/{step}" if step else f"/tasks/{task.id}"


async def form_of(request: web.Request, task: Task | None = None) -> dict[str, str]:
    """Return the fields of a form; the last of each name.

    Raises:
        HTTPConflict: the task was changed in another tab since the form was shown.
    """
    fields = {
        name: value for name, value in (await request.post()).items() if isinstance(value, str)
    }
    given = fields.get("version", "")
    if task is not None and given and given != str(task.version):
        raise web.HTTPConflict(
            text=mark("This sheet was changed in another tab. Reload the page, then try again.")
        )
    return fields


def options_of(request: web.Request, task: Task) -> Options:
    """Return the options of a task's connection."""
    return request.app[SETTINGS].options_for(is_sandbox=task.is_sandbox)


def go_to(where: str) -> web.Response:
    """Let htmx open another page."""
    return web.Response(status=204, headers={"HX-Redirect": where})


def refresh() -> web.Response:
    """Let htmx load the page again."""
    return web.Response(status=204, headers={"HX-Refresh": "true"})


def begin(request: web.Request, task: Task, work: Work, function: Callable[[Work], Any]) -> None:
    """Start work of a task in a thread.

    Raises:
        HTTPConflict: other work of it is running.
    """
    if not request.app[WORKS].begin(task.id, work, function):
        raise web.HTTPConflict(text=BUSY)


def number_of(text: str | None, default: int | None = None) -> int:
    """Return a whole number of a query or a form; raises HTTPBadRequest."""
    if not text and default is not None:
        return default
    if text is None or not re.fullmatch(r"-?\d{1,12}", text, re.ASCII):
        raise web.HTTPBadRequest(text=mark("Not a number. Reload the page."))
    return int(text)


def show(request: web.Request, template: str, task: Task, step: str, **values: Any) -> web.Response:  # noqa: ANN401
    """Return a page of a task, with its steps and the work that runs."""
    work = request.app[WORKS].of(task.id)
    settings = request.app[SETTINGS]
    return page(
        request,
        template,
        task=task,
        step=step,
        steps=_steps(task),
        work=work.as_json() if work is not None else None,
        is_running=work is not None and work.is_running,
        key_source=settings.key_source(),
        sandbox_state=settings.sandbox_state,
        **values,
    )


def _steps(task: Task) -> list[tuple[str, bool]]:
    """Return each step, and whether it can be opened."""
    return [
        ("columns", True),
        ("errors", task.rows.exists()),
        ("plan", task.rows.exists()),
        ("run", task.plan_rows.exists()),
        ("result", task.report.exists()),
    ]


def in_words(function: Callable[[], Any]) -> tuple[Any, str]:
    """Return a function's result, or the error that the user can fix."""
    try:
        with name_options_as(OptionStyle.COMMAND_LINE):
            return function(), ""
    except BulkResetError as error:
        return None, str(error)


async def show_work(request: web.Request) -> web.Response:
    """Return the progress of a task's work as JSON; for readers without event streams."""
    work = request.app[WORKS].of(task_of(request).id)
    return web.json_response(_shown(work, request) if work is not None else None)


def _shown(work: Work, request: web.Request) -> dict[str, Any]:
    """Return the state of work as the page shows it, in the language of the request."""
    state, texts = work.as_json(), texts_of(request)
    counts = {translated(name, texts): rows for name, rows in state.get("counts", {}).items()}
    failures = [one | {"message": translated(one["message"], texts)} for one in state["failures"]]
    changed = {
        "counts": counts,
        "failures": failures,
        "notices": [explained(one, texts) for one in state["notices"]],
    }
    named = {name: explained(state.get(name, ""), texts) for name in ("question", "waiting")}
    return state | changed | named


_LONGEST_KEY: Final = 1_000
BUSY: Final = mark("Something is running for this sheet. Wait until it has ended.")
_EVERY_S: Final = 0.25
_ALIVE_S: Final = 15.0


async def stream_work(request: web.Request) -> web.StreamResponse:
    """Send the progress of a task's work as server-sent events until it has ended."""
    task = task_of(request)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    seen, idle_s = -1, 0.0
    while (work := request.app[WORKS].of(task.id)) is not None:
        if work.changes != seen:
            seen, idle_s = work.changes, 0.0
            await response.write(f"data: {json.dumps(_shown(work, request))}\n\n".encode())
            if not work.is_running:
                break
        elif idle_s >= _ALIVE_S:
            idle_s = 0.0
            await response.write(b": alive\n\n")
        await asyncio.sleep(_EVERY_S)
        idle_s += _EVERY_S
    return response


async def stop_work(request: web.Request) -> web.Response:
    """Stop a task's work gracefully."""
    work = request.app[WORKS].of(task_of(request).id)
    if work is not None and work.is_running:
        work.stop()
    return web.Response(status=204)


async def answer_work(request: web.Request) -> web.Response:
    """Answer the question of a task's work with yes."""
    work = request.app[WORKS].of(task_of(request).id)
    if work is not None and work.state == "asking":
        work.answer(is_confirmed=True)
    return web.Response(status=204)


async def save_key(request: web.Request) -> web.Response:
    """Save a key that was entered on the page in a file for this user only; it is never shown."""
    key, path = (await form_of(request)).get("key", "").strip(), request.app[SETTINGS].own_key
    if path is None or not key or not key.isprintable() or len(key) > _LONGEST_KEY:
        raise web.HTTPBadRequest(text=mark("This is not a key. Paste the app key alone."))
    AppKey(key)  # From now on it is redacted in every output.
    await asyncio.to_thread(_write_secret, path, key)
    return refresh()


def _write_secret(path: Path, text: str) -> None:
    """Write a file that only this user can read, from its first byte on."""
    fresh = path.with_name(f"{path.name}~")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{text}\n")
    fresh.replace(path)


async def choose_destination(request: web.Request) -> web.Response:
    """Switch a task between the sandbox and the account; its plan is made again."""
    task = task_of(request)
    fields = await form_of(request, task)
    is_sandbox = fields.get("destination") != "account"
    if not is_sandbox and not request.app[SETTINGS].key_source():
        raise web.HTTPBadRequest(text=mark("No key is configured. The manual has a page for it."))
    if request.app[WORKS].is_running(task.id):
        raise web.HTTPConflict(text=BUSY)
    task.plan_rows.unlink(missing_ok=True)
    replace(task).saved(is_sandbox=is_sandbox, totals={}, started_at=0.0, undone={}, verified={})
    return refresh()
