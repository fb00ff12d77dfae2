"""The hash chain of an audit: each line has the SHA-256 of the line before it, and its number.

Lines that are removed, altered, inserted, copied or moved afterwards break the chain, and are
named. Lines of versions without a chain are continued. What a chain alone cannot show is that
lines at the end are missing: for that, keep the hash of the last line elsewhere.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

from bulk_reset.core.counting import counted
from bulk_reset.core.errors import InputError
from bulk_reset.core.input_file import open_input

PREVIOUS: Final = "previous"
LINE: Final = "line"
_START: Final = b'{"version":'
Kind = Literal["removed", "altered", "inserted", "copied", "moved"]


class Link(NamedTuple):
    """What the next line of an audit has about the ones before it."""

    previous: str
    line: int


def next_link(content: bytes) -> Link:
    """Return the link of the next line of an audit."""
    lines = [line for line in content.split(b"\n") if line.strip()]
    return Link(_hash(lines[-1]) if lines else "", len(lines) + 1)


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an audit.

    Attributes:
        at: its 1-based line in the file.
        sha256: its hash, in hexadecimal.
        previous: the hash it has of the line before it; None for a line without one.
        number: the number it has; None for a line without one.
    """

    at: int
    sha256: str
    previous: str | None
    number: int | None


@dataclass(frozen=True, slots=True)
class ChainProblem:
    """A place where an audit is not as it was written.

    Attributes:
        line: the line of the file.
    """

    line: int
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """The result of verifying an audit.

    Attributes:
        unchained: lines without a hash: of an earlier version, or torn by a crash.
        last: the hash of the last line; keep it to detect that lines at the end are missing.
    """

    lines: int
    unchained: int
    problems: tuple[ChainProblem, ...]
    last: str

    @property
    def is_intact(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def verify_audit(path: Path, last: str = "") -> ChainCheck:
    """Verify the chain of an audit.

    Args:
        last: the hash of a line that must be in it, as an earlier verification reported it.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with open_input(path) as file:
            content = file.read()
    except OSError as exc:
        raise InputError(
            f"{path}: cannot be read ({exc.strerror or exc}). Check the name of the audit."
        ) from exc
    if _START not in content:
        raise InputError(f"{path}: not an audit of bulk-reset. Use a file NAME.audit.jsonl.")
    lines = list(_lines(content))
    found = list(find_problems(lines))
    if last and last not in {line.sha256 for line in lines}:
        text = f"no line has the hash {last}: lines at the end were removed or altered"
        found.append(ChainProblem(len(lines), "removed", text))
    return ChainCheck(
        len(lines),
        sum(line.previous is None for line in lines),
        tuple(sorted(found, key=lambda one: one.line)),
        lines[-1].sha256 if lines else "",
    )


def _lines(content: bytes) -> Iterator[Line]:
    for at, text in enumerate(content.split(b"\n"), 1):
        if not text.strip():
            continue
        previous = number = None
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(text)
            if isinstance(record, dict):
                previous, number = record.get(PREVIOUS), record.get(LINE)
        yield Line(
            at,
            _hash(text),
            previous if isinstance(previous, str) else None,
            number if type(number) is int else None,
        )


def find_problems(lines: Sequence[Line]) -> Iterator[ChainProblem]:
    """Yield each break of a chain, named by the lines that cause it."""
    place_of: dict[str, int] = {}
    kept: list[int] = []
    for place, line in enumerate(lines):
        if line.sha256 in place_of:
            text = f"a copy of line {lines[place_of[line.sha256]].at}"
            yield ChainProblem(line.at, "copied", text)
        else:
            place_of[line.sha256] = place
            kept.append(place)
    paths, foreign = _paths(lines, kept, place_of)
    foreign |= _between(paths, kept, foreign)
    reached = foreign.union(*paths)
    for place in kept:
        if place not in reached:  # lines that continue each other in a circle
            yield ChainProblem(lines[place].at, "moved", "moved: the hashes have it elsewhere")
    for place in sorted(foreign):
        yield ChainProblem(lines[place].at, "inserted", "inserted: the line after it skips it")
    paths = [path for path in paths if foreign.isdisjoint(path)]
    yield from _moved(lines, [place for path in paths for place in path])
    yield from _breaks(lines, paths)


def _paths(
    lines: Sequence[Line], kept: Sequence[int], place_of: dict[str, int]
) -> tuple[list[list[int]], set[int]]:
    """Follow the hashes.

    Returns: the places of lines that continue one another, a list for each unbroken part, in the
        order of their numbers; and the places of lines whose continuation the others do not know.
    """
    after: dict[int, list[int]] = {}
    heads: list[int] = []
    before: int | None = None
    for place in kept:
        line = lines[place]
        # A line without a hash is where it is: of an earlier version, or torn.
        known = before if line.previous is None else place_of.get(line.previous)
        if known is None or known == place:
            heads.append(place)
        else:
            after.setdefault(known, []).append(place)
        before = place
    length = _lengths(heads, after)
    foreign: set[int] = set()
    first = [place for place in heads if lines[place].previous == ""]
    for places in [first, *after.values()]:
        best = max(places, key=lambda place: (length.get(place, 0), place), default=None)
        for place in places:
            if place != best:
                foreign.update(_all_after(place, after))
    paths = [[one for one in _all_after(head, after) if one not in foreign] for head in heads]
    paths = [path for path in paths if path]
    paths.sort(key=lambda path: (lines[path[0]].number or 0, path[0]))
    return paths, foreign


def _all_after(head: int, after: dict[int, list[int]]) -> list[int]:
    """Return the places that continue a place, itself first; also of a circle each one once."""
    found: dict[int, None] = {}
    waiting = [head]
    while waiting:
        place = waiting.pop()
        if place not in found:
            found[place] = None
            waiting += after.get(place, [])
    return list(found)


def _lengths(heads: Sequence[int], after: dict[int, list[int]]) -> dict[int, int]:
    """Return how many lines continue each line, itself counted."""
    length: dict[int, int] = {}
    for head in heads:
        for place in reversed(_all_after(head, after)):
            length[place] = 1 + max((length[one] for one in after.get(place, [])), default=0)
    return length


def _between(paths: Sequence[Sequence[int]], kept: Sequence[int], foreign: set[int]) -> set[int]:
    """Return parts that are between two lines of which the second continues the first."""
    follows = {b: a for path in paths for a, b in itertools.pairwise(path)}
    order = [place for place in kept if place not in foreign]
    index = {place: at for at, place in enumerate(order)}
    found: set[int] = set()
    for path in paths:
        start, end = index[path[0]], index[path[-1]] + 1
        is_whole = end - start == len(path) and start > 0 and end < len(order)
        if is_whole and follows.get(order[end]) == order[start - 1]:
            found.update(path)
    return found


def _moved(lines: Sequence[Line], order: Sequence[int]) -> Iterator[ChainProblem]:
    """Yield the fewest lines that are elsewhere than the order of the chain has them."""
    staying = _longest_increasing(order)
    for at, place in enumerate(order):
        if place not in staying:
            where = f"line {lines[order[at - 1]].at}" if at else "the start"
            yield ChainProblem(lines[place].at, "moved", f"moved: it was written after {where}")


def _longest_increasing(order: Sequence[int]) -> set[int]:
    tails: list[int] = []
    before: dict[int, int] = {}
    for place in order:
        at = bisect.bisect_left(tails, place)
        if at:
            before[place] = tails[at - 1]
        tails[at:] = [place, *tails[at + 1 :]]
    found = set(tails[-1:])
    last = tails[-1] if tails else -1
    while last in before:
        last = before[last]
        found.add(last)
    return found


def _breaks(lines: Sequence[Line], paths: Sequence[Sequence[int]]) -> Iterator[ChainProblem]:
    """Yield what is missing or altered between the unbroken parts."""
    missing = _missing_at_start([lines[place] for place in paths[0]]) if paths else 0
    if missing:
        first = lines[paths[0][0]]
        yield ChainProblem(first.at, "removed", f"{_were_removed(missing)} before it")
    for path, following in itertools.pairwise(paths):
        one, other = lines[path[-1]], lines[following[0]]
        number = _last_number([lines[place] for place in path], is_first=path is paths[0])
        gap = other.number - number - 1 if number and other.number else 0
        if gap > 0:
            # The hash of the line before the gap was in the first one that is missing.
            text = f"{_were_removed(gap)} before it; line {one.at} cannot be verified"
            yield ChainProblem(other.at, "removed", text)
        elif len(following) > 1:
            text = f"altered: line {other.at} has another hash of it"
            yield ChainProblem(one.at, "altered", text)
        else:
            text = f"altered, or line {other.at} was: that line has another hash of it"
            yield ChainProblem(one.at, "altered", text)


def _missing_at_start(path: Sequence[Line]) -> int:
    """Return how many lines are missing before the first one, by the numbers; 1 if not known."""
    for place, line in enumerate(path):
        if line.number is not None:
            return max(line.number - 1 - place, int(place == 0 and line.previous != ""))
    return 0


def _last_number(path: Sequence[Line], *, is_first: bool) -> int | None:
    """Return the number of a part's last line, also where that line has none; None if unknown."""
    for further, line in enumerate(reversed(path)):
        if line.number is not None:
            return line.number + further
    return len(path) if is_first else None


def _were_removed(lines: int) -> str:
    return f"{counted(lines, 'line')} {'was' if lines == 1 else 'were'} removed"
