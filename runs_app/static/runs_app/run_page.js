// The live page of a run. The server renders every sentence; this module only decides when to fetch the changing
// part again and to draw the curves anew, moves the progress bar between two fetches, and appends log lines.
import { replaceBlocks } from "../bert/blocks.js";
import { Curves } from "./curves.js";
import { LogView } from "./log_view.js";
import { showProgress } from "./progress.js";
import { RunStream } from "./stream.js";

const BURST_MS = 150; // events come in bursts: one fetch answers them all
const REFRESH_GAP_MS = 1500; // between two of them
const WAITING = ["pending", "paused"];
const OVER = ["completed", "failed", "cancelled"];
const WAITING_REFRESH_MS = 15000; // why a run waits changes without an event of the run
const GPU_REFRESH_MS = 30000; // what heartbeats tell of the GPU is no event of the run either

const page = document.getElementById("run-page");
const log = new LogView(document.getElementById("log"));
const curves = new Curves(page);
const stale = document.getElementById("stale");
const logState = document.getElementById("log-state");
let refreshTimer = null;
let refreshedAt = 0;

function status() {
  return page.querySelector('[data-block="head"]').dataset.status;
}

// What the tab of the browser says, beside others or behind them.
function showTitle() {
  const percent = page.querySelector("#progress .percent")?.textContent;
  document.title = `${percent ?? page.querySelector('[data-block="head"]').dataset.state} · ${page.dataset.name}`;
}

async function refresh() {
  const response = await fetch(page.dataset.liveUrl, { headers: { Accept: "text/html" } }).catch(() => null);
  if (response?.redirected) {
    location.reload(); // logged out: the login comes back here
    return;
  }
  stale.hidden = response?.ok ?? false;
  if (!response?.ok) return; // away: the stream's next event asks again
  replaceBlocks(page, await response.text());
  showTitle();
  document.getElementById("curves-table").hidden = !page.querySelector("#curves-table table");
  await curves.load(); // after the blocks: they say which epoch is the best one
}

function refreshSoon() {
  refreshTimer ??= setTimeout(() => {
    refreshTimer = null;
    if (document.hidden) return; // it is made up for when the tab is shown
    refreshedAt = performance.now();
    refresh().catch(() => {}); // it went away between two answers
  }, Math.max(BURST_MS, refreshedAt + REFRESH_GAP_MS - performance.now()));
}

const stream = new RunStream(page.dataset.streamUrl, {
  lastId: () => log.lastId,
  isOver: () => OVER.includes(status()),
  log: (line) => log.append(line),
  progress: (progress) => {
    if (!showProgress(document.getElementById("progress"), progress)) refreshSoon();
    showTitle();
  },
  change: refreshSoon,
  mode: (mode) => {
    logState.textContent = logState.dataset[mode] ?? "";
  },
});

setInterval(() => {
  if (WAITING.includes(status())) refreshSoon();
}, WAITING_REFRESH_MS);

setInterval(() => {
  if (status() === "running") refreshSoon();
}, GPU_REFRESH_MS);

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    stream.stop();
    return;
  }
  stream.start();
  refreshSoon();
});
if (!document.hidden) stream.start();
curves.load().catch(() => {}); // the stream's first event asks again
