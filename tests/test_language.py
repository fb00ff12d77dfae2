"""The project is written in plain technical English.

A word of ``REPLACEMENTS`` is jargon, old or ambiguous, and has a standard word in its place. The
package, the README, the samples and the tests are searched. A search of text cannot know what a
word means, so the phrases are chosen so that ordinary uses do not match.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from programs import ROOT

REPLACEMENTS: Final[dict[str, str]] = {
    r"(?:say|says|said|tell|told) (?:`+)?--[a-z-]+": "use --option",
    r"say FILE": "use FILE",
    r"mend|mends|mended|mending": "fix",
    # "mistake" is also a value of ``source.if_none`` in users' job files.
    r"mistakes|(?<!\")mistake(?!\")": "error, invalid row",
    r"(?:go|goes|going|gone|went) on with": "resume, continue with",
    r"(?:go|goes|going|gone|went) on": "continue",
    r"what became of": "result, outcome",
    r"became of it": "result, outcome",
    r"(?:stands|stood) there": "current value, previous value",
    r"already so": "no change needed",
    r"is so already": "no change needed",
    r"the API said": "the API accepted, the API rejected",
    r"canary is well": "canary passed",
    r"nobody said": "not confirmed",
    r"looked at": "read, compared",
    r"somebody has changed": "modified since the pull",
    r"held back": "skipped",
    r"(?:is|are) to be restored": "will be restored",
    r"would be set": "will be updated",
    r"at the least": "at least",
    r"found by (?:itself|themselves)": "auto-detected",
    r"on their way": "in-flight",
    r"who is told": "notifications",
    r"tells nobody": "no notifications",
    r"softly": "gracefully",
    r"the way back": "undo",
    r"books (?:do not )?balance": "totals match",
    r"once more|anew|again and again": "again, from scratch, repeatedly",
    r"twins?": "duplicate",
    r"strangers?": "another client, another user",
    r"springs? into being": "is created",
    r"rightly|in truth": "leave out",
    r"for good": "permanently",
    r"(?:is|are|be) left alone": "is not changed",
    r"(?:is|are) left as (?:it is|they are)": "is not changed",
    r"whoever|whom": "the client, the user, who",
    r"nobody|somebody": "no one, another user",
}
"""A regular expression, matched at word boundaries in any case -> the standard words."""

ENDINGS: Final = frozenset({".py", ".md", ".j2", ".html", ".css", ".js", ".toml", ".csv", ".txt"})
_NOT_SEARCHED: Final = ("uPlot.", "CHANGELOG.md")
"""Code of others; and the list that has the names of earlier versions."""
_JARGON: Final = re.compile(
    "|".join(rf"(?<!\w)(?:{pattern})(?!\w)" for pattern in REPLACEMENTS), re.IGNORECASE
)
_TEST_NAME: Final = re.compile(r"^\s*(?:async )?def (test_\w+)", re.MULTILINE)
_LINE_BREAK: Final = re.compile(r"\s*\n\s*(?:#:? |\"|f\"|\* |- )*")


def texts() -> Iterator[Path]:
    """Yield every file that people read: package, README, samples, Makefile, tests."""
    for folder in ("bulk_reset", "samples"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in ENDINGS and not any(part in str(path) for part in _NOT_SEARCHED):
                yield path
    yield ROOT / "README.md"
    yield ROOT / "Makefile"
    # This file has the words themselves; sheets and reports of tests have those of users.
    yield from sorted(set((ROOT / "tests").rglob("*.py")) - {Path(__file__)})


def jargon(text: str) -> list[str]:
    """Return the line number and the words of each piece of jargon in a text.

    A phrase that a line break divides is found as well.
    """
    found = {
        f"{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for match in _JARGON.finditer(text)
    }
    for number, (line, following) in enumerate(_pairs(text), start=1):
        joined = _LINE_BREAK.sub(" ", f"{line}\n{following}")
        found |= {
            f"{number}: {match[0]}"
            for match in _JARGON.finditer(joined)
            if match.start() < len(line) < match.end()
        }
    return sorted(found, key=lambda one: int(one.partition(":")[0]))


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    lines = text.splitlines()
    return zip((line.rstrip() for line in lines), (*lines[1:], ""), strict=True)


@pytest.mark.parametrize("path", list(texts()), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_text_is_plain_english(path: Path) -> None:
    """Every line that users and contributors read is understood at first sight."""
    assert jargon(path.read_text(encoding="utf-8", errors="replace")) == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.name
)
def test_the_names_of_tests_are_plain_english(path: Path) -> None:
    """A test's name is a sentence in the same words as the program."""
    names = _TEST_NAME.findall(path.read_text(encoding="utf-8"))
    assert [name for name in names if jargon(name.replace("_", " "))] == []


def test_a_phrase_is_found_in_any_case_and_across_lines() -> None:
    """The search itself works: at word boundaries, and over a comment's line break."""
    text = "Mend it.\n# the run is gone\n# on with\namendment, forgone\n"
    assert jargon(text) == ["1: Mend", "2: gone on with"]
