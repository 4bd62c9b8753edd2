"use strict";
// Everything on the page can be read without this: it sorts tables and filters their rows.
const value = (cell) => cell.dataset.value ?? cell.textContent.trim();

function sortBy(table, column, button) {
  const head = button.closest("th");
  const down = head.getAttribute("aria-sort") === "descending" ||
    (head.getAttribute("aria-sort") === null && !head.classList.contains("n"));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "ascending" : "descending");
  const rows = Array.from(table.tBodies[0].rows);
  // Times are shown as text and sorted by their numbers.
  const numbers = head.classList.contains("n") || rows.every((row) => row.cells[column].dataset.value !== undefined);
  const compare = (a, b) => {
    const [x, y] = [value(a.cells[column]), value(b.cells[column])];
    if (!numbers) return down ? x.localeCompare(y) : y.localeCompare(x);
    const [p, q] = [parseFloat(x), parseFloat(y)];
    // Cells without a number come last in both directions.
    if (Number.isNaN(p) || Number.isNaN(q)) return Number.isNaN(p) - Number.isNaN(q);
    return down ? p - q : q - p;
  };
  rows.sort(compare);
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sortBy(table, column, button));
    head.replaceChildren(button);
  });
}

for (const input of document.querySelectorAll("input[data-filters]")) {
  const table = document.getElementById(input.dataset.filters);
  const status = document.getElementById(input.dataset.status);
  const only = document.querySelector(`input[data-only="${input.dataset.filters}"]`);
  const rows = Array.from(table.tBodies[0].rows);
  const filter = () => {
    const wanted = input.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const kept = !only?.checked || row.classList.contains("differs");
      row.hidden = !kept || !row.textContent.toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    status.textContent = wanted || only?.checked ? `${shown} of ${rows.length} rows` : "";
  };
  for (const field of [input, only]) {
    if (!field) continue;
    field.closest("label").hidden = false;
    field.addEventListener("input", filter);
  }
}
