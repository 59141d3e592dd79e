// An element with data-refresh="ADDRESS" asks for its blocks again every few seconds, while the page can be seen.
import { replaceBlocks } from "./blocks.js";

const EVERY_MS = 5000;
const page = document.querySelector("[data-refresh]");
const stale = document.getElementById("stale");
let timer = null;

async function refresh() {
  try {
    const response = await fetch(page.dataset.refresh, { headers: { Accept: "text/html" } });
    if (response.redirected) {
      location.reload(); // logged out: the login comes back here
      return;
    }
    if (response.ok) replaceBlocks(page, await response.text());
    stale.hidden = response.ok;
  } catch {
    stale.hidden = false;
  }
  plan();
}

function plan() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, EVERY_MS);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) refresh();
});
plan();
