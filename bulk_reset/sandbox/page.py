"""The sandbox's page: its numbers as a table, drawn once and refreshed by the page itself.

Self-contained: no address but the sandbox's own ``/_stats`` is asked. Every value is escaped
here, and set as text by the page's script.
"""

from __future__ import annotations

from html import escape
from string import Template
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bulk_reset.sandbox.config import SandboxConfig

PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:"
)
_ROWS: Final = (
    ("requests", "Requests", "arrived, whatever became of them"),
    ("admitted", "Admitted", "had the key and room in the quota"),
    ("throttled", "Throttled", "over the quota: 429, not applied"),
    ("unauthorized", "Unauthorized", "the key was wrong or missing"),
    ("faults", "Faults", "met a scripted fault"),
    ("peak_1s", "Peak, 1 s", "most requests in any second"),
    ("peak_60s", "Peak, 60 s", "most requests in any 60 seconds"),
    ("incidents", "Incidents", "known here"),
    ("incidents_updated", "Incidents updated", "reset at least once"),
    ("applied", "Resets applied", "updates that took effect"),
    ("applied_more_than_once", "Applied more than once", "incidents reset twice or more"),
    ("most_applied", "Most applied", "resets of one and the same incident"),
)
_PAGE: Final = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>bulk-reset sandbox</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --line: light-dark(#d8dee4, #3a414a);
  --quiet: light-dark(#59636e, #9aa4af); --ground: light-dark(#fff, #14181d);
  --text: light-dark(#1f2328, #e6e9ed); }
body { margin: 2rem auto; max-width: 44rem; padding: 0 1rem; background: var(--ground);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0 1.5rem; color: var(--quiet); }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th { width: 38%; }
td.number { width: 16%; }
th, td { padding: .4rem .5rem; border-bottom: 1px solid var(--line); text-align: left;
  font-weight: normal; vertical-align: baseline; }
td.number { text-align: right; font-weight: 600; font-variant-numeric: tabular-nums; }
td.note { color: var(--quiet); font-size: .875rem; }
</style>
</head>
<body>
<h1>bulk-reset sandbox</h1>
<p>Quota: $quota. <span id="state" role="status"></span></p>
<table><tbody id="numbers">
$rows
</tbody></table>
<h2>Failures answered</h2>
<table><tbody id="codes">
$codes
</tbody></table>
<script>
"use strict";
const codes = document.getElementById("codes");
const state = document.getElementById("state");
function cell(kind, name, text) {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text;
  return made;
}
function row(code, count) {
  const made = document.createElement("tr");
  made.append(cell("th", "", code), cell("td", "number", count.toLocaleString("en")));
  made.append(cell("td", "note", ""));
  return made;
}
async function refresh() {
  try {
    const stats = await (await fetch("/_stats")).json();
    for (const place of document.querySelectorAll("[data-name]"))
      place.textContent = stats[place.dataset.name].toLocaleString("en");
    const rows = Object.entries(stats.by_code).map(([code, count]) => row(code, count));
    codes.replaceChildren(...(rows.length ? rows : [row("none", 0)]));
    state.textContent = "";
  } catch {
    state.textContent = "The sandbox has stopped; these are its last numbers.";
  }
  setTimeout(refresh, 1000);
}
refresh();
</script>
</body>
</html>
""")


def draw_page(stats: dict[str, Any], config: SandboxConfig) -> str:
    """Return the page with the numbers as they are now."""
    rows = (
        f'<tr><th scope="row">{escape(label)}</th>'
        f'<td class="number" data-name="{escape(name)}">{stats[name]:,}</td>'
        f'<td class="note">{escape(note)}</td></tr>'
        for name, label, note in _ROWS
    )
    codes = (
        f'<tr><th scope="row">{escape(code)}</th>'
        f'<td class="number">{count:,}</td><td class="note"></td></tr>'
        for code, count in (stats["by_code"] or {"none": 0}).items()
    )
    quota = (
        f"{config.per_second:,} requests a second and {config.per_minute:,} a minute, "
        f"{config.window_kind} windows"
    )
    return _PAGE.substitute(rows="\n".join(rows), codes="\n".join(codes), quota=escape(quota))
