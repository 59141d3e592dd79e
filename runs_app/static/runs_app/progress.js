// The progress line, from the server's own sentence templates.
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
    epoch: Math.min(Math.floor(progress.epoch ?? 0) + 1, epochs),
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
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

function clock(seconds) {
  const at = new Date(Date.now() + seconds * 1000);
  return at.toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" });
}
