"""The plan as a web page for a change ticket: one file that asks nobody for anything.

It is made piece by piece: ``draw_head`` with the totals, ``draw_row`` for each row, ``TAIL``.
Every text is a stranger's and is escaped; the page names the hashes of its only style and its
only script, so that no other one acts. Rows beyond the first ones lie in templates, which are
not laid out: a browser shows a page of 20,000 rows as soon as one of 200.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from html import escape
from string import Template
from typing import Final

from bulk_reset.core.plan import MEANING_OF, FieldPlan, PlanTotals, RowPlan, counts, facts
from bulk_reset.core.safe_text import is_link, shown
from bulk_reset.core.word_diff import Op, shortened, words_changed

ROWS_AT_ONCE: Final = 200
"""Rows that are shown at once, and all that are shown where scripts are not allowed."""
_AROUND: Final = 80
_WHITE: Final = str.maketrans({" ": "␣", "\u3000": "␣", "\t": "⇥", "\r": "␍", "\n": "↵\n"})
_FILTERS: Final = ("update", "conflict", "missing", "unchanged")
_STYLE: Final = """
:root { color-scheme: light dark; --line: light-dark(#d8dee4, #3a414a);
  --quiet: light-dark(#59636e, #9aa4af); --ground: light-dark(#fff, #14181d);
  --text: light-dark(#1f2328, #e6e9ed); --link: light-dark(#0b5cad, #7ab7ff);
  --new: light-dark(#116329, #7ee2a0); --new-ground: light-dark(#dcf7e3, #12351f);
  --old: light-dark(#a3211a, #ff9d94); --old-ground: light-dark(#fde5e3, #451a18);
  --warn: light-dark(#8a4b00, #ffc266); }
* { box-sizing: border-box; }
body { margin: 2rem auto; max-width: 64rem; padding: 0 1rem; background: var(--ground);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: 0 0 1rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .3rem .5rem; border-bottom: 1px solid var(--line); text-align: left;
  font-weight: normal; vertical-align: baseline; }
th { width: 12rem; }
th, td.note, .quiet, dt, label { color: var(--quiet); }
td.number { text-align: right; width: 6rem; font-weight: 600;
  font-variant-numeric: tabular-nums; }
td.note, .quiet, dt, label { font-size: .875rem; }
a { color: var(--link); }
.bar { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: center; margin: .5rem 0; }
input[type=search], select, button { font: inherit; font-size: .875rem; padding: .25rem .5rem; }
input[type=search] { flex: 1 1 14rem; }
article { border-top: 1px solid var(--line); padding: .5rem 0; break-inside: avoid; }
article h3 { font-size: .875rem; font-weight: 600; margin: 0; display: flex; flex-wrap: wrap;
  gap: 0 .75rem; }
article h3 a, article h3 code { font-family: ui-monospace, monospace; font-weight: normal; }
em { font-style: normal; color: var(--quiet); font-weight: normal; }
.conflict em, .missing em, .lost { color: var(--warn); font-weight: 600; }
dl { display: grid; grid-template-columns: 9rem 1fr; gap: .15rem .75rem; margin: .25rem 0 0; }
dd { margin: 0; min-width: 0; }
dd p { margin: 0; white-space: pre-wrap; unicode-bidi: plaintext; }
dd b { color: var(--quiet); font-size: .875rem; font-weight: normal; }
.lost { font-size: .875rem; }
del { color: var(--old); background: var(--old-ground); text-decoration: line-through; }
ins { color: var(--new); background: var(--new-ground); text-decoration: underline; }
del + ins { margin-left: .2em; }
[hidden] { display: none !important; }
@media (max-width: 40rem) {
  body { margin: 1rem auto; }
  dl { grid-template-columns: 1fr; }
  dd { margin-bottom: .5rem; }
  th { width: auto; }
  td.note { display: none; }
}
@media print {
  body { margin: 0; max-width: none; font-size: 10pt; }
  .screen { display: none; }
}
"""
_SCRIPT: Final = """
"use strict";
const $ = name => document.getElementById(name);
const all = choice => [...document.querySelectorAll(choice)];
const list = $("list"), words = $("words"), size = $("size");
const boxes = all("input[type=checkbox]");
const rows = [...list.children];
for (const more of all("template")) rows.push(...more.content.children);
let found = rows, at = 0;
function show(start) {
  const step = Number(size.value) || found.length;
  at = Math.max(0, Math.min(start, found.length - 1));
  const end = Math.min(at + step, found.length);
  list.replaceChildren(...found.slice(at, end));
  $("range").textContent = found.length
    ? `Rows ${(at + 1).toLocaleString("en")} to ${end.toLocaleString("en")} of `
      + `${found.length.toLocaleString("en")} found; the sheet has ${$("range").dataset.rows}.`
    : `No such row; the sheet has ${$("range").dataset.rows}.`;
  for (const back of all(".back")) back.disabled = at === 0;
  for (const next of all(".next")) next.disabled = end >= found.length;
}
function find() {
  const wanted = words.value.trim().toLowerCase();
  const shown = new Set(boxes.filter(box => box.checked).map(box => box.value));
  found = rows.filter(row => shown.has(row.className)
    && (!wanted || row.textContent.toLowerCase().includes(wanted)));
  show(0);
}
function turn(by) {
  show(at + by * Number(size.value));
  $("rows").scrollIntoView();
}
words.addEventListener("input", find);
size.addEventListener("change", () => show(0));
for (const box of boxes) box.addEventListener("change", find);
for (const back of all(".back")) back.addEventListener("click", () => turn(-1));
for (const next of all(".next")) next.addEventListener("click", () => turn(1));
for (const bar of all(".bar")) bar.hidden = false;
find();
"""


def policy_hash(text: str) -> str:
    """Return what names a style or a script in a page's policy, so that no other one acts."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_POLICY: Final = (
    f"default-src 'none'; style-src {policy_hash(_STYLE)}; script-src {policy_hash(_SCRIPT)}; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)
_HEAD: Final = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>What would change: $sheet</title>
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body>
<h1>What would change: $sheet</h1>
<table><tbody>
$facts
</tbody></table>
<h2>What would become of the rows</h2>
<table><tbody>
$counts
</tbody></table>
<h2>Fields</h2>
<table><tbody>
$fields
</tbody></table>
<h2 id="rows">Rows</h2>
<p class="quiet"><del>Struck out</del> goes, <ins>underlined</ins> comes; … stands for words
that stay as they are.</p>
<noscript><p class="quiet">Only the first $at_once rows are shown where scripts are not
allowed.</p></noscript>
<div class="bar screen" hidden>
<input type="search" id="words" placeholder="Find words, an id, a field"
 aria-label="Find words, an id, a field">
$filters
<label>At once <select id="size"><option>$at_once</option><option>1000</option>
<option value="0">all</option></select></label>
</div>
<p class="quiet" id="range" role="status" data-rows="$rows"></p>
<div class="bar screen" hidden><button class="back">Back</button>
<button class="next">Next</button></div>
<div id="list">
""")
_BETWEEN: Final = ("</div>\n<template>\n", "</template>\n<template>\n")
_TAIL: Final = Template("""\
$end
<div class="bar screen" hidden><button class="back">Back</button>
<button class="next">Next</button></div>
<script>$script</script>
</body>
</html>
""")


@lru_cache(maxsize=64)
def changed(old: str, new: str) -> tuple[tuple[Op, str], ...]:
    """Return what ``words_changed`` does; the page and the workbook ask for the same in turn."""
    return tuple(words_changed(old, new))


def draw_head(totals: PlanTotals) -> str:
    """Return the page up to where its rows begin."""
    told = facts(totals)
    only_unchanged = not any(totals.counts.get(name) for name in _FILTERS[:-1])
    return _HEAD.substitute(
        policy=escape(_POLICY),
        style=_STYLE,
        sheet=_text(totals.sheet),
        facts="\n".join(f"{_name(name)}<td>{_text(fact)}</td></tr>" for name, fact in told.items()),
        counts="\n".join(_count(*count) for count in counts(totals)),
        fields="\n".join(_count(name, rows, "") for name, rows in totals.fields.items()),
        filters="\n".join(
            f'<label><input type="checkbox" value="{name}"'
            f"{' checked' if name != 'unchanged' or only_unchanged else ''}>"
            f" {name}</label>"
            for name in _FILTERS
            if totals.counts.get(name)
        ),
        rows=f"{totals.rows:,}",
        at_once=ROWS_AT_ONCE,
    )


def draw_row(row: RowPlan) -> str:
    """Return what becomes of one row."""
    link = escape(row.link)
    named = _text(row.incident_id)
    return (
        f'<article class="{escape(row.verdict)}"><h3><span>Row {row.row_number}</span> '
        + (f'<a href="{link}">{named}</a>' if is_link(row.link) else f"<code>{named}</code>")
        + f" <em>{_text(row.verdict)}: {_text(MEANING_OF[row.verdict])}</em></h3>"
        + ("<dl>" if row.fields else "")
        + "".join(f"<dt>{_text(field.field)}</dt><dd>{_field(field)}</dd>" for field in row.fields)
        + ("</dl>" if row.fields else "")
        + "</article>\n"
    )


def draw_break(rows: int) -> str:
    """Return what stands between rows, after so many of them."""
    return "" if not rows or rows % ROWS_AT_ONCE else _BETWEEN[rows > ROWS_AT_ONCE]


def draw_tail(rows: int) -> str:
    """Return the page's end, after so many rows in all."""
    return _TAIL.substitute(
        end="</div>" if rows <= ROWS_AT_ONCE else "</template>",
        script=_SCRIPT,
    )


def _field(field: FieldPlan) -> str:
    """Return the words that change; of a conflict, the text in its three states."""
    wanted = _marked(shortened(list(changed(field.old, field.new)), _AROUND))
    lost = f'<p class="lost">Cannot be restored: {_text(field.lost)}</p>' if field.lost else ""
    if field.was is None:
        return f"<p>{wanted}</p>{lost}"
    since = shortened(list(changed(field.was, field.old)), _AROUND)
    was = _marked([part for part in since if part[0] != "new"])
    now = _marked([part for part in since if part[0] != "old"])
    return f"<p><b>was</b> {was}</p><p><b>now</b> {now}</p><p><b>wanted</b> {wanted}</p>{lost}"


def _marked(parts: list[tuple[Op, str]]) -> str:
    tag_of = {"old": "del", "new": "ins"}
    return "".join(
        _text(text) if op == "same" else f"<{tag_of[op]}>{_change(text)}</{tag_of[op]}>"
        for op, text in parts
    )


def _change(text: str) -> str:
    # White space alone would be struck out, or come, without being seen.
    return escape(text.translate(_WHITE) if text.isspace() else shown(text))


def _text(text: str) -> str:
    return escape(shown(text))


def _name(name: str) -> str:
    return f'<tr><th scope="row">{_text(name)}</th>'


def _count(name: str, count: int, note: str) -> str:
    return f'{_name(name)}<td class="number">{count:,}</td><td class="note">{_text(note)}</td></tr>'
