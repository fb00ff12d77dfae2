"""The README is correct: its sessions and programs are run, its tables compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documents import (
    README,
    SAMPLES,
    Block,
    blocks,
    comparable,
    copy_samples,
    names_of,
    run_program,
    section,
    shell,
    steps,
    table,
    tidy,
)
from programs import ROOT

from bulk_reset.core.errors import ExitCode

SAMPLE_ROWS = table((SAMPLES / "README.md").read_text(encoding="utf-8"))
LONGEST = 250
"""Lines: what a new user reads; everything else is in the manual."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the samples in it, as after a checkout."""
    copy_samples(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", blocks(README, "console"), ids=lambda block: block.name)
def test_a_terminal_session_shows_what_really_happens(block: Block, folder: Path) -> None:
    """What a new user types from the README prints what the README shows."""
    for command, shown in steps(block.body):
        _, printed = shell(command, folder)
        assert comparable(printed) == comparable(shown), command


@pytest.mark.parametrize("block", blocks(README, "python"), ids=lambda block: block.name)
def test_a_python_example_prints_what_the_readme_shows(block: Block, folder: Path) -> None:
    """Every example can be pasted into a file and run."""
    assert block.printed is not None
    assert run_program(block.body, folder) == tidy(block.printed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code"), [(row[2].strip("`"), int(row[3])) for row in SAMPLE_ROWS]
)
def test_a_sample_ends_with_the_exit_code_of_the_table(
    arguments: str, code: int, folder: Path
) -> None:
    """The samples do what the table of samples promises."""
    ended, printed = shell(f"bulk-reset {arguments}", folder)
    assert ended == code, printed


def test_every_sample_is_explained() -> None:
    """No sample is missing in the text of samples/, and no sample of its table in the folder."""
    text = (SAMPLES / "README.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`([\w/.-]+\.\w+)`", text))
    results = re.compile(r"\.(report|before|failed|audit|sandbox|lock)\b|^README|/\.|rehearsal")
    files = {str(path.relative_to(SAMPLES)) for path in SAMPLES.rglob("*.*")}
    assert {name for name in files if not results.search(name)} <= explained
    assert set(names_of(SAMPLE_ROWS)) <= files


def test_the_readme_is_short() -> None:
    """A new user reads it to the end."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_the_exit_codes_are_those_of_the_program() -> None:
    """The table of exit codes is the enum's."""
    rows = table(section(README, "### Exit codes"))
    shown = [(int(row[0]), row[1].strip("`")) for row in rows]
    assert shown == [(code.value, code.name) for code in ExitCode]


def test_every_make_target_exists() -> None:
    """What the README lets a contributor make can be made."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([\w-]+)", README.read_text(encoding="utf-8"))) <= targets


def test_every_package_is_on_the_map() -> None:
    """The map of packages names each of them once."""
    rows = table(section(README, "## Contributing"))
    shown = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    packages = sorted(path.parent.name for path in (ROOT / "bulk_reset").glob("*/__init__.py"))
    assert sorted(shown) == packages
