// The filters next to the hits: values of a field with the number of matching passages, and
// modification times.
//
// The values of each collection are requested once and cached for a while. The numbers belong to
// the query and its other filters: they count all passages that contain its words, or the best by
// meaning, because dense search ranks every passage. Values without a number are listed last.

import { h, put } from "./dom.js";
import * as api from "./api.js";
import { DATES, FACETS, NO_FILTERS, filterCount, toFacetRequest } from "./query.js";
import { count, counted, kindOf, languageOf, pathOf } from "./format.js";

/** Facet values shown before "more". */
const SHOWN = 6;

/** Milliseconds for which the values of a collection are cached. */
const FRESH = 60_000;

/** Maximum number of collections whose values are requested. */
const MOST = 12;

export class Facets {
  constructor(ask) {
    this.ask = ask;
    this.known = new Map(); // Collection: { at, values: promise }
    this.values = {};
    this.counts = null; // { of: words, [key]: Map of value to number }
    this.opened = new Set();
    this.element = h("aside", { class: "facets", "aria-label": "Filters" });
  }

  /** Shows the filters of a query to these collections. */
  async load(state, collections) {
    this.state = state;
    // Numbers of another query do not apply.
    this.counts = null;
    this.draw();
    const all = await Promise.all(collections.slice(0, MOST).map((id) => this.of(id)));
    if (this.state !== state) return;
    for (const [key, , field] of FACETS) {
      const sums = new Map();
      for (const values of all)
        for (const { value, count: many } of values[field] ?? []) sums.set(value, (sums.get(value) ?? 0) + many);
      this.values[key] = [...sums]
        .map(([value, many]) => ({ value, many }))
        .sort((a, b) => b.many - a.many || a.value.localeCompare(b.value));
    }
    this.draw();
  }

  /** Requests the counts of a query; returns the total number of passages, if known. */
  async count(state, signal) {
    let answer;
    try {
      answer = await api.post("/search/facets", toFacetRequest(state), { signal });
    } catch (error) {
      // Filters work without counts, and the search itself reports the error.
      if (api.isAborted(error) || error instanceof api.Problem) return undefined;
      throw error;
    }
    if (this.state !== state) return undefined;
    const passages = counted(answer.counted, "chunk");
    this.counts = { of: answer.is_whole ? `of ${passages} found` : `of the best ${passages}` };
    for (const [key, , field] of FACETS)
      this.counts[key] = new Map(answer[field].map(({ value, count: many }) => [value, many]));
    this.draw();
    return answer.is_whole ? answer.counted : undefined;
  }

  /** The values of a collection; empty on an error, which the search itself reports. */
  of(id) {
    const known = this.known.get(id);
    if (known && Date.now() - known.at < FRESH) return known.values;
    const values = api.get(`/collections/${id}/facets`).catch(() => ({}));
    this.known.set(id, { at: Date.now(), values });
    return values;
  }

  draw() {
    const state = this.state;
    const set = filterCount(state);
    put(
      this.element,
      h(
        "div",
        { class: "facets-head" },
        h("h2", {}, "Filters"),
        set > 0 && h("button", { class: "link", type: "button", onclick: () => this.ask(NO_FILTERS) }, "Clear all"),
        h("p", { class: "quiet small facets-of" }, this.counts ? `Numbers: ${this.counts.of}` : "\u00a0"),
      ),
      FACETS.map(([key, title]) => this.drawFacet(key, title)),
      this.drawDates(),
    );
  }

  drawFacet(key, title) {
    const chosen = this.state.facets[key];
    const known = this.values[key] ?? [];
    const numbers = this.counts?.[key] ?? new Map();
    const values = [
      ...chosen.filter((it) => !known.some(({ value }) => value === it)).map((value) => ({ value, many: 0 })),
      ...known,
    ].map((it) => ({ ...it, count: numbers.get(it.value) }));
    // Values in the answer first; without counts, in the order of the collections.
    values.sort((a, b) => (b.count ?? 0) - (a.count ?? 0) || b.many - a.many);
    if (!values.length || (values.length === 1 && !chosen.length && key !== "type")) return null;
    const opened = this.opened.has(key);
    const some = opened ? values : values.slice(0, SHOWN);
    const toggle = (value) =>
      this.ask({
        facets: {
          ...this.state.facets,
          [key]: chosen.includes(value) ? chosen.filter((it) => it !== value) : [...chosen, value],
        },
      });
    return h(
      "fieldset",
      { class: "facet" },
      h("legend", {}, title),
      some.map(({ value, count: many }) =>
        h(
          "label",
          { title: value },
          h("input", { type: "checkbox", checked: chosen.includes(value), onchange: () => toggle(value) }),
          h("span", { class: "name" }, label(key, value)),
          many !== undefined && h("span", { class: "quiet number" }, count(many)),
        ),
      ),
      values.length > SHOWN &&
        h(
          "button",
          {
            class: "link",
            type: "button",
            "aria-expanded": String(opened),
            onclick: () => {
              opened ? this.opened.delete(key) : this.opened.add(key);
              this.draw();
            },
          },
          opened ? "Fewer" : `${values.length - SHOWN} more`,
        ),
    );
  }

  drawDates() {
    const { date, from, to } = this.state;
    const day = (name, value, words) =>
      h(
        "label",
        { class: "day" },
        h("span", {}, words),
        h("input", {
          type: "date",
          value,
          onchange: (event) => this.ask({ date: "range", from, to, [name]: event.target.value }),
        }),
      );
    return h(
      "fieldset",
      { class: "facet" },
      h("legend", {}, "Modified"),
      DATES.map(([value, words]) =>
        h(
          "label",
          {},
          h("input", {
            type: "radio",
            name: "date",
            checked: date === value,
            onchange: () =>
              this.ask({ date: value, from: value === "range" ? from : "", to: value === "range" ? to : "" }),
          }),
          h("span", { class: "name" }, words),
        ),
      ),
      date === "range" && h("div", { class: "days" }, day("from", from, "From"), day("to", to, "To")),
    );
  }
}

function label(key, value) {
  if (key === "type") return kindOf(value);
  if (key === "lang") return languageOf(value);
  const path = pathOf(value).split("/").filter(Boolean);
  return path.length > 2 ? `…/${path.slice(-2).join("/")}` : path.join("/") || value;
}
