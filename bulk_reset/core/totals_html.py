"""Totals as a small HTML table for notebooks; every text is escaped."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from bulk_reset.core.counting import counted
from bulk_reset.core.outcome import MEANING_OF, meaning_of
from bulk_reset.core.totals import Totals

_MINUTE_S: Final = 60
_FILES: Final = {
    "report": "Report",
    "failed": "Failed rows",
    "before": "Previous values",
}


def totals_as_html(totals: Totals) -> str:
    """Return a table of the counts, the time, the requests and the files."""
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td><td>{escape(meaning)}</td></tr>"
        for name, value, meaning in _rows(totals)
    )
    caption = escape(f"{totals.sheet}: {counted(totals.rows, 'row')}")
    return f"<table><caption>{caption}</caption><tbody>{rows}</tbody></table>"


def _rows(totals: Totals) -> Iterator[tuple[str, str, str]]:
    for status in MEANING_OF:
        if count := totals.counts.get(status, 0):
            yield status.value, f"{count:,}", meaning_of(status, count, totals.not_edited)
    if totals.stop is not None:
        yield "Stopped", totals.stop.reason.value, totals.stop.message
    name = "Time needed" if totals.is_dry_run else "Time"
    yield name, _duration(totals.elapsed_s), counted(totals.requests, "request")
    for attribute, title in _FILES.items():
        if path := getattr(totals, attribute):
            yield title, path, ""


def _duration(seconds: float) -> str:
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    minutes, whole = divmod(round(seconds), _MINUTE_S)
    if minutes < _MINUTE_S:
        return f"{minutes} min {whole} s"
    return f"{minutes // _MINUTE_S} h {minutes % _MINUTE_S} min"
