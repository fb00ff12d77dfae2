"""``bulk-reset docs``, ``help`` and ``completion``: what is installed with the program."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import ROOT
from terminal import seen_on_a_terminal

from bulk_reset.cli.docs import topics

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_docs_without_a_topic_lists_the_pages(command: Command) -> None:
    """Each page is listed with its title, which is the first line of its file."""
    done = command("docs", key=None)
    assert done.returncode == 0, done.stderr
    listed = [line.split(maxsplit=1) for line in done.stdout.splitlines() if line[:2] == "  "]
    files = {path.stem: path for path in (ROOT / "bulk_reset" / "manual").glob("*.md")}
    assert dict(listed) == {
        name: path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        for name, path in files.items()
    }
    assert "sheets" in files


@pytest.mark.parametrize("words", [["docs", "sheets"], ["help", "sheets"]])
def test_a_page_in_a_pipe_is_the_file(words: list[str], command: Command) -> None:
    """Other programs get the Markdown as it is."""
    done = command(*words, key=None)
    page = (ROOT / "bulk_reset" / "manual" / "sheets.md").read_text(encoding="utf-8")
    assert (done.returncode, done.stdout) == (0, page)


def test_a_page_on_a_terminal_is_formatted(tmp_path: Path) -> None:
    """Markdown is shown with styles, through the pager."""
    words = ["docs", "sheets"]
    code, seen = seen_on_a_terminal(words, tmp_path, PAGER="cat", TERM="xterm-256color")
    assert (code, "\x1b[1m" in seen, "\n# Sheets" in seen) == (0, True, False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["docs", "sheet"], "error: sheet: no such page. Use sheets."),
        (
            ["help", "job", "chek"],
            "error: job chek: no such command or page. Use job check or check.",
        ),
        (["docs", "zzz"], f"error: zzz: no such page. Use one of {', '.join(topics())}."),
    ],
)
def test_an_unknown_page_is_refused_with_near_matches(
    words: list[str], message: str, command: Command
) -> None:
    """The error has the names that exist."""
    done = command(*words, key=None)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{message}\n")


@pytest.mark.parametrize("path", ["run", "job check", ""])
def test_help_of_a_command_is_its_help_option(path: str, command: Command) -> None:
    """``bulk-reset help run`` is ``bulk-reset run --help``."""
    words = path.split()
    assert command("help", *words, key=None).stdout == command(*words, "--help", key=None).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_names_the_program(shell: str, command: Command) -> None:
    """The script of each shell calls the program to complete its options."""
    done = command("completion", shell, key=None)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_BULK_RESET_COMPLETE=complete_{shell}" in done.stdout


def test_the_completion_lists_commands_and_options(command: Command) -> None:
    """What the script of bash gets from the program."""
    asked = {"_BULK_RESET_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    done = command(key=None, COMP_WORDS="bulk-reset ru", **asked)
    assert done.stdout.split() == ["run", "runs"]
