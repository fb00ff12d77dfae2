"""Every command that any output suggests is executed, as it is copied.

A situation is a few commands; all ``bulk-reset …`` texts in the output of the last one are run.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from programs import FAST, ROOT, seed_id, write_rows, write_sheet

Command = Callable[..., "subprocess.CompletedProcess[str]"]
_COMMAND = re.compile(r"(?<![/\w-])bulk-reset (?!-)(?:[a-z].*)")
_STATE = ("--sandbox-state", "my state.json", *FAST)
_RUN = ("run", "my sheet.csv", *_STATE)
_UNDO = ("undo", "my sheet.sandbox.report.csv", "--yes", *_STATE)
_AGAIN = ("undo", "my sheet.sandbox.undo.report.csv", "--yes", *_STATE)
_PULL = ("pull", "p.csv", "--since", "2d", "--set", "title=x {{ title }}", "--force", *_STATE)
_PULLED = (_PULL, ("run", "p.csv", *_STATE), ("undo", "p.sandbox.report.csv", "--yes", *_STATE))
_JOB = ("job", "run", "nightly.toml", "--state-dir", "my runs")
_PLACEHOLDERS = ("TOPIC", "SHEET")


@dataclass(frozen=True)
class Situation:
    """Commands, and what is suggested after the last one.

    Attributes:
        code: the exit code of the last one.
        suggested: label -> exit code of the suggested command.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    suggested: dict[str, int] = field(default_factory=dict)
    code: int = 0
    key: str | None = None


_AFTER_A_RUN = {"To verify": 0, "To undo": 0}
_UNDONE = {"To restore its changes": 0, "More": 0}
SITUATIONS = (
    Situation("run", (_RUN,), _AFTER_A_RUN),
    Situation("run_again", (_RUN, _RUN)),
    Situation("run_verified", ((*_RUN, "--verify"),), {"To undo": 0}),
    Situation(
        "run_limited", ((*_RUN, "--limit", "2", "--verify"),), {"To resume": 0, "To undo": 0}
    ),
    Situation("pull_again_after_an_undo", (*_PULLED, _PULL), {"Next": 0}),
    Situation("pull_without_incidents", ((*_PULL, "--query", "no such title"),)),
    Situation("run_dry", ((*_RUN, "--dry-run"),), {"Next": 0}),
    Situation("run_with_a_plan", ((*_RUN, "--plan", "--yes"),), {"To show all": 0, **_AFTER_A_RUN}),
    Situation("run_into_an_undone_report", (_RUN, _UNDO, _RUN), _UNDONE, 2),
    Situation("plan_of_an_undone_run", (_RUN, _UNDO, ("plan", *_RUN[1:])), _UNDONE, 2),
    Situation("run_not_undone_any_more", (_RUN, _UNDO, _AGAIN, _RUN)),
    Situation("undo", (_RUN, _UNDO), _AFTER_A_RUN),
    Situation("undo_of_an_undo", (_RUN, _UNDO, _AGAIN), _AFTER_A_RUN),
    Situation("undo_after_that", (_RUN, _UNDO, _AGAIN, _UNDO), _AFTER_A_RUN),
    Situation("undo_without_its_sandbox", (_RUN, _UNDO[:2]), {"Next": 0, "More": 0}, 2, "key"),
    Situation("verify", (_RUN, ("verify", *_UNDO[1:2], *_STATE))),
    Situation(
        "verify_without_its_sandbox",
        (_RUN, ("verify", _UNDO[1])),
        {"Next": 0, "More": 0},
        2,
        "key",
    ),
    Situation("report", (_RUN, ("report", _UNDO[1]))),
    Situation("check", (("check", "my sheet.csv"),), {"Next": 2}),
    Situation("check_of_invalid_rows", (("check", "invalid.csv"),), code=2),
    Situation("run_of_invalid_rows", (("run", "invalid.csv", *_STATE),), {"More": 0}, 2),
    Situation("run_without_a_key", (("run", "my sheet.csv"),), {"More": 0}, 2),
    Situation("run_without_a_sheet", (("run", "no sheet.csv", *_STATE),), {"More": 0}, 2),
    Situation("plan", (("plan", *_RUN[1:]),), {"To show all": 0, "Next": 0}),
    Situation("pull", (("pull", "my pull.csv", "--since", "30d", *_STATE),), {"Next": 0}),
    Situation("pull_without_a_period", (("pull", "x.csv", *_STATE),), {"More": 0}, 2),
    Situation("template", (("template", "my template.xlsx"),), {"Next": 2}),
    Situation("docs", (("docs",),)),
    Situation("docs_of_an_unknown_page", (("docs", "nothing"),), code=2),
    Situation("config", (("config",),)),
    Situation("job_check", (("job", "check", "nightly.toml"),)),
    Situation("job_list", (("job", "list", "."),)),
    Situation("job_run", (_JOB,), {"Next": 0}),
    Situation(
        "job_run_that_stopped",
        (("job", "run", "by hand/stopping.toml", "--state-dir", "my runs"),),
        {"To resume": 1, "Next": 0},
        3,
    ),
    Situation(
        "job_run_of_no_run",
        ((*_JOB, "--run", "gone"),),
        {"To list the runs": 0, "More": 0},
        2,
    ),
    Situation("job_run_if_due", ((*_JOB, "--if-due"),)),
    Situation(
        "job_install",
        (("job", "install", "nightly.toml", "--systemd", "--state-dir", "my runs"),),
        {"Next": 0},
    ),
    Situation("job_install_cron", (("job", "install", "nightly.toml", "--cron"),)),
    Situation("runs", (_JOB, ("runs", "--state-dir", "my runs"))),
    Situation("runs_of_no_job", (("runs", "--state-dir", "my runs"),)),
    Situation(
        "runs_show",
        (_JOB, ("runs", "show", "RUN", "--state-dir", "my runs")),
        {"Report": 0, "Verify": 0, "Undo": 0},
    ),
    Situation(
        "runs_show_of_a_sandbox_that_is_gone",
        (
            ("job", "run", "by hand/gone.toml", "--state-dir", "my runs"),
            ("runs", "show", "RUN", "--state-dir", "my runs"),
        ),
        {"Report": 0},
    ),
    Situation(
        "runs_show_of_no_run",
        (("runs", "show", "gone", "--state-dir", "my runs"),),
        {"To list the runs": 0, "More": 0},
        2,
    ),
    Situation(
        "runs_clean", (_JOB, ("runs", "clean", "--older-than", "1d", "--state-dir", "my runs"))
    ),
    Situation("schedule_once", (("schedule", ".", "--once", "--state-dir", "my runs"),)),
)


def prepare(folder: Path) -> None:
    """Write the sheets and the jobs of all situations."""
    write_sheet(folder / "my sheet.csv", 12)
    write_rows(folder / "invalid.csv", ["id", "title"], [seed_id(1), "No"])
    write_rows(folder / "unknown.csv", ["id", "title"], *[["f" * 24, "Gone"], [seed_id(2), "Two"]])
    schedule = '[schedule]\ncron = "0 0 1 1 *"\ntime_zone = "UTC"\n'
    source = '[source]\nsheet = "my sheet.csv"\n'
    other = source.replace("my", "../my")
    (folder / "by hand").mkdir()
    api = '[api]\nsandbox_state = "my state.json"\nper_second = 5000\nper_minute = 300000\n'
    for name, text in {
        "nightly": source + api + schedule,
        "by hand/gone": other + "[api]\nsandbox = true\nper_second = 5000\n",
        "by hand/stopping": other.replace("my sheet", "unknown") + api + "[run]\ncanary = 1\n",
        "odd": source + api + schedule.replace("0 0 1 1 *", "0 0 * * 1#2"),
    }.items():
        (folder / f"{name}.toml").write_text(text)


def suggested_in(done: subprocess.CompletedProcess[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the label and the words of each command in an output."""
    for line in (done.stdout + done.stderr).splitlines():
        found = _COMMAND.search(line)
        if found is None or line.startswith("{") or "ExecStart=" in line:
            continue
        words = shlex.split(found[0])[1:]
        if not set(_PLACEHOLDERS) & set(words):
            before = line[: found.start()].strip().split(". ")[-1]  # "… and 2 more rows. To …"
            yield re.split(r"[:\s]{2,}|:", before)[0], words


@pytest.mark.slow
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_every_suggested_command_works(
    situation: Situation, command: Command, tmp_path: Path
) -> None:
    """Without anything added but the answer to a question, and an end of the schedule."""
    prepare(tmp_path)
    for words in situation.commands[:-1]:
        command(*words, key=situation.key)
    run_ids = sorted(path.name for path in tmp_path.glob("my runs/runs/*"))
    last = [run_ids[0] if word == "RUN" else word for word in situation.commands[-1]]
    done = command(*last, key=situation.key)
    assert done.returncode == situation.code, done.stdout + done.stderr
    found = dict(suggested_in(done))
    codes = {}
    for label, words in found.items():
        more = {"undo": ["--yes"], "schedule": ["--once"]}.get(words[0], [])
        (tmp_path / "units").mkdir(exist_ok=True)
        copied = [word.replace("/etc/systemd/system", "units") for word in words]
        ran = command(*copied, *more, key=None)
        codes[label] = ran.returncode
        assert "Usage:" not in ran.stderr, ran.stderr
    assert codes == situation.suggested, (found, done.stdout + done.stderr)


_WRITTEN_AS_TEXT = {
    "cli/help_text.py": "help",
    "reports/sarif_file.py": "help of a rule, shown by other programs",
    "sheets/template.py": "instructions in the workbook, with FILE.xlsx",
}
_COMMANDS = (
    "check|completion|config|docs|help|job|plan|pull|report|run|runs|sandbox|schedule|template|"
    "undo|verify"
)


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the strings of a module that are not docstrings, and their lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    helps = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "help"
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if id(node) not in documents | helps:
            yield node.lineno, node.value


def test_no_module_writes_a_command_as_text() -> None:
    """Such a text lacks the options that were given; ``next_steps`` and ``NextStep`` have them."""
    found = [
        f"{path}:{line}: {text}"
        for path in sorted((ROOT / "bulk_reset").rglob("*.py"))
        if path.relative_to(ROOT / "bulk_reset").as_posix() not in _WRITTEN_AS_TEXT
        for line, text in texts_of(path)
        if re.search(rf"bulk-reset ({_COMMANDS})\b", text)
    ]
    assert found == []
