"""The README is true: its sessions are run, its programs too, its tables compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from programs import ROOT, clean_environment

from bulk_reset.cli import app
from bulk_reset.core.errors import ExitCode
from bulk_reset.core.fields import FIELDS
from bulk_reset.jobs.job_tables import (
    Api,
    Limits,
    Notify,
    ReportPlace,
    RunWays,
    ScheduleTable,
    Source,
)
from bulk_reset.records.report_reader import COLUMNS
from bulk_reset.sheets.columns import bind

TABLES = {
    "source": Source,
    "run": RunWays,
    "limits": Limits,
    "api": Api,
    "report": ReportPlace,
    "notify": Notify,
    "schedule": ScheduleTable,
}
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def table_after(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its own two lines."""
    section = README.split(f"\n{heading}\n", 1)[1]
    lines = [line for line in section.split("\n\n## ", 1)[0].splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[2:]]
    return [[cell.strip() for cell in row] for row in cells]


EXAMPLES_PRINT = {
    "40 of 40 updated, exit code 0\n",
    "                         title  status\nDatabase connections exhausted updated\n",
    "1 updated ('incident_severity',)\n",
    "75 updated; all there: True\n75 restored\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the samples in it, as after a checkout."""
    shutil.copytree(
        ROOT / "samples", tmp_path / "samples", ignore=shutil.ignore_patterns("*.report.*")
    )
    return tmp_path


def shell(line: str, folder: Path) -> tuple[int, str]:
    """Type a line; return the exit code and what the terminal would show."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", line],  # noqa: S607
        cwd=folder,
        env={**clean_environment(), "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


def without_times(text: str) -> str:
    """Blank out what differs from run to run: seconds, rates, lines of progress."""
    text = re.sub(r"^(?:\d+ min )?[\d.]+ s: [\d,]+ of \d+ rows.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"(started in any 1 s): \d+ ", r"\1: N ", text)
    text = re.sub(r"^    \w{3} \d{4}-.*\n", "", text, flags=re.MULTILINE)  # when a job is due
    text = re.sub(r"\d{8}T\d{6}Z", "MOMENT", text)
    text = re.sub(r"\w{3} \d{4}-\d\d-\d\d \d\d:\d\d UTC   [\d.]+ s", "MOMENT", text)
    text = re.sub(r'("(?:at|run_id)": )"[^"]+"|("rows_per_s": )[\d.]+', r"\1\2N", text)
    return re.sub(r"[\d.]+ s, [\d.]+ a second", "N s, N a second", text)


@pytest.mark.parametrize("session", blocks("console"))
def test_a_terminal_session_shows_what_really_happens(session: str, folder: Path) -> None:
    """What a new user types from the README prints what the README shows."""
    for part in session.split("$ ")[1:]:
        line, shown = part.split("\n", 1)
        _, printed = shell(line, folder)
        assert without_times(printed) == without_times(shown), line


BOOKS = ("updated_at", "manual_overrides", "applied")
"""What a server notes of every update, whatever it sets."""


def values_of(state: Path) -> list[object]:
    """Return every incident that a sandbox's file keeps, but for the server's own books."""
    kept = json.loads(state.read_text(encoding="utf-8"))
    return [
        {name: value for name, value in incident.items() if name not in BOOKS}
        for incident in kept.values()
    ]


@pytest.mark.slow
def test_the_story_ends_where_it_began(folder: Path) -> None:
    """Pulled, edited, sent, verified, undone: what the API shows is the same, byte for byte."""
    story = blocks("console")[0]
    lines = [part.split("\n", 1)[0] for part in story.split("$ ")[1:]]
    state = folder / "story.json"
    seen = []
    for line in lines:
        code, printed = shell(line, folder)
        assert code == 0, printed
        seen.append(values_of(state))
        if line in {lines[0], lines[-1]}:
            name = "first.csv" if line == lines[0] else "last.csv"
            code, printed = shell(
                f"bulk-reset pull {name} --since 30d --field tags:json --sandbox-state story.json",
                folder,
            )
            assert code == 0, printed
    assert len(seen[0]) == 300
    changed = [one for one, other in zip(seen[0], seen[3], strict=True) if one != other]
    assert len(changed) == 75
    assert seen[-1] == seen[0]
    assert (folder / "last.csv").read_bytes() == (folder / "first.csv").read_bytes()
    assert (folder / "month.sandbox.answer.xlsx").exists()


@pytest.mark.parametrize("program", blocks("python"))
def test_a_python_example_runs_and_prints_something(program: str, folder: Path) -> None:
    """Every example of the README can be pasted into a file and run."""
    (folder / "example.py").write_text(program, encoding="utf-8")
    code, printed = shell("python example.py", folder)
    assert code == 0, printed
    assert printed in EXAMPLES_PRINT


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(row[2].strip("`"), int(row[3])) for row in table_after("## Samples")],
)
def test_a_sample_ends_with_the_exit_code_of_the_table(
    arguments: str, code: int, folder: Path
) -> None:
    """The samples do what the table says."""
    ended, printed = shell(f"bulk-reset {arguments}", folder)
    assert ended == code, printed


def test_every_sample_has_a_row_in_the_table() -> None:
    """No sample is left unexplained."""
    told = {row[0].strip("`") for row in table_after("## Samples")}
    samples = ROOT / "samples"
    files = {str(p.relative_to(samples)) for p in samples.rglob("*.*") if ".report." not in p.name}
    told |= set(re.findall(r"samples/(\w+\.py)", README))
    assert {name for name in files if ".failed." not in name} == told


def test_the_options_are_those_of_help() -> None:
    """The table of options names each option of the command, and no other."""
    told = {
        name
        for row in table_after("## Options of `run`")
        for name in re.findall(r"--[a-z-]+", row[0])
    }
    command = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    real = {opt for p in command.params for opt in p.opts if opt.startswith("--")} - {"--help"}
    assert told == real


def test_the_keys_of_a_job_are_those_it_takes() -> None:
    """The table of keys names each key of a job file, and no other."""
    section = README.split("\n## Every night\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| `") and "." in line]
    told = {name for line in lines for name in re.findall(r"`([\w.]+)`", line.split("|")[1])}
    real = {f"{table}.{name}" for table, model in TABLES.items() for name in model.model_fields}
    assert {name for name in told if "." in name} == real | {"columns.FIELD", "set.FIELD"}


def test_the_exit_codes_are_those_of_the_program() -> None:
    """The table of exit codes is the enum's."""
    told = [(int(row[0]), row[1].strip("`")) for row in table_after("## Exit codes")]
    assert told == [(code.value, code.name) for code in ExitCode]


def test_the_columns_of_the_report_are_those_it_has() -> None:
    """The table of the report's columns is in their order."""
    assert [row[0].strip("`") for row in table_after("## The report")] == list(COLUMNS)


def test_the_names_of_the_fields_are_recognised() -> None:
    """Each name that the README gives for a field finds that field."""
    rows = table_after("## The sheet")
    assert [row[0].strip("`") for row in rows] == list(FIELDS)
    for row in rows:
        field = row[0].strip("`")
        for name in row[2].split(", "):
            others = tuple(other for other in ("incident_id", "title") if other != field)
            header = (*others, name)
            assert bind(header, {}, "sheet").position[field] == len(others), name
