"use strict";
// Compares two texts word by word. The same rules as in word_diff.py, whose docstrings explain
// them: what the page shows without scripts was compared there.
const LEAST_SHARED = 0.3, DEEPEST = 12, CONTEXT_CHARACTERS = 80;
const CHARACTERS = [
  ["space", /\s/u],
  ["mark", /[\p{M}\u200d\u{1f3fb}-\u{1f3ff}]/u],
  ["single", /[\u3040-\u30ff\p{Unified_Ideograph}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/u],
  ["word", /[\p{L}\p{N}_\u{1f1e6}-\u{1f1ff}]/u],
];
const characterKinds = new Map();

// Return each part of a change as [kind, text], in reading order: same, cut, old, new.
function changeParts(old, now) {
  const parts = wordsChanged(old, now), last = parts.length - 1, found = [];
  parts.forEach(([kind, text], place) => {
    const before = place > 0 || !last ? CONTEXT_CHARACTERS : 0;
    const after = place < last ? CONTEXT_CHARACTERS : 0;
    if (kind !== "same" || lengthOf(text) <= before + after + 1) return found.push([kind, text]);
    const head = before ? firstWords(text, before) : "", tail = after ? lastWords(text, after) : "";
    const middle = text.slice(head.length, text.length - tail.length);
    for (const one of [[kind, head], ["cut", middle], [kind, tail]]) if (one[1]) found.push(one);
  });
  return found;
}
function wordsChanged(old, now) {
  if (old === now) return old ? [["same", old]] : [];
  const [head, tail] = endsShared(old, now), parts = head ? [["same", old.slice(0, head)]] : [];
  const a = tokensOf(old.slice(head, old.length - tail));
  const b = tokensOf(now.slice(head, now.length - tail));
  for (const [isSame, a0, a1, b0, b1] of joined(a, b)) {
    if (isSame) {
      addSame(parts, a.slice(a0, a1).join(""));
      continue;
    }
    if (a0 < a1) parts.push(["old", a.slice(a0, a1).join("")]);
    if (b0 < b1) parts.push(["new", b.slice(b0, b1).join("")]);
  }
  if (tail) addSame(parts, old.slice(old.length - tail));
  const shared = parts.reduce((sum, [kind, text]) => sum + (kind === "same" && weight(text)), 0);
  return shared < LEAST_SHARED * Math.min(weight(old), weight(now))
    ? [["old", old], ["new", now]].filter(([, text]) => text) : parts;
}
function addSame(parts, text) {
  if (parts.at(-1)?.[0] === "same") parts.at(-1)[1] += text;
  else parts.push(["same", text]);
}

// --- Texts ------------------------------------------------------------------------------------

const lengthOf = text => [...text].length;
const weight = text => lengthOf(text.replace(/\s+/g, ""));
const isWord = token => /^[\p{L}\p{N}]/u.test(token);
function kindOf(character) {
  let kind = characterKinds.get(character);
  if (!kind) {
    kind = CHARACTERS.find(([, pattern]) => pattern.test(character))?.[0] ?? "single";
    characterKinds.set(character, kind);
  }
  return kind;
}
function tokensOf(text) {
  const tokens = [];
  let token = "", kindBefore = "none", before = "";
  for (const character of text) {
    const kind = kindOf(character);
    const isInside = (kind === kindBefore && kind !== "single")
      || (kind === "mark" && (kindBefore === "single" || kindBefore === "word"))
      || (kind !== "space" && before === "\u200d");
    if (!isInside) {
      if (token) tokens.push(token);
      token = "";
      kindBefore = kind;
    }
    token += character;
    before = character;
  }
  if (token) tokens.push(token);
  return tokens;
}
function endsShared(old, now) {
  const isSpace = character => character !== undefined && /\s/.test(character);
  let head = 0, most = Math.min(old.length, now.length);
  while (head < most && old[head] === now[head]) head++;
  while (head && (!isSpace(old[head - 1]) || isSpace(old[head]) || isSpace(now[head]))) head--;
  let tail = 0;
  most -= head;
  const [oldEnd, nowEnd] = [old.length - 1, now.length - 1];
  while (tail < most && old[oldEnd - tail] === now[nowEnd - tail]) tail++;
  const isFirst = (text, place) => place < head || !isSpace(text[place]);
  while (tail && !(isSpace(old[oldEnd - tail + 1])
    && isFirst(old, oldEnd - tail) && isFirst(now, nowEnd - tail))) tail--;
  return [head, tail];
}
function firstWords(text, most) {
  const start = [...text.slice(0, 2 * most + 2)].slice(0, most + 1);
  const words = tokensOf(start.join("")).slice(0, -1).join("");
  return words.trim() ? words : start.slice(0, most).join("");
}
function lastWords(text, most) {
  const end = [...text.slice(-2 * most - 2)].slice(-most - 1);
  const words = tokensOf(end.join("")).slice(1).join("");
  return words.trim() ? words : end.slice(-most).join("");
}

// --- Equal stretches --------------------------------------------------------------------------

function joined(a, b) {
  const spans = [];
  let aAt = 0, bAt = 0;
  for (const [a0, a1, b0, b1] of matches(a, b, 0, a.length, 0, b.length, DEEPEST)) {
    const isInside = (a0 || b0) && (a1 !== a.length || b1 !== b.length);
    if (isInside && a.slice(a0, a1).filter(isWord).length <= 1) continue;
    if (aAt !== a0 || bAt !== b0) spans.push([false, aAt, a0, bAt, b0]);
    spans.push([true, a0, a1, b0, b1]);
    [aAt, bAt] = [a1, b1];
  }
  if (aAt !== a.length || bAt !== b.length) spans.push([false, aAt, a.length, bAt, b.length]);
  return spans;
}
function matches(a, b, a0, a1, b0, b1, depth) {
  let aIn = a0, bIn = b0, aOut = a1, bOut = b1;
  while (aIn < a1 && bIn < b1 && a[aIn] === b[bIn]) aIn++, bIn++;
  while (aIn < aOut && bIn < bOut && a[aOut - 1] === b[bOut - 1]) aOut--, bOut--;
  const spans = [[a0, aIn, b0, bIn]];
  const pairs = depth && aIn < aOut && bIn < bOut ? anchors(a, b, aIn, aOut, bIn, bOut) : [];
  let [aLeft, bLeft] = [aIn, bIn];
  for (const [aAt, bAt] of pairs) {
    spans.push(...matches(a, b, aLeft, aAt, bLeft, bAt, depth - 1), [aAt, aAt + 1, bAt, bAt + 1]);
    [aLeft, bLeft] = [aAt + 1, bAt + 1];
  }
  if (pairs.length) spans.push(...matches(a, b, aLeft, aOut, bLeft, bOut, depth - 1));
  spans.push([aOut, a1, bOut, b1]);
  return merged(spans);
}
function merged(spans) {
  const found = [];
  for (const [a0, a1, b0, b1] of spans) {
    const last = found.at(-1);
    if (a0 === a1) continue;
    if (last && last[1] === a0 && last[3] === b0) [last[1], last[3]] = [a1, b1];
    else found.push([a0, a1, b0, b1]);
  }
  return found;
}
function anchors(a, b, a0, a1, b0, b1) {
  const inA = counted(a, a0, a1), inB = counted(b, b0, b1);
  const even = [...inA.keys()].filter(
    token => inA.get(token) === inB.get(token) && !/^\s+$/.test(token));
  const once = even.filter(token => inA.get(token) === 1);
  const places = new Map((once.length ? once : even).map(token => [token, []]));
  for (let at = b1 - 1; at >= b0; at--) places.get(b[at])?.push(at);
  const pairs = [];
  for (let at = a0; at < a1; at++) if (places.has(a[at])) pairs.push([at, places.get(a[at]).pop()]);
  return rising(pairs);
}
function counted(tokens, start, end) {
  const counts = new Map();
  for (let at = start; at < end; at++) counts.set(tokens[at], (counts.get(tokens[at]) ?? 0) + 1);
  return counts;
}
function rising(pairs) {
  const ends = [], last = [], before = [], series = [];
  pairs.forEach(([, place], index) => {
    let low = 0, high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle] < place) low = middle + 1;
      else high = middle;
    }
    before.push(low ? last[low - 1] : -1);
    ends[low] = place;
    last[low] = index;
  });
  for (let index = last.at(-1) ?? -1; index >= 0; index = before[index]) series.push(pairs[index]);
  return series.reverse();
}
