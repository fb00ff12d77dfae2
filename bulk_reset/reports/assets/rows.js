"use strict";
// The list of rows: unpacks them, searches and filters them, creates the visible ones, and saves
// what is listed as CSV. The layout of a row's text is described in row_list.py.
const $ = name => document.getElementById(name);
const all = selector => [...document.querySelectorAll(selector)];
const root = document.documentElement;
const ROW = "\x1e", PART = "\x1d", CELL = "\x1f";
const SEARCHED_CELLS = 4, OTHER_CELLS = 3;  // of each field
const settings = JSON.parse($("settings").textContent);
const list = $("list"), words = $("words"), size = $("size"), entire = $("entire");
const layout = $("layout"), group = $("group"), field = $("field");
const boxes = all("#filters input[type=checkbox]");
const names = settings.statuses.map(status => status.name);
const blocks = [];  // text, where rows begin, where the cells begin that are not searched
const rowsWithField = new Map();
let total = 0, found = new Uint32Array(0), at = 0, statuses, groups;

// --- Unpacking ------------------------------------------------------------------------------

async function unpacked(script) {
  const raw = atob(script.textContent), bytes = new Uint8Array(raw.length);
  for (let n = 0; n < raw.length; n++) bytes[n] = raw.charCodeAt(n);
  script.remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}
function indexed(text) {
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
    const block = indexed(await unpacked(script));
    block.first = total;
    total += block.parts.length;
    blocks.push(block);
    $("range").textContent = `Reading rows: ${total.toLocaleString("en")} …`;
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
function unpackedRow(text) {
  const [searched, others] = text.split(PART);
  const [row, id, code, message, request, other, ...values] = searched.split(CELL);
  const [mark, link, note, ...marks] = others.split(CELL);
  const fields = [];
  for (let n = 0; n < values.length / SEARCHED_CELLS; n++) {
    const [name, old, now, pulled] = values.slice(SEARCHED_CELLS * n);
    const [ops, pulledOps, lost] = marks.slice(OTHER_CELLS * n);
    fields.push({ name, old, now, pulled, ops, pulledOps, lost });
  }
  return { row, id, code, message, request, other, fields, status: Number(mark[0]), link, note };
}

// --- One row --------------------------------------------------------------------------------

function add(parent, tag, text, className) {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  if (className) element.className = className;
  parent.append(element);
  return element;
}
const SPACE_SIGN = { " ": "␣", "\u3000": "␣", "\t": "⇥", "\n": "↵\n" };
function addChange(parent, old, now, ops, without) {
  let oldAt = 0, nowAt = 0;
  for (const [, sign, length] of ops.matchAll(/([-+=~])(\d+)/g)) {
    const count = Number(length);
    let text = sign === "+" ? now.slice(nowAt, nowAt + count)
      : old.slice(oldAt, oldAt + count);
    if (sign !== "+") oldAt += count;
    if (sign !== "-") nowAt += count;
    if (sign === without) continue;
    if (sign === "=" || sign === "~") {
      parent.append(sign === "~" && !entire.checked ? "…" : text);
      continue;
    }
    if (/^[ \u3000\t\n]+$/.test(text))
      text = text.replace(/[ \u3000\t\n]/g, space => SPACE_SIGN[space]);
    add(parent, sign === "-" ? "del" : "ins", text);
  }
}
function addState(parent, label, old, now, ops, without) {
  const line = add(parent, "p");
  add(line, "b", label);
  line.append(" ");
  addChange(line, old, now, ops, without);
}
function addField(parent, { old, now, pulled, ops, pulledOps, lost }) {
  const isSideBySide = layout.value === "side";
  if (pulledOps) addState(parent, "pulled", pulled, old, pulledOps, "+");
  if (isSideBySide) {
    const pair = add(parent, "div", "", "pair");
    addChange(add(pair, "p"), old, now, ops, "+");
    addChange(add(pair, "p"), old, now, ops, "-");
  } else if (pulledOps) {
    addState(parent, "current", pulled, old, pulledOps, "-");
    addState(parent, "new", old, now, ops);
  } else {
    addChange(add(parent, "p"), old, now, ops);
  }
  if (lost) add(parent, "p", lost, "lost");
}
function createRow(text) {
  const row = unpackedRow(text), status = settings.statuses[row.status];
  const article = document.createElement("article");
  article.className = status.name;
  const head = add(article, "h3");
  add(head, "span", "Row " + row.row);
  head.append(" ");
  const named = add(head, row.link ? "a" : "code", row.id);
  if (row.link) named.href = row.link;
  head.append(" ");
  add(head, "em", status.meaning === status.name ? status.name
    : status.name + ": " + status.meaning);
  if (row.code || row.message)
    add(article, "p", [row.code, row.message].filter(Boolean).join(": "));
  if (row.fields.length) {
    const fields = add(article, "dl");
    for (const one of row.fields) {
      add(fields, "dt", one.name);
      addField(add(fields, "dd"), one);
    }
  }
  const notes = [
    row.other && (row.fields.length ? "other fields: " : "fields: ") + row.other,
    row.request && "request " + row.request, row.note,
  ].filter(Boolean).join(" · ");
  if (notes) add(article, "p", notes, "quiet");
  return article;
}

// --- Finding and showing --------------------------------------------------------------------

function show(start) {
  const step = Number(size.value);
  at = Math.max(0, Math.min(start, found.length - 1));
  const end = Math.min(at + step, found.length), rows = [];
  for (let n = at; n < end; n++) rows.push(createRow(rowText(found[n])));
  list.replaceChildren(...rows);
  const many = n => n.toLocaleString("en");
  const showing = found.length ? `; showing ${many(at + 1)} to ${many(end)}.` : ".";
  $("range").textContent = (found.length === total ? `${many(total)} rows`
    : `${many(found.length)} of ${many(total)} rows match`) + showing;
  $("sides").hidden = layout.value !== "side";
  for (const pager of all(".pager")) pager.hidden = found.length <= step;
  for (const back of all(".back")) back.disabled = at === 0;
  for (const next of all(".next")) next.disabled = end >= found.length;
}
function hasField(name) {
  if (!rowsWithField.has(name)) {
    const has = new Uint8Array(total);
    for (let row = 0; row < total; row++) {
      const cells = rowText(row).split(PART)[0].split(CELL);
      for (let n = 6; n < cells.length; n += SEARCHED_CELLS) if (cells[n] === name) has[row] = 1;
    }
    rowsWithField.set(name, has);
  }
  return rowsWithField.get(name);
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
  const wanted = words.value.trim(), own = group?.value ? Number(group.value) : null;
  const has = field?.value ? hasField(field.value) : null;
  const isWanted = row => shown.has(statuses[row]) && (own === null || groups[row] === own)
    && (!has || has[row]);
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
  $("changes").scrollIntoView();
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
  $("changes").scrollIntoView();
}

// --- CSV ------------------------------------------------------------------------------------

// The same rule as guard_formula in safe_text.py: no spreadsheet runs the text as a formula.
const FORMULA = new RegExp("^'*(?=[\\t\\r\\n]|[^\\S\\r\\n]*[=+\\-@＝＋－＠])"
  + "|(?<=[;\\r\\n])'*(?=[^\\S\\r\\n]*[=+\\-@＝＋－＠])", "g");
const COLUMNS = ["row", "incident_id", "status", "error_code", "error_message", "request_id",
  "field", "old", "new"];
function csvLine(cells) {
  return cells.map(cell => {
    const text = cell.replace(FORMULA, "'$&");
    return /[",;\r\n\t]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  }).join(",");
}
function csvLines(text) {
  const row = unpackedRow(text);
  const own = [row.row, row.id, names[row.status], row.code, row.message, row.request];
  const lines = row.fields.map(one => csvLine([...own, one.name, one.old, one.now]));
  if (row.other || !lines.length) lines.push(csvLine([...own, row.other, "", ""]));
  return lines;
}
function download() {
  const lines = [COLUMNS.join(",")];
  for (const row of found) lines.push(...csvLines(rowText(row)));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(
    new Blob(["\ufeff" + lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
  link.download = settings.csv;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// --- Start ----------------------------------------------------------------------------------

function listen() {
  words.addEventListener("input", findSoon);
  size.addEventListener("change", () => show(0));
  for (const control of [entire, layout]) control.addEventListener("change", () => show(at));
  for (const filter of [group, field, ...boxes]) filter?.addEventListener("change", find);
  for (const back of all(".back")) back.addEventListener("click", () => turn(-1));
  for (const next of all(".next")) next.addEventListener("click", () => turn(1));
  for (const pick of all("button.pick"))
    pick.addEventListener("click", () => chooseGroup(pick.value, pick.dataset.status));
  $("download").addEventListener("click", download);
  for (const hidden of all(".bar, button.pick")) hidden.hidden = false;
}
if ("DecompressionStream" in window) {
  read().then(() => {
    listen();
    find();
    root.dataset.ready = "yes";
  });
} else {
  $("range").textContent = "This browser cannot unpack all rows: only the first ones are shown.";
}
