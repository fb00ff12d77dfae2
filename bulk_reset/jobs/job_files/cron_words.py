"""A cron expression in words, which are what the schedule does.

The words are cronsim's. Its sentences are about the text of an expression, and some texts mean
something else: ``*/90`` is minute 0 alone, ``1-31`` with a day of the week is every day, ``*/40``
is not every 40 minutes. So the fields are described by the values that they stand for.
"""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Final

from cronsim import CronSim
from cronsim.explain import Expression, Field, Sequence

_CYCLES: Final = {"minute": 60, "hour": 24, "month": 12}
"""Fields in which a step that divides the number of values repeats evenly."""
_A_WEEK: Final = 7
_FIRST_LONG: Final = 3
"""Fewer values are listed."""


def cron_words(cron: str) -> str:
    """Return a valid expression in words: ``At 02:30 on Monday through Friday``."""
    meant = CronSim(cron, dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
    words = Expression(cron.upper().split())
    _describe(words.minute, set(meant.minutes))
    _describe(words.hour, set(meant.hours))
    _describe(words.month, set(meant.months))
    _describe(words.day, {one for one in meant.days if isinstance(one, int)})
    # Sunday is 0 and 7.
    weekdays = {one % _A_WEEK for one in meant.weekdays if isinstance(one, int)}
    _describe(words.dow, weekdays)
    if len(weekdays) == _A_WEEK:
        _set(words.dow, [Sequence()])
    words.day_and = meant.day_and
    if not meant.day_and and (words.day.star or words.dow.star):
        # One of the two days is enough, and each day is one of them.
        _set(words.day, [Sequence()])
        _set(words.dow, [Sequence()])
    return words.explain()


def _describe(field: Field, values: set[int]) -> None:
    """Let a field that has a step, or all values, be described by its values."""
    ordered = sorted(values)
    if len(ordered) == field.max_value - field.min_value + 1 and field.name != "day of week":
        _set(field, [Sequence()])
    elif "/" in field.value and ordered and ordered[0] >= 0:
        _set(field, _sequences(field, ordered))


def _sequences(field: Field, ordered: list[int]) -> list[Sequence]:
    steps = {later - earlier for earlier, later in itertools.pairwise(ordered)}
    if len(ordered) < _FIRST_LONG or len(steps) > 1 or field.name == "day of week":
        return [Sequence(value, value) for value in ordered]
    step = steps.pop()
    cycle = _CYCLES.get(field.name, 0)
    if cycle and step * len(ordered) == cycle and ordered[0] == field.min_value:
        return [Sequence(step=step)]
    return [Sequence(ordered[0], ordered[-1], step)]


def _set(field: Field, sequences: list[Sequence]) -> None:
    """Set what a field stands for, with all that follows from it."""
    field.parsed = sequences
    singles = [one.start for one in sequences if one.is_single()]
    field.all_singles = len(singles) == len(sequences)
    field.any_singles = bool(singles)
    field.single_value = singles[0] if len(sequences) == len(singles) == 1 else None
    field.zero = field.single_value == 0
    field.star = all(one.is_star() for one in sequences)
