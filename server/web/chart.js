// Time charts in SVG: a line with its area, and stacked shares. The newest value is also text, so
// the drawing is hidden from screen readers.

import { h, put, svg } from "./dom.js";
import { short } from "./format.js";

const HEIGHT = 120;
const LEFT = 52;
const BOTTOM = 18;
const TOP = 8;

/** Upper end of an axis: 1, 2 or 5 times a power of ten, or a power of two for bytes. */
export function niceCeiling(value, inBytes = false) {
  if (!(value > 0)) return 1;
  if (inBytes) return 2 ** Math.max(1, Math.ceil(Math.log2(value)));
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((it) => it * power).find((it) => it >= value * 0.999);
}

/**
 * Seconds on the time axis for a history of this length; grows in steps so that a short history
 * fills the chart.
 */
export function spanOf(points, most) {
  const seconds = points.length ? points.at(-1)[0] - points[0][0] : 0;
  return [30, 60, 120, 180, 300].find((it) => it >= seconds && it <= most) ?? most;
}

/**
 * A figure with a line over time. `draw(points, seconds)` shows points `[time, value]` of the last
 * `seconds`.
 */
export class LineChart {
  constructor({ title, unit, format = short, inBytes = false, least = 0 }) {
    Object.assign(this, { title, unit, format, inBytes, least });
    this.value = h("span", { class: "figure-value number" }, "–");
    this.canvas = svg("svg", {
      class: "chart",
      "aria-hidden": "true",
      height: HEIGHT,
      onpointermove: (event) => this.read(event),
      onpointerleave: () => this.readNothing(),
    });
    this.reading = h("span", { class: "quiet number reading" });
    this.element = h(
      "figure",
      { class: "figure" },
      h(
        "figcaption",
        {},
        h("span", { class: "figure-title" }, title),
        this.reading,
        h("span", { class: "figure-now" }, this.value, h("span", { class: "quiet" }, ` ${unit}`)),
      ),
      this.canvas,
    );
    new ResizeObserver(() => this.redraw()).observe(this.element);
  }

  draw(points, seconds) {
    this.points = points;
    this.seconds = seconds;
    this.value.textContent = points.length ? this.format(points.at(-1)[1]) : "–";
    this.redraw();
  }

  redraw() {
    const width = Math.round(this.canvas.getBoundingClientRect().width);
    if (!width || !this.points) return;
    const { points, seconds } = this;
    const end = points.length ? points.at(-1)[0] : 0;
    const start = end - seconds;
    const top = niceCeiling(Math.max(...points.map(([, value]) => value), this.least), this.inBytes);
    this.x = (time) => LEFT + ((time - start) / seconds) * (width - LEFT - 6);
    this.y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
    this.canvas.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const line = points
      .map(([time, value], i) => `${i ? "L" : "M"}${this.x(time).toFixed(1)} ${this.y(value).toFixed(1)}`)
      .join("");
    const area =
      points.length > 1 &&
      `${line}L${this.x(end).toFixed(1)} ${this.y(0)}L${this.x(points[0][0]).toFixed(1)} ${this.y(0)}Z`;
    put(
      this.canvas,
      axes(this.y, top, width, this.format, seconds),
      area && svg("path", { class: "area", d: area }),
      points.length > 1 && svg("path", { class: "line", d: line }),
      points.length > 0 && svg("circle", { class: "dot", cx: this.x(end), cy: this.y(points.at(-1)[1]), r: 3 }),
      (this.cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, x1: -9, x2: -9 })),
    );
  }

  read(event) {
    if (!this.points?.length || !this.x) return;
    const at = event.clientX - this.canvas.getBoundingClientRect().left;
    const nearest = this.points.reduce((best, it) =>
      Math.abs(this.x(it[0]) - at) < Math.abs(this.x(best[0]) - at) ? it : best,
    );
    const x = this.x(nearest[0]);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    const before = Math.round(this.points.at(-1)[0] - nearest[0]);
    this.reading.textContent = `${this.format(nearest[1])} ${before ? `${before} s ago` : "now"}`;
  }

  readNothing() {
    this.reading.textContent = "";
    this.cursor?.setAttribute("x1", -9);
    this.cursor?.setAttribute("x2", -9);
  }
}

function axes(y, top, width, format, seconds) {
  const lines = [0, 0.5, 1].map((share) => [
    svg("line", { class: "grid", x1: LEFT, x2: width - 6, y1: y(top * share), y2: y(top * share) }),
    svg("text", { x: LEFT - 6, y: y(top * share) + 3.5, "text-anchor": "end" }, format(top * share)),
  ]);
  const middle = (LEFT + width - 6) / 2;
  const ago = (part) =>
    seconds * part >= 120 ? `−${Math.round((seconds * part) / 60)} min` : `−${Math.round(seconds * part)} s`;
  return [
    lines,
    svg("text", { x: LEFT, y: HEIGHT - 4 }, ago(1)),
    svg("text", { x: middle, y: HEIGHT - 4, "text-anchor": "middle" }, ago(0.5)),
    svg("text", { x: width - 6, y: HEIGHT - 4, "text-anchor": "end" }, "now"),
  ];
}

/** Small stacked chart of time shares: busy at the bottom, then blocked; the rest is waiting. */
export function shareLine(points, seconds, width = 180, height = 28) {
  const end = points.length ? points.at(-1)[0] : 0;
  const x = (time) => Math.max(0, ((time - end + seconds) / seconds) * width);
  const y = (share) => (1 - share) * height;
  const inside = points.filter(([time]) => time >= end - seconds);
  const band = (from, to) => {
    const up = inside.map(([time, it]) => `${x(time).toFixed(1)} ${y(to(it)).toFixed(1)}`);
    const down = inside.map(([time, it]) => `${x(time).toFixed(1)} ${y(from(it)).toFixed(1)}`).reverse();
    return inside.length > 1 ? `M${[...up, ...down].join("L")}Z` : "";
  };
  return svg(
    "svg",
    { class: "share-line", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", {
      class: "busy",
      d: band(
        () => 0,
        (it) => it.busy,
      ),
    }),
    svg("path", {
      class: "blocked",
      d: band(
        (it) => it.busy,
        (it) => it.busy + it.blocked,
      ),
    }),
  );
}
