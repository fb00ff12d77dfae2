"""The page of a report: one file that asks nobody for anything, for the morning after.

It is made piece by piece: ``draw_head`` with all that is not a row, ``draw_row`` for each of the
first rows, ``draw_tail`` with every row packed (``page_rows``). Every text is a stranger's and is
escaped; the page names the hashes of its only style and its only scripts, so that no other one
acts. Charts are uPlot's: canvases, drawn anew for paper and for dark or light; each has a table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from bulk_reset.core.outcome import MEANING_OF
from bulk_reset.reports.page_model import PageFacts, verdict
from bulk_reset.reports.page_rows import STATUSES, FieldRow, PageRow, stretches
from bulk_reset.reports.page_sections import (
    MOST_GROUPS,
    charts_of,
    draw_audit,
    draw_back,
    draw_counts,
    draw_errors,
    draw_latency,
    draw_quota,
    draw_time,
    escaped_text,
    group_name,
)
from bulk_reset.reports.plan_page import policy_hash

ROWS_AT_ONCE: Final = 200
"""Rows that are shown at once, and all that are shown where scripts are not allowed."""
_WHITE_ONLY: Final = re.compile("[ \u3000\t\n]+")
_WHITE: Final = str.maketrans({" ": "␣", "\u3000": "␣", "\t": "⇥", "\n": "↵\n"})
_TAG_OF: Final = {"-": "del", "+": "ins"}
_SHARP: Final = """\
"use strict";
const ratio = Object.getOwnPropertyDescriptor(window, "devicePixelRatio").get;
Object.defineProperty(window, "devicePixelRatio", { get: () => Math.max(2, ratio.call(window)) });
"""
"""Charts have the pixels that paper needs, whatever the screen has."""
_HEAD: Final = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="bulk-reset $version">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>What became of the rows: $sheet</title>
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body>
<h1>What became of the rows: $sheet</h1>
<p id="verdict" class="$is_done">$verdict</p>
<nav><a href="#time">Over time</a> <a href="#took">Latency</a> $to_errors
<a href="#quota">Quota</a> <a href="#back">Way back</a> <a href="#audit">Audit</a>
<a href="#rows">Rows</a></nav>
<table id="statuses"><tbody>
$counts
</tbody></table>
$time
$took
$errors
<h2 id="quota">The quota</h2>
$quota
<h2 id="back">Way back</h2>
$back
<h2 id="audit">Audit</h2>
$audit
<h2 id="rows">Rows</h2>
<p class="quiet"><del>Struck out</del> goes, <ins>underlined</ins> comes; … stands for words
that stay as they are. Of a row that is not done, this is what it asked for.</p>
<noscript><p class="quiet">Only the first $at_once rows are shown where scripts are not
allowed.</p></noscript>
<div class="bar screen" id="filters" hidden>
<input type="search" id="words" placeholder="Find words, an id, a request"
 aria-label="Find words, an id, a request">
$filters
<label>Error <select id="group"><option value="">any or none</option>$groups</select></label>
<label>At once <select id="size"><option>50</option><option selected>$at_once</option>
<option>1000</option></select></label>
<label><input type="checkbox" id="entire"> whole texts</label>
</div>
<p class="quiet" id="range" role="status"></p>
<div class="bar screen" hidden><button class="back">Back</button>
<button class="next">Next</button></div>
<div id="list" data-statuses="$statuses" data-meanings="$meanings">
""")
_TAIL: Final = Template("""\
<div class="bar screen" hidden><button class="back">Back</button>
<button class="next">Next</button></div>
<script type="application/json" id="charts">$charts</script>
<script>$sharp</script>
<script>$uplot</script>
<script>$script</script>
</body>
</html>
""")


@cache
def _asset(name: str) -> str:
    return files("bulk_reset").joinpath("assets", name).read_text(encoding="utf-8")


def _style() -> str:
    return _asset("uPlot.min.css") + "\n" + _asset("report.css")


def _scripts() -> tuple[str, ...]:
    return _SHARP, _asset("uPlot.iife.min.js"), _asset("report.js")


def _policy() -> str:
    return (
        f"default-src 'none'; style-src {policy_hash(_style())}; "
        f"script-src {' '.join(map(policy_hash, _scripts()))}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def draw_head(facts: PageFacts) -> str:
    """Return the page up to where its rows begin."""
    errors = facts.summary.errors
    is_done, sentence = verdict(facts)
    return _HEAD.substitute(
        version=escaped_text(facts.version),
        policy=escape(_policy()),
        style=_style(),
        sheet=escaped_text(facts.sheet),
        is_done="done" if is_done else "open",
        verdict=escaped_text(sentence),
        to_errors='<a href="#errors">Errors</a>' if errors else "",
        counts="\n".join(draw_counts(facts)),
        time=draw_time(facts),
        took=draw_latency(facts.latency),
        errors=draw_errors(errors),
        quota=draw_quota(facts),
        back=draw_back(facts),
        audit=draw_audit(facts),
        at_once=ROWS_AT_ONCE,
        filters="\n".join(
            f'<label><input type="checkbox" value="{status}" checked> {status}</label>'
            for status in MEANING_OF
            if facts.summary.counts.get(status)
        ),
        groups="".join(
            f'<option value="{place}">{escaped_text(group_name(group))}</option>'
            for place, group in enumerate(errors[:MOST_GROUPS])
        ),
        statuses=" ".join(STATUSES),
        meanings="|".join(MEANING_OF[status] for status in STATUSES),
    )


def draw_row(row: PageRow) -> str:
    """Return what became of one row, as the script draws it too."""
    status = STATUSES[row.status]
    named = escape(row.incident_id)
    link = f'<a href="{escape(row.link)}">{named}</a>' if row.link else f"<code>{named}</code>"
    error = ": ".join(filter(None, (row.error_code, row.error_message)))
    fields = "".join(f"<dt>{escape(one.field)}</dt><dd>{_field(one)}</dd>" for one in row.fields)
    told = [
        row.names and f"{'other ' if fields else ''}fields: {row.names}",
        row.request_id and f"request {row.request_id}",
        row.note,
    ]
    tail = " · ".join(filter(None, told))
    return (
        f'<article class="{status}"><h3><span>Row {row.row_number}</span> {link}'
        f" <em>{status}: {MEANING_OF[status]}</em></h3>"
        + (f"<p>{escape(error)}</p>" if error else "")
        + (f"<dl>{fields}</dl>" if fields else "")
        + (f'<p class="quiet">{escape(tail)}</p>' if tail else "")
        + "</article>"
    )


def draw_tail(facts: PageFacts, blocks: Iterable[str]) -> Iterator[str]:
    """Yield the page's end: all rows packed, a block at a time, then the scripts."""
    yield "</div>\n"
    for block in blocks:
        yield f'<script type="application/octet-stream" class="rows">{block}</script>\n'
    sharp, uplot, script = _scripts()
    charts = json.dumps(charts_of(facts), separators=(",", ":")).replace("<", "\\u003c")
    yield _TAIL.substitute(charts=charts, sharp=sharp, uplot=uplot, script=script)


def _field(field: FieldRow) -> str:
    parts = []
    for sign, text in stretches(field):
        if sign in _TAG_OF:
            marked = text.translate(_WHITE) if _WHITE_ONLY.fullmatch(text) else text
            parts.append(f"<{_TAG_OF[sign]}>{escape(marked)}</{_TAG_OF[sign]}>")
        else:
            parts.append("…" if sign == "~" else escape(text))
    lost = f'<p class="lost">Cannot be restored: {escape(field.lost)}</p>' if field.lost else ""
    return f"<p>{''.join(parts)}</p>{lost}"
