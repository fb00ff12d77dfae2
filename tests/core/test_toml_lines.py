"""Each key of a TOML file is found on its line, however it is written."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_reset.core.toml_lines import Keys, line_of, lines_of

TEXT = '''\
# a comment with a = 1 in it
a = 1
"b c" = """
[d]
e = 1
"""
[f]
g.h = [
  1,  # ]
  2,
]
  [ f . i ]  # another
  j = {k = 1, l = {m = 2}}
[[n]]
o = 1
[[n]]
p = 1
'''


def test_keys_are_found_where_they_are_written_first() -> None:
    """In tables, inline, dotted, quoted, of several lines, and in lists of tables."""
    assert lines_of(TEXT) == {
        ("a",): 2,
        ("b c",): 3,
        ("f",): 7,
        ("f", "g"): 8,
        ("f", "g", "h"): 8,
        ("f", "i"): 12,
        ("f", "i", "j"): 13,
        ("f", "i", "j", "k"): 13,
        ("f", "i", "j", "l"): 13,
        ("f", "i", "j", "l", "m"): 13,
        ("n",): 14,
        ("n", "o"): 15,
        ("n", "p"): 17,
    }


def test_a_missing_key_has_the_line_of_its_table() -> None:
    """And where that is missing too, at the beginning."""
    lines = lines_of(TEXT)
    assert line_of(lines, ("f", "i", "z")) == 12
    assert line_of(lines, ("f", "z", "i")) == 7
    assert line_of(lines, ("z",)) == 1
    assert line_of({}, ()) == 1


NAMES = st.sampled_from(["a", "b", "c", '"d e"', "'#'", '"["', '"é"'])
VALUES = st.sampled_from(
    [
        *("1", "true", "1.5", '"x"', "'y = 1'", "[]", "[1, 2]", "{}", "{a = 1}", "[{b = 1}]"),
        *('"""\n[a]\nb = 1\n"""', "'''\n]\n'''", "[\n  1,\n]", '[\n  "]",  # ]\n\n  "\'",\n]'),
        *("[[\n1], [\n2]]", '"#"', '"""x"""', "2026-01-01", '"""a\\\n  b"""  # c'),
    ]
)
KEYS = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
STATEMENTS = (
    st.tuples(KEYS, VALUES).map(" = ".join)
    | KEYS.map(lambda keys: f"[{keys}]")
    | KEYS.map(lambda keys: f"[[{keys}]]  # x")
    | st.sampled_from(["", "  ", "# a = 1", "# [a]", "\t"])
)


def readable(statements: list[str], end: str) -> str:
    """Return as many of the statements as can be read together."""
    kept: list[str] = []
    for statement in statements:
        try:
            tomllib.loads("\n".join([*kept, statement]))
        except tomllib.TOMLDecodeError:
            continue
        kept.append(statement)
    return "\n".join(kept).replace("\n", end)


def keys_in(results: Any) -> Iterator[Keys]:  # noqa: ANN401  (TOML)
    """Yield the keys of what was read, of lists too."""
    if isinstance(results, Mapping):
        for name, value in results.items():
            yield (name,)
            yield from ((name, *more) for more in keys_in(value))
    elif isinstance(results, list):
        for one in results:
            yield from keys_in(one)


def read_again_and_again(text: str) -> dict[Keys, int]:
    """Return the line of each key, the slow way: by reading the file up to every line."""
    found: dict[Keys, int] = {}
    lines, whole = text.split("\n"), 0
    for count in range(1, len(lines) + 1):
        try:
            results = tomllib.loads("\n".join(lines[:count]) + "\n")
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a value of several lines
        for keys in keys_in(results):
            found.setdefault(keys, whole + 1)
        whole = count
    return found


@pytest.mark.slow
@settings(max_examples=300)
@given(statements=st.lists(STATEMENTS, max_size=12), end=st.sampled_from(["\n", "\r\n"]))
def test_lines_match_those_found_by_repeated_parsing(statements: list[str], end: str) -> None:
    """Any combination of statements, comments and tables."""
    text = readable(statements, end)
    assert lines_of(text) == read_again_and_again(text)
