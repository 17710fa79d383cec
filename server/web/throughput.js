// Live throughput: documents and tokens per second and node activity of running operations, results
// of earlier ones, and for administrators the metrics of searches and stores.

import { h, put, meter, table, viewOf } from "./dom.js";
import * as api from "./api.js";
import { ago, bytes, count, duration, moment, short } from "./format.js";
import { Flow, farOf, leftOf } from "./flow.js";
import { LineChart, spanOf } from "./chart.js";
import { Nodes } from "./nodes.js";
import { ServerPanel } from "./server.js";
import { follow, isOver, lasted, pill, whatOf } from "./operations.js";

/** Seconds on the time axis of the charts. */
const SPAN = 180;
/** Milliseconds after its end for which an operation keeps its charts. */
const LINGER = 60_000;

export async function show({ signal }) {
  const view = new Throughput(signal);
  await view.load();
  return view;
}

class Throughput {
  constructor(signal) {
    Object.assign(this, { signal, title: "Throughput", running: new Map(), past: [] });
    this.now = h("div", { class: "runs" });
    this.before = h("section", { "aria-label": "Earlier operations" });
    this.server = new ServerPanel(signal);
    this.element = viewOf(
      {
        title: "Throughput",
        words: [
          "Live, as reported by the workers. The same values are Prometheus metrics under ",
          h("code", {}, "/api/v1/metrics"),
          ".",
        ],
      },
      this.now,
      this.before,
      this.server.element,
    );
  }

  async load() {
    const page = await api.get("/operations", { limit: 40 }, this.signal);
    page.items.filter((it) => it.status === "processing").forEach((it) => this.take(it));
    this.past = page.items.filter(isOver);
    this.draw();
    follow(this.signal, (operation) => this.take(operation));
    this.server.begin();
  }

  dispose() {
    this.server.end();
  }

  take(operation) {
    const known = this.running.get(operation.id);
    if (isOver(operation)) {
      if (!this.past.some((it) => it.id === operation.id)) this.past.unshift(operation);
      if (known) {
        known.take(operation);
        setTimeout(() => {
          this.running.delete(operation.id);
          this.draw();
        }, LINGER);
      }
      this.draw();
      return;
    }
    if (operation.status !== "processing") return;
    if (known) {
      known.take(operation);
      return;
    }
    const run = new Run();
    run.take(operation);
    this.running.set(operation.id, run);
    this.draw();
  }

  draw() {
    const runs = [...this.running.values()].map((it) => it.element);
    put(
      this.now,
      runs.length
        ? runs
        : h(
            "div",
            { class: "empty idle" },
            h("p", {}, "No operation is running."),
            h("a", { class: "button", href: "/collections" }, "Go to the collections"),
          ),
    );
    put(this.before, this.past.length > 0 && [h("h2", {}, "Earlier operations"), pastTable(this.past)]);
  }
}

/** The charts of one operation. */
class Run {
  constructor() {
    this.flow = new Flow();
    this.nodes = new Nodes();
    this.head = h("div", { class: "head-row" });
    this.charts = {
      documents: new LineChart({ title: "Documents", unit: "per second" }),
      tokens: new LineChart({ title: "Tokens", unit: "per second" }),
      queue: new LineChart({ title: "Queued between nodes", unit: "", format: bytes, inBytes: true }),
    };
    this.element = h(
      "section",
      { class: "run" },
      this.head,
      h(
        "div",
        { class: "charts" },
        Object.values(this.charts).map((it) => it.element),
      ),
      this.nodes.element,
    );
  }

  take(operation) {
    this.flow.push(operation.progress);
    const progress = this.flow.now;
    put(
      this.head,
      h("h2", {}, h("a", { href: `/operations/${operation.id}` }, `${whatOf(operation)} of ${operation.collection}`)),
      pill(operation.status),
      h("span", { class: "quiet number" }, progress && farOf(progress, count)),
      h("span", { class: "space" }),
      h("span", { class: "quiet number" }, duration(lasted(operation))),
    );
    const waiting = this.flow.level((look) => (look.nodes ?? []).reduce((sum, node) => sum + node.queue_bytes, 0));
    const span = spanOf(waiting, SPAN);
    this.charts.documents.draw(this.flow.rate(leftOf), span);
    this.charts.tokens.draw(
      this.flow.rate((look) => look.tokens),
      span,
    );
    this.charts.queue.draw(waiting, span);
    this.nodes.draw(this.flow, operation.status === "processing");
  }
}

/** Results of earlier operations, with a bar for the rate so that a slow run stands out. */
function pastTable(operations) {
  const rows = operations
    .filter((it) => it.report?.documents || it.progress)
    .slice(0, 25)
    .map((it) => {
      const seconds = lasted(it);
      const seen = it.report?.documents?.seen ?? it.progress?.seen ?? 0;
      const tokens = it.report?.tokens ?? it.progress?.tokens ?? 0;
      return { it, seconds, seen, tokens, rate: seconds > 0 ? seen / seconds : 0 };
    });
  if (!rows.length) return h("p", { class: "quiet" }, "No results were reported.");
  const most = Math.max(...rows.map((it) => it.rate), 1e-9);
  return table(
    "Results of earlier operations",
    [
      "Operation",
      "State",
      "Documents per second",
      ["Documents", "number"],
      ["Tokens", "number"],
      ["Took", "number"],
      "Ended",
    ],
    rows.map(({ it, seconds, seen, tokens, rate }) =>
      h(
        "tr",
        {},
        h(
          "th",
          { scope: "row" },
          h("a", { href: `/operations/${it.id}` }, whatOf(it)),
          h("span", { class: "quiet" }, ` · ${it.collection}`),
        ),
        h("td", {}, pill(it.status)),
        h("td", { class: "rate" }, meter(rate / most), h("span", { class: "number" }, short(rate))),
        h("td", { class: "number" }, count(seen)),
        h("td", { class: "number" }, short(tokens)),
        h("td", { class: "number" }, duration(seconds)),
        h("td", { class: "quiet", title: moment(it.completed_at) }, ago(it.completed_at)),
      ),
    ),
  );
}
