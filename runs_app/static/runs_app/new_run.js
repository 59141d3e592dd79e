// The form of a new run: a preset fills the fields, a field that is changed makes it a custom one, and the panel beside
// the form is asked for again after each change.
import { replaceBlocks } from "../bert/blocks.js";

const WAIT_MS = 400; // after the last key
const SILENT = new Set(["name", "notes", "csrfmiddlewaretoken"]); // the panel does not depend on them
const UNMARKED = new Set(["preset", "notes"]);
const form = document.getElementById("new-run");
const panel = form.querySelector("aside"); // has the address: form.dataset is the field of that name
const presets = [...form.querySelectorAll("input[name=preset]")];
const custom = presets.find((button) => !button.dataset.values);
const details = form.elements.epochs.closest("details"); // none where a field in it is at fault: then it is open
const source = JSON.parse(panel.dataset.source); // empty unless the form was filled from a run
let timer = null;
let asked = 0;

function fill(values) {
  for (const [name, word] of Object.entries(values)) {
    const field = form.elements[name];
    if (field.type === "checkbox") field.checked = word !== "";
    else field.value = word;
  }
}

// Marks what differs from the run that the form was filled from.
function mark() {
  for (const [name, word] of Object.entries(source)) {
    const field = form.elements[name];
    if (UNMARKED.has(name)) continue;
    const value = field.type === "checkbox" ? (field.checked ? "on" : "") : field.value;
    field.closest(".form-row").classList.toggle("changed", value !== String(word));
  }
}

function open() {
  if (details) details.open = custom.checked;
}

async function refresh() {
  const sent = new URLSearchParams([...new FormData(form)].filter(([name]) => !SILENT.has(name)));
  const number = ++asked;
  const response = await fetch(`${panel.dataset.preview}?${sent}`, { headers: { Accept: "text/html" } }).catch(() => null);
  // An answer that was overtaken by the next question is old; without one the panel stays as it is.
  if (response?.ok && !response.redirected && number === asked) replaceBlocks(panel, await response.text());
}

form.addEventListener("input", (event) => {
  const { name, dataset } = event.target;
  if (SILENT.has(name)) return;
  if (dataset.values) fill(JSON.parse(dataset.values));
  else if (name in JSON.parse(presets[0].dataset.values)) custom.checked = true;
  if (name === "preset") open();
  mark();
  clearTimeout(timer);
  timer = setTimeout(refresh, WAIT_MS);
});
// By now the browser has put back what stood in the fields before; the panel tells of those of a new form.
window.addEventListener("pageshow", () => {
  open();
  mark();
  if (performance.getEntriesByType("navigation")[0]?.type !== "navigate") refresh();
});
