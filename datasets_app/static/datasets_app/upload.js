// While a form with data-busy is under way: what the server is doing, and for how long already. No guess at the rest.
const SHOW_AFTER_MS = 300;

for (const form of document.querySelectorAll("form[data-busy]")) {
  const line = document.createElement("p");
  line.className = "busy-line";
  line.setAttribute("role", "status");
  form.querySelector(".submit-row").before(line);
  const clock = document.createElement("span");
  clock.setAttribute("aria-hidden", "true"); // the sentence is announced once, not every second
  let timer;

  form.addEventListener("submit", () => {
    const started = Date.now();
    const buttons = form.querySelectorAll("input[type=submit], button");
    setTimeout(() => {
      for (const button of buttons) button.disabled = true;
      line.replaceChildren(form.dataset.busy, " ", clock);
      line.scrollIntoView({ block: "nearest" }); // who pressed Enter in a field may not see the end of the form
    }, SHOW_AFTER_MS);
    timer = setInterval(() => {
      clock.textContent = `${Math.floor((Date.now() - started) / 1000)} s`;
    }, 500);
  });

  // Back from the next page: the browser shows this one as it was left.
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    clearInterval(timer);
    line.replaceChildren();
    for (const button of form.querySelectorAll("input[type=submit], button")) button.disabled = false;
  });
}

// A file that the server would not take is told of when it is chosen.
for (const input of document.querySelectorAll("input[data-max-bytes]")) {
  input.addEventListener("change", () => {
    const tooLarge = input.files[0]?.size > Number(input.dataset.maxBytes);
    input.setCustomValidity(tooLarge ? input.dataset.tooLarge : "");
    input.reportValidity();
  });
}

// Only the columns of the chosen task; without scripts both pairs stand there, and the other one does not count.
const task = document.getElementById("id_task_type");
if (task) {
  const show = () => {
    const ofTokens = task.value === "token_classification";
    for (const [name, shown] of [["text_column", !ofTokens], ["tokens_column", ofTokens], ["repair_bio", ofTokens]]) {
      const row = document.getElementById(`id_${name}`)?.closest(".form-row");
      if (row) row.hidden = !shown;
    }
  };
  task.addEventListener("change", show);
  show();
}

document.getElementById("sheet-choice")?.addEventListener("change", (event) => event.target.form.submit());
