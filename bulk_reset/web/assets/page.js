// What HTML and htmx do not do: dropping a file, the progress of an upload, errors of requests.
"use strict";
(() => {
  const problem = document.getElementById("problem");

  function show(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  document.addEventListener("htmx:beforeRequest", () => show(""));
  document.addEventListener("htmx:responseError", (event) =>
    show(event.detail.xhr.responseText.trim() || `HTTP ${event.detail.xhr.status}`));
  document.addEventListener("htmx:sendError", () =>
    show(document.body.dataset.offline));

  const work = document.getElementById("work");
  if (work) {
    const bar = work.querySelector("progress"), counts = document.getElementById("counts");
    const question = document.getElementById("question");
    const failures = document.getElementById("failures");
    const number = new Intl.NumberFormat(document.documentElement.lang);
    let ended = false;

    function draw(state) {
      if (ended) return;
      if (!state || !["working", "asking"].includes(state.state)) {
        ended = true;
        window.location.reload();
        return;
      }
      if (state.total) {
        bar.max = state.total;
        bar.value = state.done;
      }
      const parts = [];
      if (state.done || state.total) {
        parts.push(`${number.format(state.done)}${state.total ? ` / ${number.format(state.total)}` : ""} ${counts.dataset.rows}`);
      }
      for (const [name, rows] of Object.entries(state.counts || {})) {
        parts.push(`${number.format(rows)} ${name}`);
      }
      if (state.limit) parts.push(`${state.rate} ${counts.dataset.rate} ${state.limit}`);
      if (state.left_s) parts.push(`${number.format(state.left_s)} ${counts.dataset.left}`);
      if (state.waiting) parts.push(state.waiting);
      counts.textContent = parts.join(" · ");
      document.getElementById("ending").hidden = !state.stopping;
      question.hidden = !state.question;
      bar.hidden = Boolean(state.question);
      document.getElementById("question-text").textContent = state.question;
      drawPlanned(state.planned || []);
      failures.hidden = !state.failures.length;
      const list = failures.querySelector("ul");
      list.replaceChildren(...state.failures.map((one) => {
        const item = document.createElement("li");
        item.textContent = `${one.row}: ${one.code} ${one.message}`;
        return item;
      }));
    }

    function drawPlanned(changes) {
      const table = document.getElementById("planned");
      table.hidden = !changes.length;
      table.querySelector("tbody").replaceChildren(...changes.map((one) => {
        const row = document.createElement("tr"), texts = document.createElement("td");
        for (const text of [one.row, one.field]) row.insertCell().textContent = text;
        const old = document.createElement("del"), fresh = document.createElement("ins");
        old.textContent = one.old;
        fresh.textContent = one.new;
        texts.append(old, " ", fresh);
        row.append(texts);
        return row;
      }));
    }

    function poll() {
      fetch(work.dataset.work).then((answer) => answer.json()).then(draw, () => {})
        .finally(() => ended || setTimeout(poll, 1000));
    }

    const events = new EventSource(work.dataset.events);
    events.onmessage = (event) => draw(JSON.parse(event.data));
    events.onerror = () => {
      events.close();
      poll();
    };
  }

  const form = document.getElementById("drop");
  if (!form) return;
  const bar = form.querySelector("progress");
  form.addEventListener("dragover", (event) => {
    event.preventDefault();
    form.classList.add("over");
  });
  form.addEventListener("dragleave", () => form.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    form.querySelector("input").files = event.dataTransfer.files;
    form.requestSubmit();
  });
  form.addEventListener("htmx:xhr:progress", (event) => {
    bar.hidden = false;
    if (event.detail.total) bar.value = (100 * event.detail.loaded) / event.detail.total;
  });
})();
