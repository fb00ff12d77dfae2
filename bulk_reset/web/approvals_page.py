"""Approvals of a plan: who has approved it, how another user does, and what was sent back."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import BodyPartReader, web

from bulk_reset.core.errors import BulkResetError
from bulk_reset.core.saved_plan import SavedPlan, is_saved_plan
from bulk_reset.records.approvals import Approval, approval_path, read_approvals
from bulk_reset.web.pages import BUSY, WORKS, options_of, refresh, task_of
from bulk_reset.web.phrases import mark
from bulk_reset.web.plan_index import build, write_picked
from bulk_reset.web.task import Task
from bulk_reset.workflows.approve import check_approvals
from bulk_reset.workflows.plan_reading import open_plan, read_plan

_MOST_BYTES: Final = 64 << 20
_MOST_FILES: Final = 2
"""A plan and its approval."""
_PART_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class PlanApproval:
    """Who has approved a plan.

    Attributes:
        is_required: whether a run sends an approved plan only.
        approvals: each, and why it does not count; empty if it does.
        against: the file with the keys by which signatures are verified; empty without one.
        command: by which another user approves the plan.
        error: why the approvals cannot be read.
    """

    is_required: bool
    approvals: list[tuple[Approval, str]]
    against: str
    command: str
    error: str = ""

    @property
    def is_approved(self) -> bool:
        """Whether one of them counts."""
        return any(not problem for _, problem in self.approvals)


def approval_of(request: web.Request, task: Task) -> PlanApproval:
    """Return who has approved the plan of a task, with its selection as it was saved last."""
    options = options_of(request, task)
    keys = options.allowed_signers or options.hmac_key_file
    by = ["--hmac-key-file", "FILE"] if options.hmac_key_file else ["--key", "~/.ssh/id_ed25519"]
    command = " ".join(["bulk-reset", "approve", shlex.quote(task.plan.name), *by])
    found, error = list[tuple[Approval, str]](), ""
    if task.plan.exists():
        try:
            found = check_approvals(task.plan, options)
        except BulkResetError as problem:
            error = str(problem)
    return PlanApproval(options.is_approval_required, found, str(keys or ""), command, error)


async def add_approval(request: web.Request) -> web.Response:
    """Take the file of an approval, and the plan if the approver has left out rows."""
    task = task_of(request)
    if request.app[WORKS].is_running(task.id):
        raise web.HTTPConflict(text=BUSY)
    if not task.whole_plan.exists() or (task.started_at and not task.has_ended):
        raise web.HTTPConflict(text=mark("There is no plan that waits for an approval."))
    if request.content_type != "multipart/form-data":
        raise web.HTTPUnsupportedMediaType(text=mark("Send the file as multipart/form-data."))
    sent = task.folder / "sent"
    paths = [sent / f"{number}.plan" for number in range(_MOST_FILES)]
    try:
        await asyncio.to_thread(sent.mkdir, mode=0o700, exist_ok=True)
        await _store(request, paths)
        await asyncio.to_thread(_take, task, [path for path in paths if path.exists()])
    except BulkResetError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    finally:
        await asyncio.to_thread(_remove, sent)
    return refresh()


async def _store(request: web.Request, paths: list[Path]) -> None:
    """Write the files of a form; raises HTTPBadRequest, HTTPRequestEntityTooLarge."""
    left, size = list(paths), 0
    try:
        form = await request.multipart()
        while (part := await form.next()) is not None:
            if not isinstance(part, BodyPartReader) or not part.filename or not left:
                continue
            with left.pop(0).open("xb") as file:
                while block := await part.read_chunk(_PART_BYTES):
                    size += len(block)
                    if size > _MOST_BYTES:
                        raise web.HTTPRequestEntityTooLarge(_MOST_BYTES, size)
                    file.write(block)
    except ValueError as exc:  # aiohttp's error of a malformed form
        raise web.HTTPBadRequest(text=mark("No file was sent. Choose a file.")) from exc
    if len(left) == len(paths):
        raise web.HTTPBadRequest(text=mark("No file was sent. Choose a file."))


def _take(task: Task, paths: list[Path]) -> None:
    """Put what was sent in the place of the task's plan and its approvals.

    Raises:
        InputError: it is neither a plan of this sheet nor a file of approvals; nothing has changed.
        HTTPBadRequest: it is the plan of another sheet.
    """
    plans = [path for path in paths if is_saved_plan(path)]
    others = [path for path in paths if path not in plans]
    for path in others:
        # A file of approvals is read by the name of its plan.
        path.rename(approval_path(path))
        if not read_approvals(path):
            raise web.HTTPBadRequest(text=mark("The file has no approvals. Choose another file."))
    for path in plans:
        _use_plan(task, path)
    for path in others:
        approval_path(path).replace(approval_path(task.plan))


def _use_plan(task: Task, path: Path) -> None:
    given, own = open_plan(path), SavedPlan.open(task.whole_plan)
    same = ("sheet_sha256", "address", "account")
    if any(getattr(given.header, name) != getattr(own.header, name) for name in same):
        raise web.HTTPBadRequest(
            text=mark("The plan is of another sheet or account. Choose a plan of this sheet.")
        )
    task.plan_rows.unlink(missing_ok=True)  # What was deselected before is not of this plan.
    build(task.plan_rows, lambda add: read_plan(given, add))
    path.replace(task.whole_plan)
    write_picked(task)


def _remove(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        path.unlink()
    folder.rmdir()
