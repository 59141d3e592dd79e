// The progress line, from the server's own sentence templates.
import { timeOfDay } from "./clock.js";

const ETA_AFTER_STEPS = 20;

// False when there is nothing on the page to move: the server has to render it first.
export function showProgress(line, progress) {
  if (!line) return progress.step === null;
  if (!progress.total_steps) return true;
  const share = Math.min(progress.step / progress.total_steps, 1);
  line.querySelector("progress").value = share;
  line.querySelector(".percent").textContent = `${Math.floor(share * 100)} %`;
  line.querySelector(".sentence").textContent = sentence(line.dataset, progress);
  return true;
}

function sentence(templates, progress) {
  const epochs = Number(templates.epochs);
  const known = progress.eta_seconds !== null && progress.step >= ETA_AFTER_STEPS;
  const facts = {
    epoch: Math.max(Math.ceil(progress.epoch ?? 0), 1),
    epochs,
    step: progress.step,
    total: progress.total_steps,
    left: known ? duration(progress.eta_seconds) : "",
    clock: known ? clock(progress.eta_seconds) : "",
  };
  const template = known ? templates.withEta : templates.withoutEta;
  return template.replace(/\{(\w+)\}/g, (_, name) => facts[name]);
}

function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.floor(seconds)} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function clock(seconds) {
  return timeOfDay(new Date(Date.now() + seconds * 1000));
}
