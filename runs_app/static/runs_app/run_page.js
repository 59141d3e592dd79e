// The live page of a run. The server renders every sentence; this module only decides when to fetch the changing
// part again, moves the progress bar between two fetches, and appends log lines.
import { replaceBlocks } from "../bert/blocks.js";
import { LogView } from "./log_view.js";
import { showProgress } from "./progress.js";
import { RunStream } from "./stream.js";

const REFRESH_GAP_MS = 1500; // events come in bursts: one fetch answers them all
const WAITING = ["pending", "paused"];
const OVER = ["completed", "failed", "cancelled"];
const WAITING_REFRESH_MS = 15000; // why a run waits changes without an event of the run

const page = document.getElementById("run-page");
const log = new LogView(document.getElementById("log"), Number(page.dataset.lastLogId));
const logState = document.getElementById("log-state");
let refreshTimer = null;

function status() {
  return page.querySelector('[data-block="head"]').dataset.status;
}

async function refresh() {
  const response = await fetch(page.dataset.liveUrl, { headers: { Accept: "text/html" } });
  if (!response.ok || response.redirected) return;
  replaceBlocks(page, await response.text());
}

function refreshSoon() {
  refreshTimer ??= setTimeout(() => {
    refreshTimer = null;
    refresh().catch(() => {}); // the server is away: the stream's next event asks again
  }, REFRESH_GAP_MS);
}

const stream = new RunStream(page.dataset.logsUrl, {
  lastId: () => log.lastId,
  isOver: () => OVER.includes(status()),
  log: (line) => log.append(line),
  progress: (progress) => {
    if (!showProgress(document.getElementById("progress"), progress)) refreshSoon();
  },
  change: refreshSoon,
  mode: (mode) => {
    logState.textContent = logState.dataset[mode] ?? "";
  },
});

setInterval(() => {
  if (!document.hidden && WAITING.includes(status())) refreshSoon();
}, WAITING_REFRESH_MS);

document.addEventListener("visibilitychange", () => {
  if (document.hidden) stream.stop();
  else stream.start();
});
if (!document.hidden) stream.start();
