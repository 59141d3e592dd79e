// A form is sent once: of a double click the second must not queue another run, or find an upload that is over.
const AGAIN_AFTER_MS = 10000; // who stopped the page, or was sent a file, may send it again

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  setTimeout(() => delete form.dataset.sent, AGAIN_AFTER_MS);
});
// A page that the browser kept, and shows again on the way back.
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});
