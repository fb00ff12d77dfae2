"""The one place through which texts reach a terminal: no text acts there."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

import bulk_reset
from bulk_reset.cli.console import Output, new_table, print_error, print_text
from bulk_reset.cli.plan import PlanView
from bulk_reset.cli.summary import show_lost, show_verification
from bulk_reset.core.errors import InputError
from bulk_reset.core.plan import FieldPlan, PlanTotals, RowPlan
from bulk_reset.core.totals import Mismatch, Verification
from bulk_reset.workflows.undo_sheet import UndoSheet
from bulk_reset.workflows.undo_steps import NotRestored

ACTS = (
    *(chr(code) for code in (*range(9), 9, 11, 12, 13, *range(14, 32), *range(127, 160))),
    *"\u2028\u2029\u061c\u200e\u200f\u202a\u202e\u2066\u2069\u200b\u2060\u206f\u180e\ufeff\ufff9",
)
EVIL = "".join(f"<{char}>" for char in ACTS) + "\x1b[2J\x1b]0;x\x07[bold]b[/bold]:x:\nrow 9"


class _Terminal(io.StringIO):
    """A stream that is taken for a terminal with colours."""

    def isatty(self) -> bool:
        return True


def printed(show: Callable[[Output], None], stream: io.StringIO, patch: pytest.MonkeyPatch) -> str:
    """Return what is printed, without the colours and styles of this program."""
    patch.setenv("TERM", "xterm")
    patch.setenv("COLUMNS", "900")
    for name in ("stdout", "stderr"):
        patch.setattr(f"sys.{name}", stream)
    show(Output())
    return re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())


def _plan(output: Output) -> None:
    view = PlanView(output)
    fields = [
        FieldPlan("title", EVIL, f"new {EVIL} x", None),
        FieldPlan("field:" + EVIL, "a", f"b {EVIL}", EVIL),
    ]
    view.add(RowPlan(2, "a" * 24, "update", tuple(fields)))
    view.show(PlanTotals(EVIL, 0.0, 1, {"update": 1}, {EVIL: 1}, 0, 1, 0.1))


def _lost(output: Output) -> None:
    lost = NotRestored(EVIL, EVIL, EVIL, EVIL, EVIL, EVIL)
    sheet = UndoSheet(Path("x"), Path("y"), 1, 1, (lost,), Path("z"), f"file {EVIL}", 0, 0)
    show_lost(output, sheet)


def _table(output: Output) -> None:
    table = new_table("a", "b", right={"a"}, whole="b")
    table.add_row(EVIL, EVIL)
    output.table(table)


def _errors(output: Output) -> None:
    with pytest.raises(typer.Exit), output.errors():
        raise InputError(f"{EVIL}: not a sheet. Use another.")


@pytest.mark.parametrize(
    "show",
    [
        _plan,
        _lost,
        _table,
        _errors,
        lambda output: output.line(EVIL),
        lambda output: output.notice(EVIL),
        lambda output: output.once()(EVIL),
        lambda _: print_error(EVIL),
        lambda _: print_error(EVIL, is_red=False),
        lambda output: show_verification(
            output, Verification(EVIL, 1, (Mismatch(2, EVIL, EVIL, EVIL, EVIL, EVIL),))
        ),
    ],
)
@pytest.mark.parametrize("stream", [_Terminal, io.StringIO])
def test_no_text_acts_on_a_terminal(
    show: Callable[[Output], None],
    stream: Callable[[], io.StringIO],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither control characters, directions, markup nor emoji codes; nor a line of its own."""
    text = printed(show, stream(), monkeypatch)
    assert set(text) & set(ACTS) == set()
    assert "\nrow 9" not in text
    assert "❌" not in text
    assert "<\N{REPLACEMENT CHARACTER}>" in text


def test_a_text_of_ours_has_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A page of the manual, or a unit of systemd."""
    print_text("one\ntwo\x1b[2J")
    assert capsys.readouterr().out == "one\ntwo\N{REPLACEMENT CHARACTER}[2J\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "a.csv", f"{EVIL}.csv"],
        ["check", "a.csv", f"--{EVIL}"],
        ["check", "a.csv", "--header-row", EVIL],
        [EVIL],
        ["docs", EVIL],
    ],
)
def test_an_argument_does_not_act_in_a_usage_error(
    arguments: list[str], command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """The name of a foreign file, from a shell's pattern, is an argument."""
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert set(done.stderr) & set(ACTS) == set()


def test_texts_are_printed_in_one_place() -> None:
    """Only the module that makes texts safe prints them, and texts of this program alone."""
    allowed = {
        "cli/console.py": {"echo", "secho"},
        "cli/__init__.py": {"echo", "write"},  # the version; the last resort, which is safe
        "cli/app_command.py": {"echo"},  # the help
        "cli/completion.py": {"echo"},  # the script for the shell
    }
    root = Path(bulk_reset.__file__).parent
    found: dict[str, set[str]] = {}
    for path in root.rglob("*.py"):
        for name in re.findall(
            r"typer\.(echo|secho)\(|^ *(print)\(|sys\.std(?:out|err)\.(write)\(",
            re.sub(r'""".*?"""', "", path.read_text(encoding="utf-8"), flags=re.DOTALL),
            re.MULTILINE,
        ):
            found.setdefault(path.relative_to(root).as_posix(), set()).add("".join(name))
    assert found == allowed
