"""The sections of a report's page: statuses, times, latency, errors, quota, way back, audit.

Each is drawn from the page's facts alone, as HTML. What a stranger has said goes through
``escaped_text``; the rest are words and figures of ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any, Final

from bulk_reset.core.outcome import MEANING_OF, NOT_DONE, ErrorGroup, Status
from bulk_reset.core.safe_text import shown
from bulk_reset.records.summary import advice_on
from bulk_reset.reports.page_model import PageFacts, moment, options_told, way_back
from bulk_reset.reports.timeline import Latency, Timeline

MOST_GROUPS: Final = 100
"""Errors that are listed; a server that makes one up for each row would fill the page."""
_HOW_TO_LOOK: Final = (
    "Times are UTC. Drag to look closer, double click or Escape to go back; arrow keys go from "
    "point to point."
)
_BOTTOM_UP: Final = (*NOT_DONE, Status.SKIPPED, Status.UNCHANGED, Status.UPDATED)
"""How statuses lie on each other in a chart: what asks for a look is at the bottom."""


def draw_counts(facts: PageFacts) -> Iterator[str]:
    """Yield a line of the table of statuses for each that rows have."""
    counts: dict[Status, int] = {**facts.summary.counts, Status.PENDING: facts.pending or 0}
    for status, meaning in MEANING_OF.items():
        if counts.get(status):
            swatch = f'<span class="swatch {status}"></span>'
            yield _line(swatch + status, f"{counts[status]:,}", meaning)
    known = "" if facts.pending is not None else "rows without a line are pending, and not counted"
    yield _line("all rows", f"{sum(counts.values()):,}", known)


def draw_time(facts: PageFacts) -> str:
    """Return what happened when: three charts, and a table."""
    drawn = facts.drawn
    if not drawn.spans:
        return '<h2 id="time">Over time</h2><p>The report tells of no times.</p>'
    limits = facts.limits()
    said = (
        "Counted from the report: of a row that was sent several times, the last time. "
        f"A point stands for {_seconds(drawn.bin_s)}, and is the most within it."
    )
    if len(drawn.spans) > 1:
        said += f" Long pauses are left out: {len(drawn.spans) - 1}."
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


def draw_latency(latency: Latency) -> str:
    """Return how long attempts took: percentiles, a chart, and a table."""
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


def draw_errors(errors: Sequence[ErrorGroup]) -> str:
    """Return the errors, the most frequent first; each shows its rows."""
    if not errors:
        return ""
    rows = [
        f"<tr><td><code>{escaped_text(group.code or 'no code')}</code></td><td>{group.status}</td>"
        f'<td class="number">{group.rows:,}</td><td class="said">{escaped_text(group.message)}'
        f'<br><span class="quiet">first in row {group.row_number} · '
        f'{escaped_text(advice_on(group))}</span></td><td class="screen">'
        f'<button class="pick" value="{place}" data-status="{group.status}"'
        " hidden>Show rows</button></td></tr>"
        for place, group in enumerate(errors[:MOST_GROUPS])
    ]
    more = len(errors) - MOST_GROUPS
    return "\n".join(
        [
            '<h2 id="errors">Errors</h2><table class="errors"><thead><tr>',
            "<th>error</th><th>status</th>",
            '<th class="number">rows</th><th>message of the first</th><th class="screen"></th>',
            "</tr></thead><tbody>",
            *rows,
            "</tbody></table>",
            f'<p class="quiet">… and {more:,} more kinds.</p>' if more > 0 else "",
        ]
    )


def draw_quota(facts: PageFacts) -> str:
    """Return how the quota was kept, beside its limits."""
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
    waited_s: Counter[str] = Counter()
    for run in facts.runs:
        waited_s.update(run.get("waited_s") or {})
    waits = [f"{seconds:,.1f} s for {cause}" for cause, seconds in waited_s.items()]
    told = (
        f"Over the quota (HTTP 429): {summary.throttled:,} of {summary.requests:,} requests that "
        "the report's lines tell of. Nothing was started for more than a second: "
        f"{summary.waits:,} time{'s' * (summary.waits != 1)}, {summary.waited_s:,.1f} s in all."
    )
    lines = [
        _table(head, rows),
        f"<p>{told}</p>",
        f"<p>The runs waited {escaped_text(', '.join(waits))}.</p>" if waits else "",
    ]
    if not own:
        lines.append('<p class="quiet">The limits are those of the API: no run left its own.</p>')
    return "\n".join(lines)


def draw_back(facts: PageFacts) -> str:
    """Return what takes the run back, or why nothing does."""
    told, commands = way_back(facts)
    names = ("Take it back:", "Read it back, and compare:")
    return f"<p>{escaped_text(told)}</p>" + "".join(
        f'<p>{name}</p><code class="copy">{escaped_text(command)}</code>'
        for name, command in zip(names, commands, strict=False)
    )


def draw_audit(facts: PageFacts) -> str:
    """Return which files, runs and versions this is about."""
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
        f'<tr><th scope="row">{name}</th><td>{escaped_text(text)}</td></tr>'
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
                f'<tr><th scope="row">{name}</th><td>{escaped_text(text)}</td></tr>'
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


def charts_of(facts: PageFacts) -> dict[str, Any]:
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


def escaped_text(text: str) -> str:
    """Return a stranger's text as HTML, with nothing in it that acts."""
    return escape(shown(text))


def group_name(group: ErrorGroup) -> str:
    """Return what a group of errors is called where one is chosen."""
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
        f'<td class="note">{escaped_text(note)}</td></tr>'
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
