// Puts fresh parts of a page in place of those shown, by the name in data-block. What did not change stays untouched,
// so that nothing flickers; a link that had the focus keeps it.
export function replaceBlocks(page, html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  for (const block of fresh.querySelectorAll("[data-block]")) {
    const shown = page.querySelector(`[data-block="${block.dataset.block}"]`);
    if (!shown || shown.outerHTML === block.outerHTML) continue;
    const focused = shown.contains(document.activeElement) && document.activeElement.getAttribute("href");
    shown.replaceWith(block);
    if (focused) block.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }
}
