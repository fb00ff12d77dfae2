"use strict";
const $ = name => document.getElementById(name);
const all = choice => [...document.querySelectorAll(choice)];
const root = document.documentElement;

// --- Charts -------------------------------------------------------------------------------

const facts = JSON.parse($("charts").textContent);
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400];
const PAPER = 660;  // what fits between the margins of A4 and of Letter
const drawn = new Map();
const probe = document.createElement("i");
probe.hidden = true;
document.body.append(probe);
function colour(name) {
  // What light-dark() comes to, only an element can tell.
  probe.className = "swatch " + name;
  return getComputedStyle(probe).color;
}
function faded(name) {
  return colour(name).replace("rgb(", "rgba(").replace(")", ", .16)");
}
function clock(at) { return new Date(at * 1000).toISOString().slice(11, 19); }

// Spans of time lie one after the other, a place left free between them.
const starts = [];
let places = 0;
for (const [, bins] of facts.spans) {
  starts.push(places);
  places += bins + 1;
}
const xs = [...Array(Math.max(0, places - 1)).keys()];
function spread(values) {
  const all = [];
  let from = 0;
  facts.spans.forEach(([, bins], n) => {
    if (n) all.push(null);
    all.push(...values.slice(from, from + bins));
    from += bins;
  });
  return all;
}
function timeAt(place) {
  let n = starts.length - 1;
  while (n > 0 && starts[n] > place) n--;
  return facts.spans[n][0] + (place - starts[n]) * facts.bin;
}
function ticks(u, axis, min, max) {
  const most = Math.max(2, Math.floor(u.width / 90));
  const step = STEPS.find(s => (max - min) * facts.bin / s <= most) || 86400;
  const near = (max - min) / most * .8, found = [];
  // Where a span begins is told; what would run into that is not.
  const heads = [];
  if (starts.length > 1)
    for (const place of starts)
      if (!heads.length || place - heads.at(-1) > near) heads.push(place);
  facts.spans.forEach(([begins, bins], n) => {
    const end = begins + bins * facts.bin;
    for (let at = Math.ceil(begins / step) * step; at < end; at += step) {
      const place = starts[n] + (at - begins) / facts.bin;
      if (heads.every(head => Math.abs(head - place) > near)) found.push(place);
    }
  });
  return [...found, ...heads].filter(place => place >= min && place <= max)
    .sort((one, other) => one - other);
}
function tickTexts(u, found) {
  let day = "";
  return found.map(place => {
    const at = timeAt(place), today = new Date(at * 1000).toISOString().slice(0, 10);
    const text = day === today ? clock(at) : clock(at) + "\n" + today;
    day = today;
    return text;
  });
}
function axes(over = {}) {
  const line = { stroke: colour("grid"), width: 1 };
  const base = { stroke: colour("quiet"), grid: line, ticks: line, font: "12px system-ui" };
  return [
    { ...base, space: 90, size: 44, splits: ticks, values: tickTexts, ...over },
    { ...base, size: 56, values: (u, found) => found.map(
      n => Number.isInteger(n) ? n.toLocaleString("en") : "") },
  ];
}
const whole = (u, n) => n == null ? "–" : n.toLocaleString("en");
const wide = (u, min, max) => [min - .5, max + .5];
const high = (u, min, max) => [0, Math.max(1, max * 1.08)];
function options(box, over) {
  return {
    width: root.classList.contains("paper") ? PAPER : box.clientWidth || PAPER, height: 210,
    legend: { live: true }, padding: [8, 12, 0, 0],
    cursor: { sync: { key: over.sync || null }, drag: { x: true, y: false } },
    scales: { x: { time: false, range: wide }, y: { range: high } },
    axes: axes(over.x), series: over.series, ...over.more,
  };
}
const timeSeries = { label: "UTC", value: (u, n) => n == null ? "–" : clock(timeAt(n)) };
function startedChart(box, seconds) {
  const most = spread(facts.most[seconds]), limit = facts.limits[seconds];
  const series = [
    timeSeries,
    { label: "started within " + seconds + " s", stroke: colour("started"), width: 1.5,
      fill: faded("started"), value: whole },
    { label: "limit", stroke: colour("limit"), width: 1.5, dash: [6, 4], value: whole,
      points: { show: false } },
  ];
  const data = [xs, most, xs.map(() => limit)];
  return new uPlot(options(box, { series, sync: "time" }), data, box);
}
function finishedChart(box) {
  // The greatest sum first, so that the smaller ones are drawn over it.
  const names = Object.keys(facts.finished), sums = [], plain = [];
  let sum = xs.map(() => 0);
  for (const name of names) {
    const values = spread(facts.finished[name]);
    plain.push(values);
    sum = sum.map((n, place) => values[place] == null ? null : n + values[place]);
    sums.push(sum);
  }
  const bars = uPlot.paths.bars({ size: [1, Infinity], gap: 0 });
  const series = names.map((name, n) => ({
    label: name, fill: colour(name), stroke: colour(name), width: 0, paths: bars,
    points: { show: false },
    value: (u, _, __, at) => at == null ? "–" : whole(u, plain[n][at]),
  }));
  return new uPlot(
    options(box, { series: [timeSeries, ...series.reverse()], sync: "time" }),
    [xs, ...sums.reverse()], box);
}
function span(ms) {
  return ms == null ? "" : ms < 1000 ? ms + " ms" : ms / 1000 + " s";
}
function latencyChart(box) {
  const slots = facts.histogram, at = slots.map((_, n) => n);
  const series = [
    { label: "took", value: (u, n) => n == null ? "–"
      : slots[n][1] == null ? span(slots[n][0]) + " and more"
      : span(slots[n][0]) + " to " + span(slots[n][1]) },
    { label: "attempts", fill: colour("started"), stroke: colour("started"), width: 0,
      paths: uPlot.paths.bars({ size: [.94, Infinity] }), points: { show: false },
      value: whole },
  ];
  const edges = { splits: u => {
    const every = Math.ceil(slots.length / Math.max(2, u.width / 80));
    return [...at, slots.length].filter(n => n % every === 0).map(n => n - .5);
  }, values: (u, found) => found.map(n => {
    const place = Math.round(n + .5);
    return span(place < slots.length ? slots[place][0] : slots[place - 1][1]);
  }) };
  return new uPlot(options(box, { series, x: edges }), [at, slots.map(slot => slot[2])], box);
}
const CHARTS = {
  second: box => startedChart(box, 1), minute: box => startedChart(box, 60),
  finished: finishedChart, latency: latencyChart,
};
function draw() {
  for (const [name, make] of Object.entries(CHARTS)) {
    const box = $("chart-" + name);
    if (!box) continue;
    drawn.get(name)?.destroy();
    drawn.set(name, make(box));
  }
}
function step(name, event) {
  const u = drawn.get(name), by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === "Escape") u.setData(u.data, true);
  if (!by) return;
  const last = u.data[0].length - 1, at = u.cursor.idx;
  const next = at == null ? (by > 0 ? 0 : last) : Math.max(0, Math.min(last, at + by));
  u.setCursor({ left: u.valToPos(u.data[0][next], "x"), top: 20 });
  event.preventDefault();
}
for (const name of Object.keys(CHARTS))
  $("chart-" + name)?.addEventListener("keydown", event => step(name, event));
let width = root.clientWidth;
addEventListener("resize", () => {
  if (width === root.clientWidth) return;
  width = root.clientWidth;
  for (const [name, u] of drawn)
    u.setSize({ width: $("chart-" + name).clientWidth, height: u.height });
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
addEventListener("beforeprint", () => {
  // On paper: dark on light, and as wide as a sheet of it.
  root.classList.add("paper");
  draw();
});
addEventListener("afterprint", () => {
  root.classList.remove("paper");
  draw();
});
draw();

// --- Rows ---------------------------------------------------------------------------------

const ROW = "\x1e", PART = "\x1d", CELL = "\x1f";
const list = $("list"), words = $("words"), size = $("size"), group = $("group");
const boxes = all("#filters input[type=checkbox]"), entire = $("entire");
const names = list.dataset.statuses.split(" "), meanings = list.dataset.meanings.split("|");
const blocks = [];  // text, where rows begin, where what cannot be searched begins
let total = 0, found = new Uint32Array(0), at = 0, statuses, groups;

async function unpacked(script) {
  const raw = atob(script.textContent), bytes = new Uint8Array(raw.length);
  for (let n = 0; n < raw.length; n++) bytes[n] = raw.charCodeAt(n);
  script.remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}
function taken(text) {
  const rows = [0], parts = [], marks = [];
  for (let row = 0; row < text.length;) {
    const part = text.indexOf(PART, row), end = text.indexOf(CELL, part);
    parts.push(part);
    marks.push(text.slice(part + 1, end));
    const next = text.indexOf(ROW, end);
    row = next < 0 ? text.length : next + 1;
    rows.push(row);
  }
  return { text, rows: Uint32Array.from(rows), parts: Uint32Array.from(parts), marks };
}
async function read() {
  for (const script of all("script.rows")) {
    const block = taken(await unpacked(script));
    block.first = total;
    total += block.parts.length;
    blocks.push(block);
    $("range").textContent = `Reading the rows: ${total.toLocaleString("en")} …`;
  }
  statuses = new Uint8Array(total);
  groups = new Int16Array(total);
  for (const block of blocks) {
    block.marks.forEach((mark, n) => {
      statuses[block.first + n] = mark.charCodeAt(0) - 48;
      groups[block.first + n] = mark.length > 1 ? Number(mark.slice(1)) : -1;
    });
    delete block.marks;
  }
}
function rowText(row) {
  let n = blocks.length - 1;
  while (blocks[n].first > row) n--;
  const block = blocks[n], place = row - block.first, last = place === block.parts.length - 1;
  return block.text.slice(block.rows[place], block.rows[place + 1] - (last ? 0 : 1));
}
function add(parent, tag, text, name) {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  if (name) element.className = name;
  parent.append(element);
  return element;
}
const WHITE = { " ": "␣", "\u3000": "␣", "\t": "⇥", "\n": "↵\n" };
function drawField(to, old, now, ops, lost) {
  const line = add(to, "p");
  let oldAt = 0, nowAt = 0;
  for (const [, sign, length] of ops.matchAll(/([-+=~])(\d+)/g)) {
    const count = Number(length);
    let text = sign === "+" ? now.slice(nowAt, nowAt + count)
      : old.slice(oldAt, oldAt + count);
    if (sign !== "+") oldAt += count;
    if (sign !== "-") nowAt += count;
    if (sign === "=" || sign === "~") {
      line.append(sign === "~" && !entire.checked ? "…" : text);
      continue;
    }
    if (/^[ \u3000\t\n]+$/.test(text)) text = text.replace(/[ \u3000\t\n]/g, c => WHITE[c]);
    add(line, sign === "-" ? "del" : "ins", text);
  }
  if (lost) add(to, "p", "Cannot be restored: " + lost, "lost");
}
function drawRow(text) {
  const [open, shut] = text.split(PART);
  const [row, id, code, message, request, bare, ...values] = open.split(CELL);
  const [mark, link, note, ...marks] = shut.split(CELL);
  const status = Number(mark[0]), article = document.createElement("article");
  article.className = names[status];
  const head = add(article, "h3");
  add(head, "span", "Row " + row);
  head.append(" ");
  const named = add(head, link ? "a" : "code", id);
  if (link) named.href = link;
  head.append(" ");
  add(head, "em", names[status] + ": " + meanings[status]);
  if (code || message) add(article, "p", [code, message].filter(Boolean).join(": "));
  if (values.length) {
    const fields = add(article, "dl");
    for (let n = 0; n < values.length / 3; n++) {
      add(fields, "dt", values[3 * n]);
      drawField(add(fields, "dd"), values[3 * n + 1], values[3 * n + 2], marks[2 * n],
        marks[2 * n + 1]);
    }
  }
  const told = [bare && (values.length ? "other fields: " : "fields: ") + bare, request && "request " + request, note];
  const tail = told.filter(Boolean).join(" · ");
  if (tail) add(article, "p", tail, "quiet");
  return article;
}
function show(start) {
  const step = Number(size.value);
  at = Math.max(0, Math.min(start, found.length - 1));
  const end = Math.min(at + step, found.length), rows = [];
  for (let n = at; n < end; n++) rows.push(drawRow(rowText(found[n])));
  list.replaceChildren(...rows);
  const many = n => n.toLocaleString("en");
  $("range").textContent = found.length
    ? `Rows ${many(at + 1)} to ${many(end)} of ${many(found.length)} found; `
      + `the report has ${many(total)}.`
    : `No such row; the report has ${many(total)}.`;
  for (const back of all(".back")) back.disabled = at === 0;
  for (const next of all(".next")) next.disabled = end >= found.length;
}
function withWords(wanted, isWanted, take) {
  const plain = wanted.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const search = new RegExp(plain, "giu");
  for (const { text, rows, parts, first } of blocks) {
    let row = 0, hit;
    search.lastIndex = 0;
    while ((hit = search.exec(text))) {
      while (rows[row + 1] <= hit.index) row++;
      if (hit.index < parts[row] && isWanted(first + row)) take(first + row);
      search.lastIndex = rows[++row];
      if (row >= parts.length) break;
    }
  }
}
function find() {
  const shown = new Set(boxes.filter(box => box.checked).map(box => names.indexOf(box.value)));
  const wanted = words.value.trim(), own = group.value === "" ? null : Number(group.value);
  const isWanted = row => shown.has(statuses[row]) && (own === null || groups[row] === own);
  const hits = new Uint32Array(total);
  let count = 0;
  const take = row => { hits[count++] = row; };
  if (wanted) withWords(wanted, isWanted, take);
  else for (let row = 0; row < total; row++) if (isWanted(row)) take(row);
  found = hits.slice(0, count);
  show(0);
}
function turn(by) {
  show(at + by * Number(size.value));
  $("rows").scrollIntoView();
}
let soon = 0;
function findSoon() {
  clearTimeout(soon);
  soon = setTimeout(find, total > 20000 ? 120 : 0);
}
function chooseGroup(place, status) {
  group.value = place;
  for (const box of boxes) if (box.value === status) box.checked = true;
  find();
  $("rows").scrollIntoView();
}
function listen() {
  words.addEventListener("input", findSoon);
  size.addEventListener("change", () => show(0));
  entire.addEventListener("change", () => show(at));
  group.addEventListener("change", find);
  for (const box of boxes) box.addEventListener("change", find);
  for (const back of all(".back")) back.addEventListener("click", () => turn(-1));
  for (const next of all(".next")) next.addEventListener("click", () => turn(1));
  for (const pick of all("button.pick"))
    pick.addEventListener("click", () => chooseGroup(pick.value, pick.dataset.status));
  for (const hidden of all(".bar, button.pick")) hidden.hidden = false;
}
if ("DecompressionStream" in window) {
  read().then(() => {
    listen();
    find();
    root.dataset.ready = "yes";
  });
} else {
  $("range").textContent = "This browser is too old to unpack all rows: only the first are here.";
}
