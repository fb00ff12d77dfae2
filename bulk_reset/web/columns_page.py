"""The step of the columns: how the sheet was read, and which column is which field."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import asdict
from typing import Any, Final

from aiohttp import web

from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.custom_fields import COMMENT_FIELD, custom_column
from bulk_reset.core.fields import FIELDS
from bulk_reset.engine.options import Options
from bulk_reset.sheets.corrections import Cells, Corrections
from bulk_reset.sheets.preview import Preview, preview
from bulk_reset.web.pages import (
    TASKS,
    address,
    begin,
    form_of,
    go_to,
    in_words,
    options_of,
    show,
    task_of,
)
from bulk_reset.web.phrases import mark
from bulk_reset.web.rendering import texts_of
from bulk_reset.web.sheet_index import SheetIndex, build
from bulk_reset.web.task import Choices, Task, Tasks
from bulk_reset.web.work import Work

_DELIMITERS: Final = ("comma", "semicolon", "tab", "pipe")
_REMEMBERED: Final = "columns.json"
_MOST_REMEMBERED: Final = 200


async def show_columns(request: web.Request) -> web.Response:
    """Show each column with samples and its field."""
    task = task_of(request)
    found, error = await asyncio.to_thread(in_words, lambda: _preview(task))
    chosen = _chosen(task, found) if found is not None else {}
    before = _remembered(request.app[TASKS], found) if found is not None else None
    is_same = before is None or before == asdict(task.choices)
    return show(
        request,
        "columns.html.j2",
        task,
        "columns",
        preview=found,
        error=error,
        chosen=chosen,
        fields=(*FIELDS, ACTION_FIELD, COMMENT_FIELD),
        custom={one.name: _custom(one.name) for one in found.columns} if found is not None else {},
        delimiters=_DELIMITERS,
        remembered=None if is_same else before,
    )


def _preview(task: Task) -> Preview:
    chosen = task.choices
    return preview(
        task.sheet,
        delimiter=chosen.delimiter,
        encoding=chosen.encoding,
        sheet_name=chosen.sheet_name,
        header_row=chosen.header_row,
    )


def _custom(name: str) -> str:
    """Return the custom field that a column can be; empty if its name does not allow it."""
    return custom_column(f"field:{name}") or ""


def _chosen(task: Task, found: Preview) -> dict[str, str]:
    """Return column -> field, by the user's choice or by its name."""
    chosen = task.choices
    by_name = {name: field for field, name in chosen.mapping.items()}
    taken = set(chosen.mapping)
    fields = {}
    for column in found.columns:
        field = by_name.get(column.name, "" if column.field in taken else column.field)
        is_left_out = chosen.fields and field != FIELDS[0] and field not in chosen.fields
        fields[column.name] = "" if is_left_out else field
    return fields


async def choose_reading(request: web.Request) -> web.Response:
    """Set how the file is read: worksheet, header row, encoding, delimiter."""
    task = task_of(request)
    form = await form_of(request, task)
    row = form.get("header_row", "").strip()
    if row and not (row.isdecimal() and int(row) > 0):
        raise web.HTTPBadRequest(text=mark("The header row is not a number. Use for example 3."))
    choices = Choices(
        encoding=form.get("encoding", "").strip() or None,
        delimiter=form.get("delimiter") or None,
        sheet_name=form.get("sheet_name") or None,
        header_row=int(row) if row else None,
    )
    _forget(task.saved(choices=choices))
    return go_to(address(task, "columns"))


async def choose_columns(request: web.Request) -> web.Response:
    """Set the field of each column, then read and check the whole sheet."""
    task = task_of(request)
    form = await form_of(request, task)
    found, error = await asyncio.to_thread(in_words, lambda: _preview(task))
    if found is None:
        raise web.HTTPBadRequest(text=f"{error}\n")
    wanted = {column.name: form.get(f"column-{at}", "") for at, column in enumerate(found.columns)}
    mapping, left_out = {}, False
    by_name = {column.name: column.field for column in found.columns}
    for name, field in wanted.items():
        if field and field != by_name[name]:
            if field in mapping:
                text = mark("%(field)s: chosen for two columns. Choose one.")
                raise web.HTTPBadRequest(text=texts_of(request).gettext(text) % {"field": field})
            mapping[field] = name
        left_out = left_out or bool(by_name[name] and not field)
    fields = [one for one in wanted.values() if one and one != FIELDS[0]] if left_out else []
    choices = {**asdict(task.choices), "mapping": mapping, "fields": fields}
    task = task.saved(choices=Choices(**choices))
    _remember(request.app[TASKS], found, task.choices)
    start_check(request, task)
    return go_to(address(task, "errors"))


async def use_remembered(request: web.Request) -> web.Response:
    """Use the columns that were chosen for an earlier sheet with the same header."""
    task = task_of(request)
    await form_of(request, task)
    found, _ = await asyncio.to_thread(in_words, lambda: _preview(task))
    before = _remembered(request.app[TASKS], found) if found is not None else None
    if before is not None:
        _forget(task.saved(choices=Choices(**before)))
    return go_to(address(task, "columns"))


def start_check(request: web.Request, task: Task) -> None:
    """Read and check the sheet in a thread, with its corrections."""
    options = task.reading(options_of(request, task))
    begin(request, task, Work("check"), lambda work: _check(task, options, work))


def _check(task: Task, options: Options, work: Work) -> dict[str, Any]:
    write_corrections(task)
    options = task.reading(options)
    return build(task.rows, task.sheet, options, work)


def write_corrections(task: Task) -> None:
    """Write the corrections of a task: the cells that were edited, and the values to replace."""
    cells: Cells = {}
    if task.rows.exists():
        with SheetIndex(task.rows) as index:
            cells = index.edited()
    elif task.corrections.exists():
        cells = Corrections.read(task.corrections, task.sheet).cells
    values = {int(place): texts for place, texts in task.choices.values.items()}
    corrections = Corrections(cells, values)
    if corrections:
        corrections.write(task.corrections, task.sheet)
    else:
        task.corrections.unlink(missing_ok=True)


def _forget(task: Task) -> None:
    """Remove what was made with other choices of reading, corrections included."""
    for path in (task.rows, task.plan_rows, task.corrections):
        path.unlink(missing_ok=True)


# --- Columns that were chosen before ---------------------------------------------------------


def _fingerprint(found: Preview) -> str:
    names = json.dumps([column.name for column in found.columns])
    return hashlib.sha256(names.encode("utf-8", "surrogatepass")).hexdigest()


def _remembered(tasks: Tasks, found: Preview) -> dict[str, Any] | None:
    known = _read_remembered(tasks).get(_fingerprint(found))
    try:
        return asdict(Choices(**known)) if known is not None else None
    except TypeError:
        return None


def _read_remembered(tasks: Tasks) -> dict[str, Any]:
    try:
        found = json.loads((tasks.folder / _REMEMBERED).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember(tasks: Tasks, found: Preview, choices: Choices) -> None:
    known = _read_remembered(tasks)
    known.pop(_fingerprint(found), None)
    known[_fingerprint(found)] = asdict(choices)
    kept = dict(list(known.items())[-_MOST_REMEMBERED:])
    with atomic_file(tasks.folder / _REMEMBERED) as file:
        file.write(json.dumps(kept, ensure_ascii=False, indent=1).encode() + b"\n")
