"""The README and the manual as tests see them: sessions, programs, tables and commands.

A session is a block of ``console``: lines that begin with ``$ `` are typed, the others are what
is printed. Each block runs in a folder of its own that has the samples in it. A block of
``python`` is a program; the block of ``text`` after it is what the program prints.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import typer.main
from programs import ROOT, clean_environment

from bulk_reset.cli import app

README: Final = ROOT / "README.md"
PACKAGE: Final = ROOT / "bulk_reset"
MANUAL: Final = PACKAGE / "manual"
SAMPLES: Final = ROOT / "samples"
_COLUMNS: Final = "100"
_TIMEOUT_S: Final = 240
_FENCE: Final = re.compile(
    r"^```(?P<language>\w+)\n(?P<body>.*?)^```$(?:\n\n```text\n(?P<printed>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)

VOLATILE: Final[tuple[tuple[str, str], ...]] = (
    (r"\d{8}T\d{6}Z", "RUN"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)", "TIME"),
    (r"(?:\w{3} )?\d{4}-\d\d-\d\d(?:,? \d\d:\d\d(?::\d\d)?)?(?: [A-Z]{3,5}\b)?", "TIME"),
    (r"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d\d:\d\d|\d\d:\d\d:\d\d|\d\d:\d\d UTC)\b", "TIME"),
    (r"(?:\d+ h )?(?:\d+ min )?\d+\.\d+ s\b", "N s"),
    (r"(?:\d+ h )?\d+ min \d+ s\b", "N s"),
    (r"[\d,.]+ (a second|per second|requests/s|rows/s)", r"N \1"),
    (r"(in any 1 s[^:\d]*: )\d+", r"\1N"),
    (r'"run_id": "\w+"', '"run_id": "ID"'),
    (r'"((?:\w+_per_s|\w+_s|seconds))": [\d.]+', r'"\1": N'),
)
"""What differs from run to run, and what is compared instead."""
_PROGRESS: Final = re.compile(r"^(?:\d+ min )?[\d.]+ s: .*\n", re.MULTILINE)
"""A line of progress: how many there are depends on the speed of the machine."""
_BROKEN: Final = (
    "internal error",
    "Traceback (most recent call last)",
    "No such option",
    "No such command",
    "command not found",
    "can't open file",
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a document.

    Attributes:
        start: where its body begins in the document's text; ``end`` where it ends.
        printed: the body of the ``text`` block after it; None where there is none.
    """

    path: Path
    language: str
    body: str
    start: int
    end: int
    printed: str | None
    printed_start: int

    @property
    def name(self) -> str:
        """The document and the block's first line, as the name of a test."""
        return f"{self.path.name}: {self.body.splitlines()[0][:60]}"


def documents() -> list[Path]:
    """Return the README and every page of the manual."""
    return [README, *sorted(MANUAL.glob("*.md"))]


def blocks(path: Path, *languages: str) -> list[Block]:
    """Return the fenced blocks of a document in these languages, in order."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(
            path,
            found["language"],
            found["body"],
            found.start("body"),
            found.end("body"),
            found["printed"],
            found.start("printed"),
        )
        for found in _FENCE.finditer(text)
        if found["language"] in languages
    ]


def steps(session: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a session (with its continued lines), and what is printed."""
    for part in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        while command.endswith("\\"):
            more, _, printed = printed.partition("\n")
            command += f"\n{more}"
        yield command, printed


def copy_samples(folder: Path) -> None:
    """Copy the samples into a folder, without what earlier runs left beside them."""
    ignore = shutil.ignore_patterns("*.report.*", "*.before.*", "*.failed.*", "*.audit.*")
    shutil.copytree(SAMPLES, folder / "samples", ignore=ignore)


def shell(line: str, folder: Path) -> tuple[int, str]:
    """Type a line; return the exit code and what the terminal would show."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", line],  # noqa: S607
        cwd=folder,
        env=clean_environment(PATH=path, COLUMNS=_COLUMNS),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=_TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout


def tidy(printed: str) -> str:
    """Return an output as documents show it: no progress, no blanks at the ends of lines."""
    lines = [line.rstrip() for line in _PROGRESS.sub("", printed).splitlines()]
    text = "\n".join(lines).strip("\n")
    return f"{text}\n" if text else ""


WAITING = "Waiting for the "


def comparable(printed: str) -> str:
    """Return an output with times, rates and run ids replaced by their names.

    A line that has one of them is compared without its padding, because widths of columns follow
    from it; so are rules of tables. That a command waits is printed on a slow machine only.
    """
    lines = [line for line in tidy(printed).splitlines() if not line.startswith(WAITING)]
    return "".join(f"{_line(line)}\n" for line in lines)


def _line(line: str) -> str:
    if set(line) <= {" ", "─"}:
        return "─" if "─" in line else ""
    changed = line
    for pattern, name in VOLATILE:
        changed = re.sub(pattern, name, changed)
    return line if changed == line else re.sub(r" {2,}", "  ", changed)


def refreshed(session: str, folder: Path) -> str:
    """Run a session and return it with what its commands print now.

    An output that differs in times and rates only is kept as it is, so that a document changes
    where the program has changed.

    Raises:
        ValueError: a command does not exist any more, or crashes.
    """
    shown = []
    for command, before in steps(session):
        code, printed = shell(command, folder)
        if code in {70, 126, 127} or any(text in printed for text in _BROKEN):
            raise ValueError(f"$ {command}\nexit code {code}\n{printed}")
        is_same = comparable(printed) == comparable(before)
        shown.append(f"$ {command}\n{tidy(before) if is_same else tidy(printed)}")
    return "".join(shown)


def section(path: Path, heading: str) -> str:
    """Return what stands under a heading, up to the next one of its level or above."""
    text = path.read_text(encoding="utf-8")
    rest = text.split(f"\n{heading}\n", 1)[1]
    level = len(heading) - len(heading.lstrip("#"))
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def table(text: str) -> list[list[str]]:
    """Return the cells of the first table of a text, without its header."""
    found = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert found is not None
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in found[0].splitlines()[2:]]
    return [[cell.strip() for cell in row] for row in cells]


def commands(block: Block) -> list[list[str]]:
    """Return the ``bulk-reset`` commands of a block of ``sh`` or ``console``, split into words."""
    text = block.body
    if block.language == "console":
        text = "\n".join(command for command, _ in steps(text))
    lines = text.replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        starts = [place for place, word in enumerate(words) if word == "bulk-reset"]
        for place in starts:
            rest = words[place + 1 :]
            ends = [n for n, word in enumerate(rest) if word in {"|", ">", "&&", ";", "2>", "<"}]
            found.append(rest[: ends[0]] if ends else rest)
    return found


def refresh(path: Path, folder_of: Callable[[], Path]) -> tuple[str, list[str]]:
    """Return a document with what its sessions and programs print now, and what failed.

    Args:
        folder_of: makes an empty folder.
    """
    text, problems = path.read_text(encoding="utf-8"), []
    # From the end, so that the places of earlier blocks stay right.
    for block in reversed(blocks(path, "console", "python")):
        folder = folder_of()
        copy_samples(folder)
        try:
            if block.language == "console":
                new, start, end = refreshed(block.body, folder), block.start, block.end
            elif block.printed is not None:
                new, start = run_program(block.body, folder), block.printed_start
                end = start + len(block.printed)
            else:
                continue
        except ValueError as error:
            problems.append(f"{block.name}: not refreshed\n{error}")
            continue
        text = text[:start] + new + text[end:]
    return text, problems


def known_commands() -> dict[str, set[str]]:
    """Return every command (``run``, ``job check`` …) with its options; help has none."""
    found: dict[str, set[str]] = {}

    def collect(command: click.Command, words: tuple[str, ...]) -> None:
        options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        found[" ".join(words)] = {name for name in options if not name.startswith("--help")}
        for name, sub in getattr(command, "commands", {}).items():
            collect(sub, (*words, name))

    collect(typer.main.get_command(app), ())
    return found


def long_options(words: Iterable[str]) -> set[str]:
    """Return the options in words or in a text's words, without their values."""
    return {name for word in words for name in re.findall(r"(?<![\w-])--[a-z][a-z-]*", word)}


def run_program(program: str, folder: Path) -> str:
    """Run a Python example; return what it prints.

    Raises:
        ValueError: it fails.
    """
    (folder / "example.py").write_text(program, encoding="utf-8")
    code, printed = shell("python example.py", folder)
    if code:
        raise ValueError(f"exit code {code}\n{printed}")
    return tidy(printed)


def names_of(rows: list[list[str]]) -> list[str]:
    """Return the first cell of each row, without its backticks."""
    return [row[0].strip("`") for row in rows]
