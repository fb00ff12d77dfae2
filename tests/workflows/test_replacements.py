"""Search and replace over incidents: the rules that it makes, and the command as a whole."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import read_csv

from bulk_reset.core.errors import InputError
from bulk_reset.workflows.edit_rules import Rules
from bulk_reset.workflows.replacements import read_glossary, replacement_rules, replacement_sheet


def replaced(text: str, texts: dict[str, str], *, whole_word: bool = False) -> str:
    rules = Rules.of(replacement_rules(texts, ["title"], whole_word=whole_word))
    return rules.wanted({"incident_id": "x", "title": text}, 2).get("title", text)


@pytest.mark.parametrize(
    ("text", "texts", "expected"),
    [
        ("CPU usage high", {"CPU usage": "CPU"}, "CPU high"),
        ("a b ab", {"a": "b", "b": "a", "ab": "c"}, "b a c"),
        (
            r"a.b 1+1 \d",
            {"a.b": r"\1", "1+1": "\\g<0>", r"\d": '"{{ x }}"'},
            '\\1 \\g<0> "{{ x }}"',
        ),
        ("磁盘满 🔥", {"磁盘": "硬盘", "🔥": "火"}, "硬盘满 火"),
        ("two\nlines", {"two\nlines": "one line"}, "one line"),
    ],
)
def test_texts_are_replaced_in_one_pass_as_they_are(
    text: str, texts: dict[str, str], expected: str
) -> None:
    """No text is a pattern or a template, and what was put in is not replaced again."""
    assert replaced(text, texts) == expected


def test_whole_words_are_bounded_by_ascii_letters_only() -> None:
    """A word within Chinese text is a whole word, because Chinese has no spaces."""
    text = "db-1 db-10 xdb-1 数据库db-1故障"
    assert replaced(text, {"db-1": "db-01"}, whole_word=True) == (
        "db-01 db-10 xdb-1 数据库db-01故障"
    )


def test_a_long_glossary_is_replaced_in_a_long_text() -> None:
    """The size of a glossary is not the size of a result."""
    glossary = {f"term{n}x": f"word{n}x" for n in range(2_000)}
    assert replaced("term7x " * 800, glossary) == "word7x " * 800


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a,b\nc\n", "line 2: not two texts."),
        (b"a,b\na,c\n", "line 2: 'a' is there twice, with two new texts."),
        (b",b\n", "line 1: not two texts."),
        (b'"a\n', "line 1: not CSV"),
        (b"", "is empty."),
        (b"\xff\xfea", "not UTF-8."),
    ],
)
def test_a_glossary_that_is_uncertain_is_refused(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    """Each error names the file and the line."""
    path = tmp_path / "terms.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_glossary(path)
    assert problem in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_field_without_a_text_is_refused() -> None:
    """Severity has no text to search in."""
    with pytest.raises(InputError, match=r"severity: not a text field\. Use title, description"):
        replacement_rules({"a": "b"}, ["title", "severity"])


def test_the_sheet_has_a_name_of_its_own_for_each_replacement() -> None:
    """The same command finds its sheet again, another one never does."""
    rules = replacement_rules({"CPU usage/高": "x"}, ["title"])
    name = replacement_sheet(rules, "--since 30d", "CPU usage/高")
    assert name == replacement_sheet(rules, "--since 30d", "CPU usage/高")
    assert name.name.startswith("replace-CPU-usage-高-")
    assert name != replacement_sheet(rules, "--since 7d", "CPU usage/高")


@pytest.mark.slow
def test_the_command_replaces_resumes_and_is_undone(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """From texts to sent rows with one command; again it has nothing to do; undo restores."""
    (tmp_path / "terms.csv").write_text("CPU usage,CPU saturated\nDisk,磁盘\n", encoding="utf-8")
    words = ["replace", "--glossary", "terms.csv", "--since", "30d", "--in", "title", "--yes"]
    words += ["--sandbox-state", "state.json"]
    done = command(*words, key=None)
    again = command(*words, key=None)
    (report,) = tmp_path.glob("replace-terms-*.sandbox.report.csv")
    undone = command("undo", report.name, "--yes", "--sandbox-state", "state.json", key=None)

    assert (done.returncode, again.returncode, undone.returncode) == (0, 0, 0)
    assert {row["status"] for row in read_csv(report)} == {"updated"}
    assert len(read_csv(report)) > 0
    assert "exists; reusing it, nothing is pulled" in again.stderr


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["a"], "replace: needs two texts. Give OLD and NEW, or use --glossary FILE."),
        (["a", "b"], "replace: no incidents selected. Use for example --since 30d."),
        (["a", "b", "--glossary", "x"], "--glossary: has the texts. Remove it, or remove OLD"),
        (["a", "b", "--since", "1d", "--in", "id"], "--in id: not a text field. Use title,"),
    ],
)
def test_a_command_that_is_incomplete_says_what_is_missing(
    command: Callable[..., subprocess.CompletedProcess[str]], words: list[str], problem: str
) -> None:
    """Nothing is read or sent."""
    done = command("replace", *words, "--sandbox")
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr
