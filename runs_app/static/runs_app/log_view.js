// The log: appends lines, keeps at most MAX_LINES of them, follows the end unless one scrolled up.
const MAX_LINES = 2000;
const NEAR_END_PX = 40;

export class LogView {
  constructor(box, lastId) {
    this.box = box;
    this.lastId = lastId;
    this.follow = document.getElementById("log-follow");
    this.waiting = [];
    box.addEventListener("scroll", () => {
      this.follow.checked = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END_PX;
    });
    this.follow.addEventListener("change", () => this.toEnd());
    this.toEnd();
  }

  // A line that is shown already (a stream that was cut sends some again) is left out.
  append(line) {
    if (line.id <= this.lastId) return;
    this.lastId = line.id;
    if (this.waiting.push(line) === 1) requestAnimationFrame(() => this.flush());
  }

  flush() {
    document.getElementById("log-empty").hidden = true;
    const following = this.follow.checked;
    this.box.append(...this.waiting.splice(0).slice(-MAX_LINES).map(element));
    while (this.box.childElementCount > MAX_LINES) this.box.firstElementChild.remove();
    if (following) this.toEnd();
  }

  toEnd() {
    if (this.follow.checked) this.box.scrollTop = this.box.scrollHeight;
  }
}

function element(line) {
  const row = document.createElement("div");
  row.className = `line level-${line.level.toLowerCase()}`;
  const time = document.createElement("time");
  time.dateTime = line.timestamp;
  time.textContent = new Date(line.timestamp).toLocaleTimeString(document.documentElement.lang, { hour12: false });
  row.append(time, span("level", line.level), span("text", line.message));
  return row;
}

function span(className, text) {
  const part = document.createElement("span");
  part.className = className;
  part.textContent = text;
  return part;
}
