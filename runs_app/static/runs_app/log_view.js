// The log, however long: only the lines that can be seen are in the page, others are fetched when they are scrolled to.
// Lines are known by their position among those that match the filter; all are one row high.
import { timeOfDay } from "./clock.js";

const STRETCH = 200; // lines that the server gives at once, as run_log.py says
const MARGIN = 15; // rows above and below the visible ones
const MOST_KEPT = 20000;
const NEAR_END_PX = 40;
const PAUSE_MS = 250; // after the last key of a search, or late line
const SCROLL_PAUSE_MS = 60; // a dragged scroll bar passes by what nobody reads
const SERIOUS = { WARNING: ["WARNING", "ERROR", "CRITICAL"], ERROR: ["ERROR", "CRITICAL"] };

export class LogView {
  constructor(box) {
    this.box = box;
    this.space = box.querySelector(".space");
    this.window = box.querySelector(".window");
    this.follow = document.getElementById("log-follow");
    this.level = document.getElementById("log-level");
    this.search = document.getElementById("log-search");
    this.lastId = Number(box.dataset.lastId);
    this.question = 0; // answers to an earlier filter are thrown away
    this.asked = new Set();
    this.takeOver();
    this.listen();
    this.draw();
    this.toEnd();
  }

  // The lines that came with the page.
  takeOver() {
    const rows = [...this.window.children];
    this.rowPx = rows[0]?.getBoundingClientRect().height || 20;
    this.total = Number(this.box.dataset.total);
    this.lastAttempt = Number(rows.at(-1)?.dataset.attempt ?? 0);
    this.lines = new Map(rows.map((row, at) => [this.total - rows.length + at, lineOf(row)]));
  }

  listen() {
    this.box.addEventListener("scroll", () => {
      this.follow.checked = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < NEAR_END_PX;
      this.drawSoon();
    });
    this.follow.addEventListener("change", () => this.toEnd());
    for (const field of [this.level, this.search]) {
      field.addEventListener("input", () => {
        this.follow.checked = true;
        this.resetSoon();
      });
    }
    new ResizeObserver(() => this.drawSoon()).observe(this.box);
  }

  // A line that is shown already (a stream that was cut sends some again) is left out.
  append(line) {
    if (line.id <= this.lastId) return;
    this.lastId = line.id;
    if (line.attempt < this.lastAttempt) {
      this.resetSoon(); // it came late, as others will with it, and belongs further up
      return;
    }
    this.lastAttempt = line.attempt;
    if (!this.matches(line)) return;
    this.lines.set(this.total, line);
    this.total += 1;
    this.drawSoon();
  }

  matches(line) {
    const isSerious = !this.level.value || SERIOUS[this.level.value].includes(line.level);
    return isSerious && line.message.toLowerCase().includes(this.search.value.toLowerCase());
  }

  resetSoon() {
    clearTimeout(this.resetting);
    this.resetting = setTimeout(() => this.reset(), PAUSE_MS);
  }

  // Begin anew with the end of what matches.
  async reset() {
    this.question += 1;
    this.asked.clear();
    const found = await this.ask({});
    if (!found) return;
    this.total = found.total;
    this.lastId = Math.max(this.lastId, found.last_id);
    this.lastAttempt = found.lines.at(-1)?.attempt ?? this.lastAttempt;
    this.lines.clear();
    this.keep(found);
    this.drawSoon();
  }

  async fetchAround(position) {
    const start = Math.floor(position / STRETCH) * STRETCH;
    if (this.asked.has(start)) return;
    this.asked.add(start);
    const found = await this.ask({ start });
    this.asked.delete(start);
    if (!found) return;
    this.keep(found);
    this.drawSoon();
  }

  // The server's answer; nothing when it has none, or when the filter was changed meanwhile.
  async ask(place) {
    const { question } = this;
    const query = new URLSearchParams({ ...place, level: this.level.value, search: this.search.value });
    try {
      const response = await fetch(`${this.box.dataset.url}?${query}`, { headers: { Accept: "application/json" } });
      const found = response.ok && !response.redirected ? await response.json() : null;
      return question === this.question ? found : null;
    } catch {
      return null; // the server is away: the next scroll or event asks again
    }
  }

  keep(found) {
    if (this.lines.size > MOST_KEPT) this.forget();
    found.lines.forEach((line, at) => this.lines.set(found.start + at, line));
  }

  forget() {
    const [first, last] = this.visible();
    for (const position of this.lines.keys()) {
      if (position < first - STRETCH || position > last + STRETCH) this.lines.delete(position);
    }
  }

  // First and last position to draw.
  visible() {
    const first = Math.floor(this.box.scrollTop / this.rowPx) - MARGIN;
    const count = Math.ceil(this.box.clientHeight / this.rowPx) + 2 * MARGIN;
    return [Math.max(first, 0), Math.min(first + count, this.total) - 1];
  }

  drawSoon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
      if (this.follow.checked) this.toEnd();
    });
  }

  draw() {
    this.space.style.height = `${this.total * this.rowPx}px`;
    const [first, last] = this.follow.checked ? this.end() : this.visible();
    const rows = [];
    let isWhole = true;
    for (let position = first; position <= last; position += 1) {
      const line = this.lines.get(position);
      isWhole &&= line !== undefined;
      rows.push(line ? element(line) : placeholder());
    }
    this.window.style.top = `${first * this.rowPx}px`;
    this.window.replaceChildren(...rows);
    this.say();
    if (!isWhole) this.fetchMissing();
  }

  // Not at each draw, and what is missing then: a dragged scroll bar has moved on.
  fetchMissing() {
    this.settling ??= setTimeout(() => {
      this.settling = null;
      const [first, last] = this.visible();
      for (let position = first; position <= last; position += 1) {
        if (!this.lines.has(position)) return this.fetchAround(position);
      }
    }, SCROLL_PAUSE_MS);
  }

  end() {
    const count = Math.ceil(this.box.clientHeight / this.rowPx) + MARGIN;
    return [Math.max(this.total - count, 0), this.total - 1];
  }

  say() {
    const isFiltered = this.level.value !== "" || this.search.value !== "";
    const count = document.getElementById("log-count");
    const words = isFiltered ? count.dataset.matches : count.dataset.lines;
    const text = words.replace("{count}", this.total.toLocaleString(document.documentElement.lang));
    if (count.textContent !== text) count.textContent = text;
    this.box.hidden = this.total === 0;
    document.getElementById("log-empty").hidden = this.total > 0 || isFiltered;
    document.getElementById("log-nothing").hidden = this.total > 0 || !isFiltered;
  }

  toEnd() {
    if (this.follow.checked) this.box.scrollTop = this.box.scrollHeight;
  }
}

function lineOf(row) {
  return {
    timestamp: row.querySelector("time").dateTime,
    level: row.querySelector(".level").textContent,
    message: row.querySelector(".text").textContent,
  };
}

function element(line) {
  const row = document.createElement("div");
  row.className = `line level-${line.level.toLowerCase()}`;
  const time = document.createElement("time");
  time.dateTime = line.timestamp;
  time.textContent = timeOfDay(new Date(line.timestamp), { hour12: false });
  const text = line.message.includes("\n") ? folded(line) : part("span", "text", line.message);
  row.append(time, part("span", "level", line.level), text);
  return row;
}

// A message of several lines, such as a traceback, in one row; a button that shows the whole of it below the log.
function folded(line) {
  const button = part("button", "text", `${line.message.replace(/\n[^]*/, "")} ↵ …`);
  button.type = "button";
  button.addEventListener("click", () => {
    const whole = document.getElementById("log-whole");
    whole.textContent = line.message;
    whole.hidden = false;
    whole.focus();
  });
  return button;
}

function placeholder() {
  const row = document.createElement("div");
  row.className = "line";
  row.textContent = "…";
  return row;
}

function part(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}
