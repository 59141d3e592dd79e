// The charts of a run, drawn by uPlot from what the server says; colours are the page's own, light or dark.
/* global uPlot */
import { timeOfDay } from "./clock.js";

const HEIGHT_PX = 240;
const SMALL_PX = 150;
const FEW_POINTS = 100; // each is marked as long as there are no more
const EPOCHS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]; // where lines may stand: never between two epochs
const SECONDS = [30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];

export class Curves {
  constructor(page) {
    this.page = page;
    this.section = page.querySelector("#curves");
    this.charts = new Map();
    new ResizeObserver(() => this.resize()).observe(this.section);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    new MutationObserver(() => this.redraw()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  async load() {
    const response = await fetch(this.page.dataset.curvesUrl, { headers: { Accept: "application/json" } });
    if (!response.ok || response.redirected) return;
    this.found = await response.json();
    this.show();
    this.tell();
  }

  redraw() {
    for (const chart of this.charts.values()) chart.destroy();
    this.charts.clear();
    if (this.found) this.show();
  }

  show() {
    const words = this.page.dataset;
    const { train, validation, judged, gpu_use: use, gpu_memory: memory } = this.found;
    this.draw("loss", [train, validation], [line(words.train, 1), { ...line(words.validation, 2), dash: [6, 4] }]);
    this.draw("judged", [judged], [line(words.judged, 3)]);
    this.draw("gpu", [use, memory], [line(words.use, 1), { ...line(words.memory, 2), scale: "memory", dash: [6, 4] }]);
  }

  // The GPU's chart for those who do not see it.
  tell() {
    const table = this.section.querySelector("#gpu-table");
    const rows = this.found.gpu_table.map((texts) => {
      const row = document.createElement("tr");
      row.append(...texts.map((text, at) => cell(at === 0 ? "th" : "td", text)));
      return row;
    });
    table.hidden = rows.length === 0;
    table.querySelector("tbody").replaceChildren(...rows);
  }

  draw(name, tables, series) {
    const place = this.section.querySelector(`[data-chart="${name}"]`);
    const isEmpty = tables.every(([, values]) => values.every((value) => value === null));
    place.closest("figure").hidden = isEmpty;
    if (isEmpty) return;
    const data = uPlot.join(tables);
    const chart = this.charts.get(name);
    if (chart) chart.setData(data);
    else this.charts.set(name, new uPlot(this.options(name, place, series, data), data, place));
  }

  options(name, place, series, data) {
    const isTime = name === "gpu";
    const points = { show: !isTime && data[0].length <= FEW_POINTS, size: 6 };
    return {
      width: place.clientWidth,
      height: isTime ? SMALL_PX : HEIGHT_PX,
      scales: { x: { time: false, range: isTime ? undefined : fromZero }, ...(isTime ? gpuScales : {}) },
      series: [{ label: isTime ? this.page.dataset.time : this.page.dataset.epoch, value: isTime ? atTime : number }].concat(
        series.map((one) => ({ ...one, points })),
      ),
      axes: isTime ? [axis({ incrs: SECONDS, values: times, size: 32 }), axis(), axis({ scale: "memory", side: 1, grid: { show: false } })] : [axis({ incrs: EPOCHS, values: numbers, size: 32 }), axis({ values: numbers, size: 60 })],
      padding: [14, 14, 0, 0], // room for half a star
      cursor: { drag: { x: true, y: false } },
      hooks: { draw: [(chart) => this.star(name, chart)] },
    };
  }

  // The best epoch, where the metric that chose it is drawn.
  star(name, chart) {
    const best = this.section.querySelector("[data-best-epoch]").dataset.bestEpoch;
    if (name !== "judged" || best === "") return;
    const at = chart.data[0].findIndex((epoch) => Math.abs(epoch - Number(best)) < 1e-4);
    if (at < 0 || typeof chart.data[1][at] !== "number") return;
    const { ctx } = chart;
    ctx.save();
    ctx.fillStyle = colour("--star");
    ctx.font = `${20 * devicePixelRatio}px sans-serif`;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.fillText("★", chart.valToPos(chart.data[0][at], "x", true), chart.valToPos(chart.data[1][at], "y", true));
    ctx.restore();
  }

  resize() {
    for (const [name, chart] of this.charts) {
      const { clientWidth } = this.section.querySelector(`[data-chart="${name}"]`);
      if (clientWidth && clientWidth !== chart.width) chart.setSize({ width: clientWidth, height: chart.height });
    }
  }
}

function cell(tag, text) {
  const made = document.createElement(tag);
  if (tag === "th") made.scope = "row";
  made.textContent = text;
  return made;
}

const gpuScales = {
  y: { range: [0, 100] },
  memory: { range: (_chart, _low, high) => [0, Math.max(1, high * 1.1)] },
};

function fromZero(_chart, _first, last) {
  return [0, Math.max(last, 1)];
}

function line(label, which) {
  return { label, stroke: colour(`--curve-${which}`), width: 2, value: number };
}

function axis(more = {}) {
  const grid = { stroke: colour("--hairline-color"), width: 1, ...more.grid };
  return { stroke: colour("--body-quiet-color"), ticks: { show: false }, ...more, grid };
}

function number(_chart, value) {
  return value === null || value === undefined ? "–" : short(value);
}

function numbers(_chart, values) {
  return values.map((value) => (value === null ? "" : short(value)));
}

function short(value) {
  return value.toLocaleString(document.documentElement.lang, { maximumSignificantDigits: 4 });
}

function times(_chart, values) {
  return values.map((seconds) => clock(seconds));
}

function atTime(_chart, seconds) {
  return seconds === null ? "–" : clock(seconds);
}

function clock(seconds) {
  return timeOfDay(new Date(seconds * 1000));
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
