// Times of day as the server writes them on the same page: in its time zone, wherever the browser is.
const { timeZone } = document.getElementById("run-page").dataset;

export function timeOfDay(at, parts = { hour: "2-digit", minute: "2-digit" }) {
  return at.toLocaleTimeString(document.documentElement.lang, { timeZone, ...parts });
}
