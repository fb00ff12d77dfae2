"""The addresses of the pages behind the first one, whose modules are imported when they are needed.

pandas and what comes with it take longer to import than everything that the first page needs.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Final

from aiohttp import web

from bulk_reset.web.security import Handler

_ROUTES: Final = (
    ("GET", "/tasks/{task}/work", "pages.show_work"),
    ("GET", "/tasks/{task}/events", "pages.stream_work"),
    ("POST", "/tasks/{task}/stop", "pages.stop_work"),
    ("POST", "/tasks/{task}/answer", "pages.answer_work"),
    ("POST", "/tasks/{task}/destination", "pages.choose_destination"),
    ("GET", "/tasks/{task}/columns", "columns_page.show_columns"),
    ("POST", "/tasks/{task}/columns", "columns_page.choose_columns"),
    ("POST", "/tasks/{task}/reading", "columns_page.choose_reading"),
    ("POST", "/tasks/{task}/remembered", "columns_page.use_remembered"),
    ("GET", "/tasks/{task}/errors", "errors_page.show_errors"),
    ("GET", "/tasks/{task}/errors/rows", "errors_page.show_rows"),
    ("POST", "/tasks/{task}/cell", "errors_page.edit_cell"),
    ("POST", "/tasks/{task}/alike", "errors_page.edit_alike"),
    ("POST", "/tasks/{task}/value", "errors_page.replace_value"),
    ("POST", "/tasks/{task}/undo-edit", "errors_page.undo_edit"),
    ("POST", "/tasks/{task}/check", "errors_page.check_again"),
    ("GET", "/tasks/{task}/corrected", "errors_page.download"),
    ("GET", "/tasks/{task}/plan", "plan_page.show_plan"),
    ("GET", "/tasks/{task}/plan/rows", "plan_page.show_plan_rows"),
    ("POST", "/tasks/{task}/plan", "plan_page.make_plan"),
    ("POST", "/tasks/{task}/select", "plan_page.select"),
    ("POST", "/tasks/{task}/chosen", "plan_page.choose_plan"),
    ("GET", "/tasks/{task}/plan/file/{kind}", "plan_page.download_plan"),
    ("GET", "/tasks/{task}/run", "run_page.show_run"),
    ("POST", "/tasks/{task}/run", "run_page.start_run"),
    ("GET", "/tasks/{task}/result", "run_page.show_result"),
    ("GET", "/tasks/{task}/report", "run_page.show_report"),
    ("GET", "/tasks/{task}/file/{kind}", "run_page.download_file"),
    ("POST", "/tasks/{task}/verify", "run_page.start_verify"),
    ("POST", "/tasks/{task}/undo", "run_page.start_undo"),
    ("POST", "/tasks/{task}/failed", "run_page.fix_failed"),
    ("POST", "/pull", "pull_page.start_pull"),
    ("POST", "/key", "pages.save_key"),
    ("POST", "/rule", "pull_page.preview_rule"),
    ("GET", "/history", "history_page.show_history"),
    ("GET", "/jobs", "history_page.show_jobs"),
    ("POST", "/jobs/{job}/run", "history_page.run_job"),
)
"""Method, path, and function of a module of this package."""


def later_routes() -> Iterable[web.RouteDef]:
    """Yield a route for each address; its module is imported at the first request."""
    imported: dict[str, ModuleType] = {}
    for method, path, name in _ROUTES:
        yield (web.get if method == "GET" else web.post)(path, _handler(name, imported))


def import_pages() -> None:
    """Import the modules of all pages; in a thread, while the user reads the first one."""
    for name in dict.fromkeys(name.partition(".")[0] for *_, name in _ROUTES):
        _module(name)


def _handler(name: str, imported: dict[str, ModuleType]) -> Handler:
    module, _, function = name.partition(".")

    async def handle(request: web.Request) -> web.StreamResponse:
        if module not in imported:
            imported[module] = await asyncio.to_thread(_module, module)
        response: web.StreamResponse = await getattr(imported[module], function)(request)
        return response

    return handle


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__package__}.{name}")
