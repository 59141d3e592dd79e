// Buttons with data-copy="ID" copy the text of that element and say so for a moment. One listener for the whole page:
// parts of it are replaced while it is open.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent.trim());
  } catch {
    // Plain http has no clipboard: mark the text, so that Ctrl+C is all that is left to do.
    getSelection().selectAllChildren(source);
    return;
  }
  const label = button.textContent;
  button.textContent = button.dataset.done;
  setTimeout(() => {
    button.textContent = label;
  }, 2000);
});
