"use strict";
// The list of rows: searches and filters them, creates the visible ones, and saves what is listed
// as CSV. The layout of a row's text is described in row_list.py. Blocks of rows stay packed until
// they are needed, and the last ones stay unpacked: a million rows take gigabytes as texts.
const $ = name => document.getElementById(name);
const all = selector => [...document.querySelectorAll(selector)];
const root = document.documentElement;
const ROW = "\x1e", PART = "\x1d", CELL = "\x1f";
const SEARCHED_CELLS = 4, OTHER_CELLS = 2;  // of each field
const settings = JSON.parse($("settings").textContent);
const list = $("list"), words = $("words"), size = $("size"), entire = $("entire");
const layout = $("layout"), group = $("group"), field = $("field");
const boxes = all("#filters input[type=checkbox]");
const names = settings.statuses.map(status => status.name);
const blocks = all("script.rows");
// Characters. A search through more blocks than these finds none of them unpacked, so few are kept.
const MOST_UNPACKED = blocks.length > 32 ? 4e6 : 2e7;
const unpackedBlocks = new Map();  // number -> text, where rows begin, where their parts begin
const decoder = new TextDecoder();
let spareRoom = null, unpackedTexts = 0;
let total = 0, unpackedLength = 0, kinds, found = new Uint32Array(0), at = 0, search = 0;

// --- Unpacking ------------------------------------------------------------------------------

function unpacked(script) {
  const raw = atob(script.textContent), bytes = new Uint8Array(raw.length);
  for (let n = 0; n < raw.length; n++) bytes[n] = raw.charCodeAt(n);
  // Without a Blob, whose bytes pass through another process: less memory, and a tenth faster.
  const inflater = new DecompressionStream("gzip"), writer = inflater.writable.getWriter();
  writer.write(bytes);
  writer.close();
  return new Response(inflater.readable);
}
async function readKinds() {
  const numbers = new DataView(await unpacked($("kinds")).arrayBuffer());
  total = numbers.byteLength / 4;
  kinds = new Uint32Array(total);
  for (let row = 0; row < total; row++) kinds[row] = numbers.getUint32(4 * row, true);
}
// The pieces are collected in an array that is used again: garbage is freed late.
async function unpackedText(script) {
  const reader = unpacked(script).body.getReader();
  // While this one waits, another one may begin; it makes an array of its own.
  let room = spareRoom ?? new Uint8Array(1 << 20), length = 0;
  spareRoom = null;
  for (let piece; !(piece = await reader.read()).done;) {
    if (length + piece.value.length > room.length) {
      const larger = new Uint8Array(2 * (length + piece.value.length));
      larger.set(room.subarray(0, length));
      room = larger;
    }
    room.set(piece.value, length);
    length += piece.value.length;
    piece.value.buffer.transfer?.(0);
  }
  spareRoom = room;
  if (++unpackedTexts % 16 === 0) freeTexts();
  return decoder.decode(room.subarray(0, length));
}
// Chromium frees texts late, since they lie outside of its heap: a search would take hundreds of
// megabytes. It frees them when much memory is requested, none of which is ever used.
function freeTexts() {
  try {
    new ArrayBuffer(1 << 28).transfer?.(0);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;  // There is not so much memory.
  }
}
function indexed(text) {
  const rows = [0], parts = [];
  for (let row = 0; row < text.length;) {
    const part = text.indexOf(PART, row);
    parts.push(part);
    row = text.indexOf(ROW, part) + 1;
    rows.push(row);
  }
  return { text, rows: Uint32Array.from(rows), parts: Uint32Array.from(parts) };
}
async function unpackedBlock(n) {
  const block = indexed(await unpackedText(blocks[n]));
  if (!unpackedBlocks.has(n)) unpackedLength += block.text.length;
  unpackedBlocks.set(n, block);
  for (const [old, { text }] of unpackedBlocks) {
    if (unpackedLength <= MOST_UNPACKED || old === n) break;
    unpackedBlocks.delete(old);
    unpackedLength -= text.length;
  }
  return block;
}
// Call take(block, place in it, row) with each of these rows; false if another search has begun.
// It is done at once if the blocks are unpacked already.
async function eachRow(rows, take) {
  const own = search;
  let n = -1, block;
  for (const row of rows) {
    const here = Math.floor(row / settings.block_rows);
    if (here !== n) {
      n = here;
      block = unpackedBlocks.get(n);
      if (!block) block = await unpackedBlock(n);
      if (own !== search) return false;
    }
    take(block, row - n * settings.block_rows, row);
  }
  return true;
}
function rowText({ text, rows }, place) {
  return text.slice(rows[place], rows[place + 1] - 1);
}
function unpackedRow(text, kind) {
  const [searched, others] = text.split(PART);
  const [row, id, code, message, request, other, ...values] = searched.split(CELL);
  const [link, note, ...marks] = others.split(CELL);
  const fields = [];
  for (let n = 0; n < values.length / SEARCHED_CELLS; n++) {
    const [name, old, now, pulled] = values.slice(SEARCHED_CELLS * n);
    const [hasPulled, lost] = marks.slice(OTHER_CELLS * n);
    fields.push({ name, old, now, pulled, hasPulled, lost });
  }
  const { status } = settings.kinds[kind];
  return { row, id, code, message, request, other, fields, status, link, note };
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
function addChange(parent, parts, without) {
  for (let [kind, text] of parts) {
    if (kind === without) continue;
    if (kind === "same" || kind === "cut") {
      parent.append(kind === "cut" && !entire.checked ? "…" : text);
      continue;
    }
    if (/^[ \u3000\t\n]+$/.test(text))
      text = text.replace(/[ \u3000\t\n]/g, space => SPACE_SIGN[space]);
    add(parent, kind === "old" ? "del" : "ins", text);
  }
}
function addState(parent, label, parts, without) {
  const line = add(parent, "p");
  add(line, "b", label);
  line.append(" ");
  addChange(line, parts, without);
}
function addField(parent, { old, now, pulled, hasPulled, lost }) {
  const parts = changeParts(old, now), earlier = hasPulled ? changeParts(pulled, old) : [];
  if (hasPulled) addState(parent, "pulled", earlier, "new");
  if (layout.value === "side") {
    const pair = add(parent, "div", "", "pair");
    addChange(add(pair, "p"), parts, "new");
    addChange(add(pair, "p"), parts, "old");
  } else if (hasPulled) {
    addState(parent, "current", earlier, "old");
    addState(parent, "new", parts);
  } else {
    addChange(add(parent, "p"), parts);
  }
  if (lost) add(parent, "p", lost, "lost");
}
function createRow(text, kind) {
  const row = unpackedRow(text, kind), status = settings.statuses[row.status];
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

async function show(start) {
  const step = Number(size.value), rows = [];
  const first = Math.max(0, Math.min(start, found.length - 1));
  const end = Math.min(first + step, found.length);
  const take = (block, place, row) => rows.push(createRow(rowText(block, place), kinds[row]));
  if (!await eachRow(found.subarray(first, end), take)) return;
  at = first;
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
function rowsWanted() {
  const shown = new Set(boxes.filter(box => box.checked).map(box => names.indexOf(box.value)));
  const isWanted = settings.kinds.map(kind => shown.has(kind.status)
    && (!group?.value || group.value === kind.group)
    && (!field?.value || kind.fields.includes(field.value)));
  const rows = new Uint32Array(total);
  let count = 0;
  for (let row = 0; row < total; row++) if (isWanted[kinds[row]]) rows[count++] = row;
  return rows.slice(0, count);
}
// Keep the rows that have these words; null if another search has begun.
async function withWords(wanted, rows) {
  const pattern = new RegExp(wanted.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "giu");
  let count = 0, last = null, hit = null;
  const isWhole = await eachRow(rows, (block, place, row) => {
    if (block !== last) {
      last = block;
      pattern.lastIndex = 0;
      hit = pattern.exec(block.text);
      if (rows.length > total / 2) $("range").textContent =
        `Searching: row ${row.toLocaleString("en")} of ${total.toLocaleString("en")} …`;
    }
    // The block is searched as one text; hits between the rows are skipped.
    if (hit && hit.index < block.rows[place]) {
      pattern.lastIndex = block.rows[place];
      hit = pattern.exec(block.text);
    }
    if (hit && hit.index < block.parts[place]) rows[count++] = row;
  });
  return isWhole ? rows.slice(0, count) : null;
}
async function find() {
  search++;
  const wanted = words.value.trim(), rows = rowsWanted();
  const kept = wanted ? await withWords(wanted, rows) : rows;
  if (!kept) return;
  found = kept;
  await show(0);
}
async function turn(by) {
  search++;
  await show(at + by * Number(size.value));
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
function csvLines(text, kind) {
  const row = unpackedRow(text, kind);
  const own = [row.row, row.id, names[row.status], row.code, row.message, row.request];
  const lines = row.fields.map(one => csvLine([...own, one.name, one.old, one.now]));
  if (row.other || !lines.length) lines.push(csvLine([...own, row.other, "", ""]));
  return lines;
}
async function download() {
  const parts = ["\ufeff" + COLUMNS.join(",") + "\r\n"];
  let lines = [];
  const pack = () => parts.push(new Blob(lines.map(line => line + "\r\n")));
  const isWhole = await eachRow(found, (block, place, row) => {
    lines.push(...csvLines(rowText(block, place), kinds[row]));
    if (lines.length > settings.block_rows) lines = (pack(), []);
  });
  if (!isWhole) return;
  pack();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, { type: "text/csv" }));
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
  readKinds().then(async () => {
    listen();
    await find();
    root.dataset.ready = "yes";
  });
} else {
  $("range").textContent = "This browser cannot unpack all rows: only the first ones are shown.";
}
