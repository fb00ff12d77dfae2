"use strict";
// Charts of a report, drawn by uPlot when the section is opened, and again for paper and for
// dark or light. Uses $, root of rows.js, which comes before it.

const facts = JSON.parse($("charts").textContent);
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400];
const PAPER = 660;  // what fits between the margins of A4 and of Letter
const drawn = new Map();
const probe = document.createElement("i");
probe.hidden = true;
document.body.append(probe);
function colour(name) {
  // Only an element knows the value of light-dark().
  probe.className = "swatch " + name;
  return getComputedStyle(probe).color;
}
function faded(name) {
  return colour(name).replace("rgb(", "rgba(").replace(")", ", .16)");
}
function clock(at) { return new Date(at * 1000).toISOString().slice(11, 19); }

// Spans of time follow each other, with one free place between two.
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
  // The beginning of each span has a label; labels too close to it are left out.
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
    legend: { live: true }, padding: [8, over.right || 12, 0, 0],
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
  // The largest sum is drawn first, the smaller ones over it.
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
    { label: "duration", value: (u, n) => n == null ? "–"
      : slots[n][1] == null ? span(slots[n][0]) + " or more"
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
  return new uPlot(options(box, { series, x: edges, right: 32 }), [at, slots.map(slot => slot[2])], box);
}
const CHARTS = {
  second: box => startedChart(box, 1), minute: box => startedChart(box, 60),
  finished: finishedChart, latency: latencyChart,
};
const section = $("performance");
function draw() {
  // A closed section has no width.
  if (!section.open) return;
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
  if (width === root.clientWidth || !section.open) return;
  width = root.clientWidth;
  for (const [name, u] of drawn)
    u.setSize({ width: $("chart-" + name).clientWidth, height: u.height });
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
addEventListener("beforeprint", () => {
  // On paper: dark on light, and as wide as the page.
  root.classList.add("paper");
  draw();
});
addEventListener("afterprint", () => {
  root.classList.remove("paper");
  draw();
});
section.addEventListener("toggle", draw);
for (const link of all("a[href='#performance']"))
  link.addEventListener("click", () => { section.open = true; });
if (location.hash === "#performance") section.open = true;
draw();
