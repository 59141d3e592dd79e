// On a phone the menu opens and closes by its button; on a wide screen it is always there.
const button = document.getElementById("menu-button");
const menu = document.getElementById("menu");

if (button && menu) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const isOpen = menu.classList.toggle("open");
    button.setAttribute("aria-expanded", String(isOpen));
  });
}
