"""Compares two texts word by word, for people to read.

White space and punctuation are compared too; Chinese and Japanese character by character.
The cost is bounded for every text (see ``_matches``): a few hundredths of a second for the
longest texts that a field can hold.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal

Op = Literal["same", "old", "new"]
"""A part is unchanged, removed or added."""

_LEAST_SHARED: Final = 0.3
"""Texts that share less than this part of the shorter one are shown as fully replaced."""
_DEEPEST: Final = 12
"""How many times a gap between two matches is searched for more matches."""
_JOINER: Final = "\u200d"
_ASCII_TOKENS: Final = re.compile(r"\s+|\w+|[^\s\w]")
_Span = tuple[int, int, int, int]
"""Start and end in the old tokens, start and end in the new tokens."""


def words_changed(old: str, new: str) -> list[tuple[Op, str]]:
    """Return the unchanged, removed and added parts, in the order of reading.

    "same" and "old" parts together are ``old``; "same" and "new" parts together are ``new``.
    No part is empty, no two parts of the same kind follow each other, and "old" comes before
    its "new". A single unchanged word between two changes becomes part of them.
    """
    if old == new:
        return [("same", old)] if old else []
    head, tail = _ends_shared(old, new)
    a, b = (_tokens(text[head : len(text) - tail]) for text in (old, new))
    parts: list[tuple[Op, str]] = [("same", old[:head])] if head else []
    for is_same, a0, a1, b0, b1 in _joined(a, b):
        if is_same:
            _add_same(parts, "".join(a[a0:a1]))
            continue
        if a0 < a1:
            parts.append(("old", "".join(a[a0:a1])))
        if b0 < b1:
            parts.append(("new", "".join(b[b0:b1])))
    if tail:
        _add_same(parts, old[len(old) - tail :])
    if _shared(parts) < _LEAST_SHARED * min(_weight(old), _weight(new)):
        return [("old", old), ("new", new)]
    return parts


def _add_same(parts: list[tuple[Op, str]], text: str) -> None:
    before = parts.pop()[1] if parts and parts[-1][0] == "same" else ""
    parts.append(("same", before + text))


def _ends_shared(old: str, new: str) -> tuple[int, int]:
    """Return how many characters the heads and the tails of two texts share, to whole words.

    Equal ends need not be split into tokens, and usually they are nearly the whole text. A cut
    after white space is always a border between two tokens.
    """
    head = _shared_length(old, new)
    while head and not _is_border(old, new, head):
        head -= 1
    old, new = old[head:][::-1], new[head:][::-1]
    tail = _shared_length(old, new)
    while tail and not _is_border(old, new, tail):
        tail -= 1
    return head, tail


def _shared_length(one: str, other: str) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _is_border(one: str, other: str, place: int) -> bool:
    """Return whether the shared part ends with white space, and no more white space follows."""
    after = (text[place : place + 1] for text in (one, other))
    return one[place - 1].isspace() and not any(char.isspace() for char in after)


def shortened(parts: list[tuple[Op, str]], around: int = 40) -> list[tuple[Op, str]]:
    """Return the parts with long unchanged stretches cut to ``…``; changes stay whole.

    Args:
        around: maximum number of characters kept beside each change, to whole words.
    """
    return [
        (op, text if head + tail == len(text) else f"{text[:head]}…{text[len(text) - tail :]}")
        for (op, text), (head, tail) in zip(parts, ends_kept(parts, around), strict=True)
    ]


def ends_kept(parts: list[tuple[Op, str]], around: int) -> list[tuple[int, int]]:
    """Return how much of the head and of the tail of each part is kept; see ``shortened``."""
    last = len(parts) - 1
    kept = []
    for place, (op, text) in enumerate(parts):
        # Without any change, the beginning identifies the text.
        before = around if place > 0 or last == 0 else 0
        after = around if place < last else 0
        if op == "same" and len(text) > before + after + 1:
            kept.append((len(_first_words(text, before)), len(_last_words(text, after))))
        else:
            kept.append((len(text), 0))
    return kept


def _first_words(text: str, most: int) -> str:
    words = "".join(_tokens(text[: most + 1])[:-1])
    # A single word that is longer than the limit is cut.
    return words if words.strip() else text[:most]


def _last_words(text: str, most: int) -> str:
    words = "".join(_tokens(text[len(text) - most - 1 :])[1:])
    return words if words.strip() else text[len(text) - most :]


@lru_cache(maxsize=4096)
def _kind(char: str) -> str:
    if char.isspace():
        return "space"
    # Marks combine with the character before them: accents, vowel signs, skin tones.
    if (
        unicodedata.category(char)[0] == "M"
        or char == _JOINER
        or "\U0001f3fb" <= char < "\U0001f400"
    ):
        return "mark"
    if "\u3040" <= char <= "\u30ff" or unicodedata.name(char, "").startswith("CJK"):
        return "single"
    # Flag emoji are pairs of regional indicator letters.
    if char.isalnum() or char == "_" or "\U0001f1e6" <= char <= "\U0001f1ff":
        return "word"
    return "single"


def _tokens(text: str) -> list[str]:
    """Return words, runs of white space, and all other characters one by one."""
    if text.isascii():
        return _ASCII_TOKENS.findall(text)
    tokens: list[str] = []
    start = 0
    kind_before = "none"
    for place, char in enumerate(text):
        kind = _kind(char)
        if (
            kind == kind_before != "single"
            or (kind == "mark" and kind_before in {"single", "word"})
            or (kind != "space" and text[place - 1 : place] == _JOINER)
        ):
            continue
        if place:
            tokens.append(text[start:place])
        start, kind_before = place, kind
    if text:
        tokens.append(text[start:])
    return tokens


def _is_word(token: str) -> bool:
    return token[0].isalnum()


def _weight(text: str) -> int:
    return sum(map(len, text.split()))


def _shared(parts: list[tuple[Op, str]]) -> int:
    return sum(_weight(text) for op, text in parts if op == "same")


def _joined(a: list[str], b: list[str]) -> Iterator[tuple[bool, int, int, int, int]]:
    """Yield unchanged (True) and changed spans, without single words between two changes."""
    a_at = b_at = 0
    for a0, a1, b0, b1 in _matches(a, b, (0, len(a), 0, len(b)), _DEEPEST):
        is_inside = (a0, b0) != (0, 0) and (a1, b1) != (len(a), len(b))
        if is_inside and sum(_is_word(token) for token in a[a0:a1]) <= 1:
            continue
        if (a_at, b_at) != (a0, b0):
            yield False, a_at, a0, b_at, b0
        yield True, a0, a1, b0, b1
        a_at, b_at = a1, b1
    if (a_at, b_at) != (len(a), len(b)):
        yield False, a_at, len(a), b_at, len(b)


def _matches(a: list[str], b: list[str], span: _Span, depth: int) -> list[_Span]:
    """Return the equal stretches within a span, in order (patience diff).

    Words that occur once in both texts are anchors; the longest rising series of them is kept,
    and the gaps between them are searched in the same way. Each level costs n log n, and there
    are ``depth`` levels: difflib takes minutes for two texts of few different words.
    """
    a0, a1, b0, b1 = span
    head, tail = 0, 0
    while a0 + head < a1 and b0 + head < b1 and a[a0 + head] == b[b0 + head]:
        head += 1
    a_in, b_in = a0 + head, b0 + head
    while a_in < a1 - tail and b_in < b1 - tail and a[a1 - tail - 1] == b[b1 - tail - 1]:
        tail += 1
    a_out, b_out = a1 - tail, b1 - tail
    inner: list[_Span] = []
    if depth and a_in < a_out and b_in < b_out:
        anchors = _anchors(a, b, (a_in, a_out, b_in, b_out))
        if anchors:
            bounds = [(a_in - 1, b_in - 1), *anchors, (a_out, b_out)]
            for (a_left, b_left), (a_right, b_right) in pairwise(bounds):
                gap = (a_left + 1, a_right, b_left + 1, b_right)
                inner += _matches(a, b, gap, depth - 1)
                inner.append((a_right, a_right + 1, b_right, b_right + 1))
            del inner[-1]
    return _merged([(a0, a_in, b0, b_in), *inner, (a_out, a1, b_out, b1)])


def _merged(spans: list[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for span in spans:
        if span[0] == span[1]:
            continue
        if merged and (merged[-1][1], merged[-1][3]) == (span[0], span[2]):
            merged[-1] = (merged[-1][0], span[1], merged[-1][2], span[3])
        else:
            merged.append(span)
    return merged


def _anchors(a: list[str], b: list[str], span: _Span) -> list[tuple[int, int]]:
    """Return pairs of matching places, rising in both texts.

    They are of words that occur once in both; if there are none, of words that occur equally
    often in both, the first with the first and so on.
    """
    a0, a1, b0, b1 = span
    in_a, in_b = Counter(a[a0:a1]), Counter(b[b0:b1])
    even = {t for t, count in in_a.items() if count == in_b[t] and not t.isspace()}
    known = {token for token in even if in_a[token] == 1} or even
    places: dict[str, deque[int]] = {token: deque() for token in known}
    for at in range(b0, b1):
        if b[at] in known:
            places[b[at]].append(at)
    return _rising([(at, places[a[at]].popleft()) for at in range(a0, a1) if a[at] in known])


def _rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest series of pairs in which both numbers rise."""
    # For each length: the lowest end of a series, its pair, and the pair before it.
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for index, (_, place) in enumerate(pairs):
        length = bisect_left(ends, place)
        before.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [place]
        last[length : length + 1] = [index]
    series = []
    index = last[-1] if last else -1
    while index >= 0:
        series.append(pairs[index])
        index = before[index]
    return series[::-1]
