// The metrics of the server itself, from its Prometheus endpoint: searches, caches, stores. For
// administrators only, like the endpoint; hidden for other accounts.

import { h, put } from "./dom.js";
import * as api from "./api.js";
import { duration, percent } from "./format.js";
import { LineChart, spanOf } from "./chart.js";

/** Milliseconds between two samples. */
const LOOK = 3000;
const SPAN = 180;

/** Parses the Prometheus text format to `[{ name, labels, value }]`. */
export function parseMetrics(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    if (!line || line[0] === "#") continue;
    const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/.exec(line);
    if (!found) continue;
    const labels = {};
    for (const [, key, value] of (found[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
      labels[key] = value.replace(/\\(.)/g, "$1");
    samples.push({ name: found[1], labels, value: found[3] === "+Inf" ? Infinity : Number(found[3]) });
  }
  return samples;
}

/** Sum of the samples with this name and these labels. */
export function sum(samples, name, labels = {}) {
  return samples
    .filter((it) => it.name === name && Object.entries(labels).every(([key, value]) => it.labels[key] === value))
    .reduce((all, it) => all + it.value, 0);
}

/**
 * A quantile of the observations between two samples, from histogram buckets; `null` without
 * observations.
 */
export function quantile(q, samples, before, name, labels = {}) {
  const bounds = [...new Set(samples.filter((it) => it.name === `${name}_bucket`).map((it) => it.labels.le))]
    .map((le) => [le === "+Inf" ? Infinity : Number(le), le])
    .sort((a, b) => a[0] - b[0]);
  const counts = bounds.map(([bound, le]) => [
    bound,
    sum(samples, `${name}_bucket`, { ...labels, le }) - sum(before, `${name}_bucket`, { ...labels, le }),
  ]);
  const all = counts.at(-1)?.[1] ?? 0;
  if (!(all > 0)) return null;
  const rank = q * all;
  let [below, under] = [0, 0];
  for (const [bound, many] of counts) {
    if (many >= rank)
      return bound === Infinity ? below : below + (bound - below) * ((rank - under) / Math.max(many - under, 1e-9));
    [below, under] = [bound, many];
  }
  return below;
}

export class ServerPanel {
  constructor(signal) {
    this.signal = signal;
    this.looks = [];
    this.charts = {
      searches: new LineChart({ title: "Searches", unit: "per second" }),
      latency: new LineChart({ title: "Search, 95th percentile", unit: "", format: duration, least: 0.01 }),
      stores: new LineChart({ title: "Store calls", unit: "per second" }),
    };
    this.words = h("p", { class: "quiet number" });
    this.element = h(
      "section",
      { class: "run", "aria-label": "Server", hidden: true },
      h("div", { class: "head-row" }, h("h2", {}, "Server"), this.words),
      h(
        "div",
        { class: "charts" },
        Object.values(this.charts).map((it) => it.element),
      ),
    );
  }

  begin() {
    if (!api.who()?.is_superuser) return;
    this.look();
    this.clock = setInterval(() => {
      if (!document.hidden) this.look();
    }, LOOK);
  }

  end() {
    clearInterval(this.clock);
  }

  async look() {
    try {
      const samples = parseMetrics(await api.text("/metrics", this.signal));
      this.looks.push({ at: performance.now() / 1000, samples });
      while (this.looks[0].at < this.looks.at(-1).at - SPAN) this.looks.shift();
      this.draw();
    } catch (error) {
      if (error instanceof api.Problem && (error.status === 401 || error.status === 403)) this.end();
      else if (!api.isAborted(error) && !(error instanceof api.Problem)) throw error;
    }
  }

  /** Maps each sample but the first, with its predecessor. */
  between(of) {
    return this.looks
      .slice(1)
      .map((look, i) => [look.at, of(look.samples, this.looks[i].samples, look.at - this.looks[i].at)]);
  }

  draw() {
    this.element.hidden = false;
    const span = spanOf(
      this.looks.map((look) => [look.at]),
      SPAN,
    );
    const rate = (name) =>
      this.between((now, before, seconds) => Math.max(0, sum(now, name) - sum(before, name)) / seconds);
    this.charts.searches.draw(rate("semantik_search_seconds_count"), span);
    this.charts.stores.draw(rate("semantik_store_call_seconds_count"), span);
    this.charts.latency.draw(
      this.between((now, before) => quantile(0.95, now, before, "semantik_search_seconds") ?? 0),
      span,
    );
    const now = this.looks.at(-1).samples;
    const [hits, misses] = [
      sum(now, "semantik_search_cache_total", { outcome: "hit" }),
      sum(now, "semantik_search_cache_total", { outcome: "miss" }),
    ];
    put(this.words, hits + misses > 0 ? `cache hit rate ${percent(hits / (hits + misses))}` : "");
  }
}
