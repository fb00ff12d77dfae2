"""The page of a report: one file that asks nobody for anything, for the morning after.

It is made piece by piece: ``draw_head`` with all that is not a row, ``draw_row`` for each of the
first rows, ``draw_tail`` with every row packed (``page_rows``). Every text is a stranger's and is
escaped; the page names the hashes of its only style and its only scripts, so that no other one
acts. Charts are uPlot's: canvases, drawn anew for paper and for dark or light; each has a table.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Final

from bulk_reset.model import MEANING_OF, NOT_DONE, ErrorGroup, Status
from bulk_reset.page_model import (
    PageFacts,
    moment,
    options_told,
    verdict,
    way_back,
)
from bulk_reset.page_rows import CELL_END, STATUSES, FieldRow, PageRow, stretches
from bulk_reset.plan_page import shown
from bulk_reset.summary import advice_on
from bulk_reset.timeline import Latency, Timeline

ROWS_AT_ONCE: Final = 200
"""Rows that are shown at once, and all that are shown where scripts are not allowed."""
MOST_GROUPS: Final = 100
"""Errors that are listed; a server that makes one up for each row would fill the page."""
_BOTTOM_UP: Final = (*NOT_DONE, Status.SKIPPED, Status.UNCHANGED, Status.UPDATED)
"""How statuses lie on each other in a chart: what asks for a look is at the bottom."""
_WHITE_ONLY: Final = re.compile("[ \u3000\t\n]+")
_WHITE: Final = str.maketrans({" ": "␣", "\u3000": "␣", "\t": "⇥", "\n": "↵\n"})
_HOW_TO_LOOK: Final = (
    "Times are UTC. Drag to look closer, double click or Escape to go back; arrow keys go from "
    "point to point."
)
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
<h2 id="quota">The quota was kept</h2>
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


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _policy() -> str:
    return (
        f"default-src 'none'; style-src {_hash(_style())}; "
        f"script-src {' '.join(map(_hash, _scripts()))}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def draw_head(facts: PageFacts) -> str:
    """Return the page up to where its rows begin."""
    errors = facts.summary.errors
    is_done, sentence = verdict(facts)
    return _HEAD.substitute(
        version=_text(facts.version),
        policy=escape(_policy()),
        style=_style(),
        sheet=_text(facts.sheet),
        is_done="done" if is_done else "open",
        verdict=_text(sentence),
        to_errors='<a href="#errors">Errors</a>' if errors else "",
        counts="\n".join(_counts(facts)),
        time=_time(facts),
        took=_took(facts.latency),
        errors=_errors(errors),
        quota=_quota(facts),
        back=_back(facts),
        audit=_audit(facts),
        at_once=ROWS_AT_ONCE,
        filters="\n".join(
            f'<label><input type="checkbox" value="{status}" checked> {status}</label>'
            for status in MEANING_OF
            if facts.summary.counts.get(status)
        ),
        groups="".join(
            f'<option value="{place}">{_text(_named(group))}</option>'
            for place, group in enumerate(errors[:MOST_GROUPS])
        ),
        statuses=" ".join(STATUSES),
        meanings=CELL_END.join(MEANING_OF[status] for status in STATUSES),
    )


def draw_row(row: PageRow) -> str:
    """Return what became of one row, as the script draws it too."""
    status = STATUSES[row.status]
    named = escape(row.incident_id)
    link = f'<a href="{escape(row.link)}">{named}</a>' if row.link else f"<code>{named}</code>"
    error = ": ".join(filter(None, (row.error_code, row.error_message)))
    fields = "".join(f"<dt>{escape(one.field)}</dt><dd>{_field(one)}</dd>" for one in row.fields)
    told = [
        row.names and f"fields: {row.names}",
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
    charts = json.dumps(_charts(facts), separators=(",", ":")).replace("<", "\\u003c")
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


# --- Sections --------------------------------------------------------------------------------


def _counts(facts: PageFacts) -> Iterator[str]:
    counts: dict[Status, int] = {**facts.summary.counts, Status.PENDING: facts.pending or 0}
    for status, meaning in MEANING_OF.items():
        if counts.get(status):
            swatch = f'<span class="swatch {status}"></span>'
            yield _line(swatch + status, f"{counts[status]:,}", meaning)
    known = "" if facts.pending is not None else "rows without a line are pending, and not counted"
    yield _line("all rows", f"{sum(counts.values()):,}", known)


def _time(facts: PageFacts) -> str:
    drawn = facts.drawn
    if not drawn.spans:
        return '<h2 id="time">Over time</h2><p>The report tells of no times.</p>'
    limits = facts.limits()
    said = (
        "Counted from the report: of a row that was sent several times, the last time. "
        f"A point stands for {_seconds(drawn.bin_s)}, and is the most within it."
    )
    if len(drawn.spans) > 1:
        said += f" {len(drawn.spans) - 1} long pauses are left out."
    return "\n".join(
        [
            '<h2 id="time">Over time</h2>',
            f'<p class="quiet">{said} {_HOW_TO_LOOK}</p>',
            _chart("second", f"Requests started in any 1 s (limit {limits[1]:,})"),
            _chart("minute", f"Requests started in any 60 s (limit {limits[60]:,})"),
            _chart("finished", f"Rows by what became of them, each {_seconds(drawn.bin_s)}"),
            _time_table(facts.table),
        ]
    )


def _time_table(table: Timeline) -> str:
    statuses = [status for status in MEANING_OF if status in table.finished]
    head = ["begins, UTC", "in any 1 s", "in any 60 s", *statuses]
    columns = [
        *(table.most_started[window] for window in (1, 60)),
        *(table.finished[status] for status in statuses),
    ]
    rows = [
        [moment(at).removesuffix(" UTC"), *(f"{values[place]:,}" for values in columns)]
        for place, at in enumerate(table.bins_at())
    ]
    return _details(f"The same as a table, each line {_seconds(table.bin_s)}", head, rows)


def _took(latency: Latency) -> str:
    said = "The report tells of no attempts."
    if latency.count:
        said = (
            f"Of {latency.count:,} attempts, the last of each line: from when it was started to "
            "when the row's outcome was known (of a row of several requests, its last one; where "
            "a row was read back because no answer came, that is in it)."
        )
    lines = [f'<h2 id="took">Latency</h2><p class="quiet">{said}</p>']
    if latency.count:
        names = {100: "max"}
        lines += [
            "<table><tbody>",
            *(
                _line(
                    names.get(percent, f"p{percent}"),
                    f"{_number(ms)} ms",
                    "the slowest of all" if percent in names else f"{percent} % were not slower",
                )
                for percent, ms in latency.percentiles_ms.items()
            ),
            "</tbody></table>",
            _chart("latency", "Attempts by how long they took"),
            _details(
                "The same as a table",
                ["from, ms", "below, ms", "attempts"],
                [[_number(low), _number(high), f"{n:,}"] for low, high, n in latency.histogram],
            ),
        ]
    return "\n".join(lines)


def _errors(errors: Sequence[ErrorGroup]) -> str:
    if not errors:
        return ""
    rows = [
        f"<tr><td><code>{_text(group.code)}</code></td><td>{group.status}</td>"
        f'<td class="number">{group.rows:,}</td><td>{_text(group.message)}'
        f'<br><span class="quiet">first in row {group.row_number} · {_text(advice_on(group))}'
        f'</span></td><td class="screen"><button class="pick" value="{place}"'
        f' data-status="{group.status}" hidden>Show rows</button></td></tr>'
        for place, group in enumerate(errors[:MOST_GROUPS])
    ]
    more = len(errors) - MOST_GROUPS
    return "\n".join(
        [
            '<h2 id="errors">Errors</h2><table><thead><tr><th>error</th><th>status</th>',
            '<th class="number">rows</th><th>message of the first</th><th class="screen"></th>',
            "</tr></thead><tbody>",
            *rows,
            "</tbody></table>",
            f'<p class="quiet">… and {more:,} more kinds.</p>' if more > 0 else "",
        ]
    )


def _quota(facts: PageFacts) -> str:
    summary, limits, own = facts.summary, facts.limits(), facts.started()
    head = ["most requests started", "limit", "by the report's lines", "by the runs' own count"]
    rows = [
        [
            f"in any {window} s",
            f"{limit:,}",
            f"{summary.most_started.get(window, 0):,}",
            f"{own[window]:,}" if window in own else "not known",
        ]
        for window, limit in limits.items()
    ]
    waits = [
        f"{seconds:,.1f} s for {cause}"
        for run in facts.runs
        for cause, seconds in (run.get("waited_s") or {}).items()
    ]
    told = (
        f"Over the quota (HTTP 429): {summary.throttled:,} of {summary.requests:,} requests that "
        "the report's lines tell of. Nothing was started for more than a second: "
        f"{summary.waits:,} times, {summary.waited_s:,.1f} s in all."
    )
    lines = [
        _table(head, rows),
        f"<p>{told}</p>",
        f"<p>The runs waited {_text(', '.join(waits))}.</p>" if waits else "",
    ]
    if not own:
        lines.append('<p class="quiet">The limits are those of the API: no run left its own.</p>')
    return "\n".join(lines)


def _back(facts: PageFacts) -> str:
    told, commands = way_back(facts)
    names = ("Take it back:", "Read it back, and compare:")
    return f"<p>{_text(told)}</p>" + "".join(
        f'<p>{name}</p><code class="copy">{_text(command)}</code>'
        for name, command in zip(names, commands, strict=False)
    )


def _audit(facts: PageFacts) -> str:
    told = {
        "Report": facts.report,
        "SHA-256 of the report": f"{facts.report_sha256} ({facts.report_bytes:,} bytes)",
        "Request ids": f"{facts.requests.distinct:,}",
        "First request id": facts.requests.first,
        "Last request id": facts.requests.last,
        "Page made": f"{moment(facts.made_at)}, by bulk-reset {facts.version}",
    }
    lines = ["<table><tbody>"]
    lines += [
        f'<tr><th scope="row">{name}</th><td>{_text(text)}</td></tr>'
        for name, text in told.items()
        if text
    ]
    lines.append("</tbody></table>")
    if not facts.runs:
        lines.append("<p>No run left an audit beside the report.</p>")
    for number, run in enumerate(facts.runs, 1):
        lines += [
            f"<h3>Run {number} of {len(facts.runs)}</h3><table><tbody>",
            *(
                f'<tr><th scope="row">{name}</th><td>{_text(text)}</td></tr>'
                for name, text in _run(run).items()
                if text
            ),
            "</tbody></table>",
        ]
    return "\n".join(lines)


def _run(run: dict[str, Any]) -> dict[str, str]:
    """Return what one run said of itself, name -> text."""
    stop, counts, size = run.get("stop"), run.get("counts") or {}, run.get("sheet_bytes")
    return {
        "Started, ended": " to ".join(
            filter(None, (moment(run.get("started_at")), moment(run.get("ended_at"))))
        ),
        "Sheet": str(run.get("sheet", "")),
        "SHA-256 of the sheet": str(run.get("sheet_sha256") or "not known (no file)")
        + (f" ({size:,} bytes)" if isinstance(size, int) else ""),
        "Sent to": str(run.get("scope", "")),
        "Options": options_told(run) or "none but the defaults",
        "Rows": ", ".join(f"{n:,} {name}" for name, n in counts.items()),
        "Requests": f"{run.get('requests') or 0:,}, {run.get('throttled') or 0:,} over the quota",
        "Stopped early": str(stop.get("message", "")) if isinstance(stop, dict) else "",
        "Exit code": str(run.get("exit_code", "")),
        "By": f"bulk-reset {run.get('version', '')}",
    }


def _charts(facts: PageFacts) -> dict[str, Any]:
    """Return what the script draws."""
    drawn = facts.drawn
    return {
        "bin": drawn.bin_s,
        "spans": [[span.begins_at, span.bins] for span in drawn.spans],
        "limits": facts.limits(),
        "most": drawn.most_started,
        "finished": {
            status: drawn.finished[status] for status in _BOTTOM_UP if status in drawn.finished
        },
        "histogram": [
            [low, high if high < float("inf") else None, n]
            for low, high, n in facts.latency.histogram
        ],
    }


# --- Pieces ----------------------------------------------------------------------------------


def _text(text: str) -> str:
    return escape(shown(text))


def _named(group: ErrorGroup) -> str:
    return f"{group.code or 'no code'} ({group.status}, {group.rows:,})"


def _number(number: float) -> str:
    return "and more" if number == float("inf") else f"{number:,.12g}"


def _seconds(seconds: int) -> str:
    for unit_s, name in ((3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds % unit_s == 0:
            count = seconds // unit_s
            return f"{count:,} {name}{'s' if count > 1 else ''}"
    raise AssertionError(seconds)


def _line(name: str, count: str, note: str) -> str:
    """Return a line of a table of figures; the name is HTML."""
    return (
        f'<tr><th scope="row">{name}</th><td class="number">{count}</td>'
        f'<td class="note">{_text(note)}</td></tr>'
    )


def _chart(name: str, title: str) -> str:
    return (
        f'<h3 id="title-{name}">{title}</h3><div class="chart" id="chart-{name}" role="img" '
        f'tabindex="0" aria-labelledby="title-{name}"></div>'
    )


def _details(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return f"<details><summary>{title}</summary>{_table(head, rows)}</details>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f"<th{' class=number' * (n > 0)}>{name}</th>" for n, name in enumerate(head))
    body = "\n".join(
        "<tr>"
        + "".join(f"<td{' class=number' * (n > 0)}>{cell}</td>" for n, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )
