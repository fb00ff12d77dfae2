"""Texts from below the page are shown in its language."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bulk_reset
from bulk_reset.core.outcome import MEANING_OF, Status, meaning_of
from bulk_reset.core.plan import MEANING_OF as PLANNED
from bulk_reset.sheets.cell_rules import further_error, id_error, severity_error, text_error
from bulk_reset.web import phrases
from bulk_reset.web.languages import translations
from bulk_reset.web.phrases import translated

CHINESE = translations("zh_CN")


def written_texts() -> Iterator[str]:
    """Yield a regular expression of each text in the packages; its values are ``.+``."""
    package = Path(bulk_reset.__file__).parent
    for path in package.rglob("*.py"):
        if path.parent.name == "web":
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.escape(node.value)
            elif isinstance(node, ast.JoinedStr):
                yield "".join(map(_pattern, node.values))


def _pattern(part: ast.expr) -> str:
    """Return the regular expression of a part of an f-string; of a count, with its noun."""
    match part:
        case ast.Constant(value=text):
            return re.escape(str(text))
        case ast.FormattedValue(ast.Call(ast.Name("counted"), [_, ast.Constant(value=noun)])):
            return f".+ {noun}s?"
    return ".+"


def letters(text: str) -> int:
    return len(re.findall("[A-Za-z]", text))


def test_every_phrase_is_a_text_of_the_packages_below() -> None:
    """A text that is changed below is changed here as well, or its translation is lost."""
    texts = [(re.compile(one), letters(one.replace(".+", ""))) for one in set(written_texts())]
    lost, known = [], {meaning_of(Status.UNCHANGED, 1, not_edited=1)}
    for phrase in phrases._PHRASES:  # noqa: SLF001  (the list itself is what is tested)
        text = phrase.removesuffix(", header in row %(row)s")
        least = 0.35 * letters(re.sub(r"%\(\w+\)s", "", text))
        similar = [one for one, own in texts if own >= least]
        if text not in known and not any(
            one.fullmatch(text) or one.fullmatch(f"x: {text}") for one in similar
        ):
            lost.append(phrase)
    assert lost == []


@pytest.mark.parametrize(
    "error",
    [
        *map(id_error, ["", "6.9E+23", "https://x/incident/detail/", "abc", "z" * 24]),
        *(text_error("title", text) for text in ["#REF!", '="a"', "ab", "a", "x" * 201, "\x07bc"]),
        *(text_error("title", text) for text in ["   ", "\u200b\u200b\u200b", "x" * 300]),
        *map(severity_error, ["P1", "very bad", "ok", "严重"]),
        *(further_error("field:x:json", text) for text in ["{", "null", '"\\ud800"']),
    ],
)
def test_an_error_of_a_cell_is_shown_in_chinese(error: tuple[str, str, str]) -> None:
    """The problem and its fix, with their values."""
    _, problem, fix = error
    for text in (problem, fix):
        shown = translated(text, CHINESE)
        assert re.search("[\u4e00-\u9fff]", shown), text
        assert sorted(re.findall(r"\d+", shown)) == sorted(re.findall(r"\d+", text))


def test_the_meaning_of_every_result_is_shown_in_chinese() -> None:
    """Of a run's rows, and of a plan's rows that the page has."""
    texts = {*MEANING_OF.values(), *PLANNED.values()} - {
        PLANNED["done before"],
        PLANNED["beyond the limit"],
    }
    assert [text for text in texts if translated(text, CHINESE) == text] == []


def test_a_value_is_kept_and_another_text_is_shown_as_it_is() -> None:
    """Nothing is lost of a text that has no translation; English is not changed."""
    assert translated("row 1,200 sets title of the same incident to another value", CHINESE) == (
        "第 1,200 行给同一故障的 title 设了另一个值"
    )
    assert translated("100% <b>%(row)s</b>", CHINESE) == "100% <b>%(row)s</b>"
    assert translated("not a severity", translations("en")) == "not a severity"
