"use strict";
const codes = document.getElementById("codes");
const state = document.getElementById("state");
function cell(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}
function row(code, count) {
  const element = document.createElement("tr");
  element.append(cell("th", "", code), cell("td", "number", count.toLocaleString("en")));
  element.append(cell("td", "note", ""));
  return element;
}
async function refresh() {
  try {
    const stats = await (await fetch("/_stats")).json();
    for (const number of document.querySelectorAll("[data-name]"))
      number.textContent = stats[number.dataset.name].toLocaleString("en");
    const rows = Object.entries(stats.by_code).map(([code, count]) => row(code, count));
    codes.replaceChildren(...(rows.length ? rows : [row("none", 0)]));
    state.textContent = "";
  } catch {
    state.textContent = "The sandbox has stopped; these are its last numbers.";
  }
  setTimeout(refresh, 1000);
}
refresh();
