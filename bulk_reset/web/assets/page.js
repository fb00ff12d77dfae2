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
