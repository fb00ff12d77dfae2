"""The comparison of two texts is exact for every text, and readable for people."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from itertools import pairwise
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_reset.core.word_diff import Op, shortened, words_changed

LONGEST = 6144
MARKS: dict[Op, str] = {"same": "{}", "old": "[-{}-]", "new": "[+{}+]"}
SCRAPS = st.lists(
    st.sampled_from(
        ["disk", "full", "db", "01", " ", "  ", "\n", "-", ".", "磁", "盘", "e\u0301", "👩\u200d💻"]
    )
).map("".join)
TEXTS = st.one_of(st.text(), SCRAPS)


def drawn(parts: list[tuple[Op, str]]) -> str:
    return "".join(MARKS[op].format(text) for op, text in parts)


def old_of(parts: list[tuple[Op, str]]) -> str:
    return "".join(text for op, text in parts if op != "new")


def new_of(parts: list[tuple[Op, str]]) -> str:
    return "".join(text for op, text in parts if op != "old")


@given(TEXTS, TEXTS)
def test_parts_together_are_both_texts(old: str, new: str) -> None:
    """Nothing is lost or invented for any texts; no part is empty, and none could be joined."""
    parts = words_changed(old, new)
    ops = [op for op, _ in parts]

    assert (old_of(parts), new_of(parts)) == (old, new)
    assert all(text for _, text in parts)
    assert not {("same", "same"), ("old", "old"), ("new", "new"), ("new", "old")} & {*pairwise(ops)}


@given(TEXTS)
def test_equal_texts_have_no_changes(text: str) -> None:
    """Equal texts are one part."""
    assert words_changed(text, text) == ([("same", text)] if text else [])


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        ("Disk full on db-01", "Disk full on db-02", "Disk full on db-[-01-][+02+]"),
        ("Disk full on db-01", "Disk nearly full on db-01", "Disk [+nearly +]full on db-01"),
        ("disk disk full", "disk full", "disk [-disk -]full"),
        ("Warning", "Critical", "[-Warning-][+Critical+]"),
        ("", "Payments", "[+Payments+]"),
        ("Payments", "", "[-Payments-]"),
        ("one two", "one  two", "one[- -][+  +]two"),
        ("a line\n", "a line", "a line[-\n-]"),
        ("影响华东地区用户", "影响华南地区用户", "影响华[-东-][+南+]地区用户"),
        ("カード決済失敗", "カード決済成功", "カード決済[-失敗-][+成功+]"),
        ("カードで払う", "カートで払う", "カー[-ド-][+ト+]で払う"),
        ("tock tock tick", "disk tock tock", "[+disk +]tock tock[- tick-]"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.[-1-][+2, 10.0.0.3+]"),
    ],
)
def test_change_is_shown_at_its_place(old: str, new: str, seen: str) -> None:
    """Words, white space and punctuation; Chinese and Japanese by the character."""
    assert drawn(words_changed(old, new)) == seen


def test_two_words_of_a_long_paragraph_are_the_whole_difference() -> None:
    """Also if the paragraph repeats itself."""
    line = "Between 09:12 and 09:40 every third payment was declined.\n"
    old = line * 90
    new = line * 30 + line.replace("third", "second") + line * 50 + line.replace("40", "45")
    new += line * 8
    changes = [part for part in words_changed(old, new) if part[0] != "same"]

    assert changes == [("old", "third"), ("new", "second"), ("old", "40"), ("new", "45")]


def test_single_word_between_two_changes_is_part_of_them() -> None:
    """Three words replaced by three others are easier to read than many small changes."""
    seen = drawn(words_changed("It was halved by a change of plan", "It was cut in a rush of plan"))
    assert seen == "It was [-halved by a change-][+cut in a rush+] of plan"


def test_texts_with_little_in_common_are_shown_as_replaced() -> None:
    """A few common words do not make two versions of one text."""
    old = "The connection pool of the gateway was halved, so payments were declined."
    new = "No one knows why the gateway restarts; logs show nothing, and it has happened twice."
    assert words_changed(old, new) == [("old", old), ("new", new)]


def test_extended_text_keeps_its_beginning() -> None:
    """The existing text is not shown as removed, however much is added."""
    more = " and it happened again" * 50
    assert words_changed("The disk was full", "The disk was full" + more) == [
        ("same", "The disk was full"),
        ("new", more),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ab e\u0301", "ab e\u0300"),
        ("ab 👩\u200d💻", "ab 👩\u200d🔧"),
        ("ab 👍🏻", "ab 👍🏿"),
        ("ab 🇩🇪", "ab 🇩🇰"),
    ],
)
def test_combined_characters_stay_together(old: str, new: str) -> None:
    """Accents, emoji of several parts, flags."""
    assert words_changed(old, new) == [("same", "ab "), ("old", old[3:]), ("new", new[3:])]


def two_of(chars: str) -> Callable[[random.Random], tuple[str, str]]:
    """Return texts of few different characters, in which everything may match."""
    return lambda rng: (
        "".join(rng.choices(chars, k=LONGEST)),
        "".join(rng.choices(chars, k=LONGEST)),
    )


def nested(_: random.Random) -> tuple[str, str]:
    """Return texts in which a word becomes unique after another one is matched."""
    letters = [chr(0x4E00 + n) for n in range(LONGEST // 4 + 1)]
    order = [letter for pair in pairwise(letters) for letter in reversed(pair)]
    return "的".join(order), "了".join(order)


def alternating(_: random.Random) -> tuple[str, str]:
    """Return texts in which every second character differs."""
    letters = [chr(0x4E00 + n) for n in range(LONGEST // 2)]
    return "的".join(letters), "了".join(letters)


def shuffled(rng: random.Random) -> tuple[str, str]:
    """Return the same words in another order."""
    words = [f"w{n}" for n in range(1200)]
    return " ".join(words), " ".join(rng.sample(words, len(words)))


@pytest.mark.parametrize(
    "make", [two_of("a "), two_of("-=+"), two_of("磁盘"), nested, alternating, shuffled]
)
def test_longest_texts_cost_only_a_few_passes(
    make: Callable[[random.Random], tuple[str, str]],
) -> None:
    """Counted in executed lines, not in time: quadratic code would run a hundred times as many."""
    old, new = make(random.Random(7))  # noqa: S311
    lines = 0

    def count(_: FrameType, event: str, __: object) -> object:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        parts = words_changed(old, new)
    finally:
        sys.settrace(before)

    assert (old_of(parts), new_of(parts)) == (old, new)
    assert lines < 120 * LONGEST


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        (
            "Between nine and ten every third payment was declined by the gateway of the shop",
            "Between nine and ten every second payment was declined by the gateway of the shop",
            "… ten every [-third-][+second+] payment was…",
        ),
        ("short one", "short two", "short [-one-][+two+]"),
        ("x" * 50 + " one", "x" * 50 + " two", f"…{'x' * 11} [-one-][+two+]"),
    ],
)
def test_long_unchanged_stretches_are_cut_to_whole_words(old: str, new: str, seen: str) -> None:
    """A few words remain beside each change; a single word that is too long is cut."""
    assert drawn(shortened(words_changed(old, new), around=12)) == seen


@given(TEXTS, TEXTS, st.integers(min_value=0, max_value=20))
def test_shortening_keeps_every_change_and_little_else(old: str, new: str, around: int) -> None:
    """For any texts: changes are complete, and unchanged parts are no longer than the limit."""
    parts = words_changed(old, new)
    short = shortened(parts, around)

    assert [op for op, _ in short] == [op for op, _ in parts]
    assert [part for part in short if part[0] != "same"] == [p for p in parts if p[0] != "same"]
    assert all(len(text) <= 2 * around + 1 for op, text in short if op == "same")
