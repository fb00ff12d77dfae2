"""Checks the rows of a pulled sheet: against the values with which their incidents were pulled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bulk_reset.core.fields import ID_FIELD
from bulk_reset.sheets.chunk import Chunk
from bulk_reset.sheets.pulled_values import json_names_of, pulled_value

Broken = Iterator[tuple[int, str, str, str, str]]
"""(place in the chunk, field, kind, problem, fix) of each broken rule."""
_EXAMPLES: Final = {
    "a list": 'for example ["a", "b"]',
    "an object": 'for example {"a": "b"}',
    "a number": "for example 5",
    "true or false": "for example true",
    "a text": "for example Disk full",
}


def json_names_by_place(chunk: Chunk, cells: dict[str, list[str]]) -> dict[int, frozenset[str]]:
    """Return place -> the columns whose pulled value was not a text."""
    checks = chunk.recalled.checks if chunk.recalled is not None else ()
    if " " not in "".join(checks):
        return {}
    return {
        place: frozenset(names.intersection(cells, chunk.was))
        for place, check in enumerate(checks)
        if (names := frozenset(json_names_of(check)))
    }


def untouched_rows(cells: dict[str, list[str]], chunk: Chunk) -> set[int]:
    """Return the places of rows that have pulled values and set no field."""
    settable = [texts for name, texts in cells.items() if name != ID_FIELD]
    if any("" not in texts for texts in settable):
        return set()
    made_from = list(chunk.was.values())
    return {
        place
        for place in range(len(cells[ID_FIELD]))
        if not any(texts[place] for texts in settable)
        and (chunk.is_remembered or any(old[place] for old in made_from))
    }


def refused_rows(chunk: Chunk) -> Broken:
    """Find rows whose own columns cannot be used."""
    if chunk.refused:
        place_of = {number: place for place, number in enumerate(chunk.numbers)}
        for number, (problem, fix) in chunk.refused.items():
            if number in place_of:
                yield place_of[number], ID_FIELD, "pulled_values", problem, fix


def other_types(
    cells: dict[str, list[str]], chunk: Chunk, json_names: dict[int, frozenset[str]]
) -> Broken:
    """Find cells that were edited to another type than the pulled value has."""
    for place, names in json_names.items():
        for name in sorted(names):
            text = cells[name][place]
            kind = _kind_of(pulled_value(name, chunk.was[name][place], names))
            if text and kind != _kind_of(pulled_value(name, text, names)):
                problem = f"the pulled value is {kind}, the new one is not"
                yield place, name, "json", problem, f"Enter {kind} as JSON, {_EXAMPLES[kind]}"


def _kind_of(value: object) -> str:
    match value:
        case list():
            return "a list"
        case dict():
            return "an object"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case _:
            return "a text"
