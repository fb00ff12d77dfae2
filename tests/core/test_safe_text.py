"""Foreign texts are safe in terminals and spreadsheets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st
from programs import FAST, QUICK, SandboxProcess
from terminal import seen_on_a_terminal

from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.safe_text import (
    escape_controls,
    escape_formula,
    guard_formula,
    guard_json,
    one_line,
    unguard_edited,
    unguard_formula,
    without_controls,
)
from bulk_reset.records.report_file import Report

EVIL = {
    "a screen cleared": "\x1b[2Jx",
    "a clipboard written": "\x1b]52;c;ZXZpbA==\x07",
    "a link": "\x1b]8;;http://evil.example\x1b\\x",
    "8-bit controls": "\x9b2Jx",
    "a bell": "\x07\x07x",
    "a line overwritten": "x\rerror: none",
    "writing turned around": "\u202egnp.exe",
    "writing isolated": "\u2067abc\u2069",
    "a line ended": "a\u2028b\u2029c\x85d",
    "backspaces": "x\x08\x08y",
    "nothing to be seen": "\u200ba\u2060b\ufeff",
}
STARTS = (*"=+-@\t\r\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@pytest.mark.parametrize("kind", EVIL)
def test_control_characters_are_shown_as_a_mark(kind: str) -> None:
    """No control character remains, in any form of a text."""
    for show in (without_controls, one_line, escape_formula):
        assert show(EVIL[kind]) == "".join(
            c for c in show(EVIL[kind]) if c.isprintable() or c == "\n"
        )
        assert "x" in show("x" + EVIL[kind])


def test_ordinary_texts_are_unchanged() -> None:
    """Letters of all scripts, emoji of several parts, and line breaks."""
    text = "磁盘满 façade सेवा 👩\u200d💻 e\u0301\nline two"
    assert without_controls(text) == text


@given(st.text())
def test_guarded_text_never_runs_and_can_be_restored(text: str) -> None:
    """For every text."""
    assert unguard_formula(guard_formula(text)) == text
    assert not guard_formula(text).startswith(STARTS)
    assert not escape_formula(text).startswith(STARTS)
    assert escape_formula(escape_formula(text)) == escape_formula(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=1", "'=1"),
        (" @x", "'@x"),
        ("\u3000\uff1d1", "'\uff1d1"),
        ("a;=1; +2;'-3;b", "a;'=1;' +2;'-3;b"),
        ("a=1; b-2", "a=1; b-2"),
        ("a\n-1", "a -1"),
    ],
)
def test_formula_is_shown_with_a_quote_before_it(text: str, shown: str) -> None:
    """At its start, and where Excel in German or French begins a cell inside it."""
    assert escape_formula(text) == shown


@pytest.mark.parametrize("text", ["'tis", "'", "", "x'=1", "''quoted''", "a;'b"])
def test_text_that_was_not_guarded_is_unchanged(text: str) -> None:
    """A user who fixes a cell types the intended text."""
    assert unguard_formula(text) == text


@given(st.text(), st.text(st.sampled_from("'=-\n;ab ")))
def test_guards_of_an_edited_text_are_removed_and_typed_quotes_are_not(
    text: str, typed: str
) -> None:
    """A text that was not edited is restored; in a text without guards every quote was typed."""
    assert unguard_edited(guard_formula(text), guard_formula(text)) == text
    assert unguard_edited(typed, "abc") == typed
    assert unguard_edited(typed, typed.replace("'", "x")) == typed


@pytest.mark.parametrize(
    ("guarded", "edited", "text"),
    [
        ("'=a", "'=ab", "=ab"),
        ("'=a", "=a", "=a"),
        ("'=a", "'-typed\n'=a", "'-typed\n=a"),
        ("'=a", "'=a\n'-typed", "=a\n'-typed"),
        ("x\n'-a\ny", "x\n'-a b\ny\n'-typed", "x\n-a b\ny\n'-typed"),
        ("x\n'-a\n'-b", "'-b\nx", "-b\nx"),
        ("x\r\n'-a\r\ny", "x\n'-a\nz", "x\n-a\nz"),
        ("x;'=a", "x;'=a;'=typed", "x;=a;'=typed"),
        ("''=a", "''=b", "'=b"),
        ("x\n'\ny", "x\n'\nz", "x\n'\nz"),
        ("'=a", "all new", "all new"),
    ],
)
def test_quote_is_removed_only_where_a_guard_was(guarded: str, edited: str, text: str) -> None:
    """Lines were added, edited, moved or removed."""
    assert unguard_edited(edited, guarded) == text


def test_long_text_of_many_lines_is_unguarded_at_once() -> None:
    """Aligning its lines would take minutes."""
    lines = [f"-{n}" for n in range(20_000)]
    guarded = guard_formula("\n".join(lines))
    assert unguard_edited(f"{guarded}\nend", guarded) == "\n".join([*lines, "end"])


# --- The command, on a terminal and elsewhere ------------------------------------------------


def is_quiet(seen: str, evil: str) -> bool:
    """Return whether no control character of a hostile text has reached the output."""
    active = [c for c in evil if not c.isprintable() and c not in "\r\x1b"]
    return evil not in seen and not any(c in seen for c in active) and "\x1b]" not in seen


@pytest.fixture
def odd_sheets(tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    """Write sheets with a hostile text in a cell and in names of columns, worksheets and files."""
    evil: str = request.param
    quoted = evil.replace('"', '""')
    (tmp_path / "cell.csv").write_text(
        f'id,title\n"{quoted}",abc\n[bold]a[/bold],abc\n1,"{"x" * 200}{quoted}"\n',
        encoding="utf-8",
        newline="",
    )
    (tmp_path / "column.csv").write_text(
        f'id,title,"{quoted}y"\n1,x,y\n', encoding="utf-8", newline=""
    )
    (tmp_path / "mapped.csv").write_text(f'"{quoted}y"\n1\n', encoding="utf-8", newline="")
    name = f"{evil.replace('/', '-')}.csv"
    (tmp_path / name).write_text("id,title\n1,x\n", encoding="utf-8")
    book = xlsxwriter.Workbook(tmp_path / "book.xlsx")
    sheet = "".join(c for c in evil if c not in "[]:*?/\\" and (c.isprintable() or c > "\x9f"))
    for title in (f"{sheet[:20]}1", f"{sheet[:20]}2"):
        book.add_worksheet(title).write_row(0, 0, ["id", "title"])
    book.close()
    return ["cell.csv", "column.csv", "mapped.csv", name, "book.xlsx"]


@pytest.mark.parametrize(
    ("odd_sheets", "evil"),
    [(EVIL[kind], EVIL[kind]) for kind in ("a clipboard written", "writing turned around")],
    indirect=["odd_sheets"],
)
def test_sheet_cannot_control_the_terminal(
    odd_sheets: list[str], evil: str, tmp_path: Path
) -> None:
    """In a cell or in the name of a column, a worksheet or a file: the text is only shown."""
    for name, more in ((odd_sheets[3], "--json"), *((name, "--verbose") for name in odd_sheets)):
        code, seen = seen_on_a_terminal(["check", name, more], tmp_path, TERM="xterm")
        assert code == 2
        assert is_quiet(seen, evil), (name, seen)
        assert name != "cell.csv" or "[bold]a" in seen


def test_foreign_report_cannot_control_the_terminal(tmp_path: Path) -> None:
    """With any content of its cells, as a table and as equivalent JSON."""
    evil = EVIL["a clipboard written"] + EVIL["writing turned around"] + "\x9b2J[bold]b[/bold]"
    path = tmp_path / "incidents.report.csv"
    with Report(path) as report:
        report.write(
            Outcome(2, "a" * 24, Status.FAILED, (), "d" * 24, error_code="X1", error_message="X2")
        )
    content = path.read_bytes().replace(b"X1", evil.encode()).replace(b"X2", evil.encode())
    path.write_bytes(content)
    for more in ([], ["--json"]):
        code, seen = seen_on_a_terminal(["report", path.name, *more], tmp_path, 300, TERM="xterm")
        assert (code, "[bold]b" in seen, is_quiet(seen, evil)) == (1, True, True)


@given(st.text())
def test_guarded_json_is_equivalent_and_inert(text: str) -> None:
    """Nothing after a semicolon, where a spreadsheet may begin a cell, starts a formula."""
    for value in (text, f"{text}; =1+1", f";\t@{text}", f"a;\uff1d{text};-{text}"):
        guarded = guard_json(json.dumps({"title": value}, ensure_ascii=False))
        assert json.loads(guarded) == {"title": value}
        cells = guarded.split(";")[1:]
        assert not any(cell.lstrip(" \u3000\xa0").startswith(STARTS) for cell in cells)


@given(st.text())
def test_escaped_json_is_equivalent_and_safe(text: str) -> None:
    """For a script, the texts are unchanged."""
    shown = escape_controls(json.dumps({text: text}, ensure_ascii=False, indent=2))
    assert json.loads(shown) == {text: text}
    assert without_controls(shown) == shown


@pytest.mark.parametrize("kind", ["a clipboard written", "writing turned around", "a bell"])
def test_server_cannot_control_the_terminal(
    kind: str, start_sandbox: Callable[..., SandboxProcess], tmp_path: Path
) -> None:
    """Its messages, codes and ids are only shown, in the report and in summaries."""
    evil = EVIL[kind]
    error = {"code": f"Bad{evil}", "message": f"[red]no[/red] {evil}"}
    body = json.dumps({"request_id": f"R{evil}", "error": error})
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps([{"body": body, "status": 400}]))
    sandbox = start_sandbox("--seed-incidents", "3", *QUICK, "--faults", str(faults))
    (tmp_path / "incidents.csv").write_text("id,title\n69da451e0000000000000001,A title\n")
    url = ("--base-url", sandbox.url)
    run = ["run", "incidents.csv", "-v", "--yes", *url, *FAST]
    for arguments in (run, ["report", "incidents.report.csv"]):
        _, seen = seen_on_a_terminal(arguments, tmp_path, TERM="xterm")
        assert "[red]no" in seen
        assert is_quiet(seen, evil), seen
    for name in ("incidents.report.csv", "incidents.failed.csv"):
        assert is_quiet((tmp_path / name).read_text(encoding="utf-8"), evil)
