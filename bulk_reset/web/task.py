"""A task of the page: a folder with a sheet, the choices made for it, and everything made from it.

FOLDER/20261128-140312-k3x9qa/
task.json             the choices; written atomically, with a number for each version
sheet/NAME.xlsx       the sheet as it was dropped; never changed
corrections.json      cells and values that were corrected
rows.sqlite           its rows and errors, to filter and edit (made again when it is lost)
plan.sqlite           the rows of its plan, and which are deselected
NAME.plan             the plan that is run; beside it the run's report and previous values
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final, Self

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.safe_text import one_line
from bulk_reset.engine.options import Options

_ID: Final = re.compile(r"\d{8}-\d{6}-[a-z2-7]{6}")
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_LONGEST_NAME: Final = 80
_FILE: Final = "task.json"


@dataclass(frozen=True, slots=True)
class Choices:
    """How the sheet is read.

    Attributes:
        mapping: field -> name of its column, where the user chose it.
        fields: the fields that are updated, where the user left out others; empty for all.
        values: column (0-based, as text for JSON) -> text -> the text that replaces it.
    """

    encoding: str | None = None
    delimiter: str | None = None
    sheet_name: str | None = None
    header_row: int | None = None
    mapping: dict[str, str] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    skip_invalid: bool = False
    on_conflict: str = "error"


@dataclass(frozen=True, slots=True)
class Task:
    """A task as its file has it.

    Attributes:
        folder: where it is.
        version: a number that grows with each change, so that a second tab is noticed.
        name: the name of the sheet as the user knows it.
        is_sandbox: whether everything goes to the emulated API.
        canary: rows that are sent first; 0 for none.
        totals: of the last run, when it ended; empty before.
        started_at: when the last run started; 0.0 before. Without ``totals`` it was interrupted.
        is_stopped: whether the user stopped the last run, rather than paused it.
        undone: the totals of the last undo.
        verified: the result of the last verification.
        report_file: the report of a run of the command line that this task shows; empty for a sheet
            of the page.
        sandbox_file: the state of that run's sandbox; empty for the one of the page.
    """

    folder: Path
    name: str
    version: int = 1
    created_at: float = 0.0
    is_sandbox: bool = True
    choices: Choices = Choices()
    canary: int = 5
    note: str = ""
    started_at: float = 0.0
    totals: dict[str, Any] = field(default_factory=dict)
    is_stopped: bool = False
    undone: dict[str, Any] = field(default_factory=dict)
    verified: dict[str, Any] = field(default_factory=dict)
    report_file: str = ""
    sandbox_file: str = ""

    @property
    def id(self) -> str:
        """The task's id, which is the name of its folder."""
        return self.folder.name

    @property
    def sheet(self) -> Path:
        """The sheet as it was dropped."""
        return self.folder / "sheet" / self.name

    @property
    def corrections(self) -> Path:
        """Where its corrected cells are."""
        return self.folder / "corrections.json"

    @property
    def rows(self) -> Path:
        """Where its rows and errors are."""
        return self.folder / "rows.sqlite"

    @property
    def plan_rows(self) -> Path:
        """Where the rows of its plan are."""
        return self.folder / "plan.sqlite"

    @property
    def whole_plan(self) -> Path:
        """The plan with all rows."""
        return self.folder / "all.plan"

    @property
    def plan(self) -> Path:
        """The plan that is run: without the rows that were deselected."""
        return self.folder / f"{Path(self.name).stem}.plan"

    @property
    def report(self) -> Path:
        """The report of its run."""
        if self.report_file:
            return Path(self.report_file)
        middle = ".sandbox" if self.is_sandbox else ""
        return self.folder / f"{self.plan.name}{middle}.report.csv"

    @property
    def has_ended(self) -> bool:
        """Whether its last run has ended by itself."""
        return bool(self.totals)

    def reading(self, options: Options) -> Options:
        """Return the options with the choices for reading the sheet."""
        chosen = self.choices
        return replace(
            options,
            encoding=chosen.encoding,
            delimiter=chosen.delimiter,
            sheet_name=chosen.sheet_name,
            header_row=chosen.header_row,
            mapping=dict(chosen.mapping),
            only_fields=tuple(chosen.fields),
            skip_invalid=chosen.skip_invalid,
            on_conflict=type(options.on_conflict)(chosen.on_conflict),
            corrections=self.corrections if self.corrections.exists() else None,
        )

    def saved(self, **changes: Any) -> Task:  # noqa: ANN401  (values of the attributes)
        """Write the task with some changes; return it with its new version."""
        task = replace(self, version=self.version + 1, **changes)
        task.write()
        return task

    def write(self) -> None:
        """Write the task's file; raises OSError."""
        content = {name: value for name, value in asdict(self).items() if name != "folder"}
        with atomic_file(self.folder / _FILE) as file:
            file.write(json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n")

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the task in a folder; None if there is none that this version can read."""
        try:
            values = json.loads((folder / _FILE).read_bytes())
            known = {one.name for one in fields(cls)} - {"folder"}
            values = {name: value for name, value in values.items() if name in known}
            return cls(folder, **{**values, "choices": Choices(**values.get("choices", {}))})
        except (OSError, ValueError, TypeError, AttributeError):
            return None


class Tasks:
    """The folder of all tasks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self, name: str, *, is_sandbox: bool) -> Task:
        """Return a new task, whose sheet is not there yet; raises OSError."""
        end = "".join(secrets.choice(_ALPHABET) for _ in range(6))
        folder = self.folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{end}"
        (folder / "sheet").mkdir(parents=True, mode=0o700)
        return Task(folder, safe_name(name), created_at=time.time(), is_sandbox=is_sandbox)

    def find(self, task_id: str) -> Task | None:
        """Return a task by its id, which is never a path."""
        if not _ID.fullmatch(task_id):
            return None
        return Task.read(self.folder / task_id)

    def all(self) -> Iterator[Task]:
        """Yield the tasks, the newest first."""
        if not self.folder.is_dir():
            return
        for folder in sorted(self.folder.iterdir(), reverse=True):
            if _ID.fullmatch(folder.name) and (task := Task.read(folder)) is not None:
                yield task

    def remove(self, task: Task) -> None:
        """Remove a task with all of its files; raises OSError."""
        shutil.rmtree(task.folder)


def is_task_folder(path: Path) -> bool:
    """Return whether a folder is one of a task, by its name."""
    return _ID.fullmatch(path.name) is not None


def safe_name(name: str) -> str:
    """Return the last part of a name that a browser sent, as a file's name on every system."""
    last = PureWindowsPath(PurePosixPath(name).name).name
    plain = _FORBIDDEN.sub("_", one_line(last)).strip(" .")
    stem, dot, extension = plain.rpartition(".")
    if not dot:
        stem, extension = plain, ""
    while len(stem.encode()) > _LONGEST_NAME:
        stem = stem[:-1]
    return f"{stem.strip(' .') or 'sheet'}{dot}{extension[:8]}"
