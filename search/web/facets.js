// The filters beside the hits: values of a field with how many passages have them, and times of modification.
//
// Counts come from the API where it gives them; otherwise the values are those of the hits that are shown, without
// numbers that would say more than is known.

import { h, put, icon } from "./dom.js";
import * as api from "./api.js";
import { DATES, FACETS, filterCount } from "./query.js";
import { count, kindOf, languageOf, pathOf } from "./format.js";

/** Values of a facet before "more". */
const SHOWN = 6;

export class Facets {
  constructor(ask) {
    this.ask = ask;
    this.values = {};
    this.seen = {};
    this.opened = new Set();
    this.element = h("aside", { class: "facets", "aria-label": "Filters" });
  }

  dispose() {}

  /** Asks for the counts that belong to a question. */
  async load(state, signal) {
    this.state = state;
    this.signal = signal;
  }

  /** Takes the values of hits, where the API gave no counts. */
  count(hits, state) {
    this.state = state;
    for (const [key, , field] of FACETS) {
      const of = { mime_type: "mime", language: "language", source: "source" }[field];
      const known = new Map((this.seen[key] ?? []).map((it) => [it.value, it]));
      if (!state.facets[key].length) known.clear();
      for (const hit of hits) if (hit[of]) known.set(hit[of], { value: hit[of] });
      for (const value of state.facets[key]) if (!known.has(value)) known.set(value, { value });
      this.seen[key] = [...known.values()].sort((a, b) => a.value.localeCompare(b.value));
    }
    this.draw();
  }

  draw() {
    const state = this.state;
    const set = filterCount(state);
    put(this.element,
      h("div", { class: "facets-head" }, h("h2", {}, "Filters"),
        set > 0 && h("button", { class: "link", type: "button", onclick: () => this.ask({ facets: Object.fromEntries(FACETS.map(([key]) => [key, []])), date: "", from: "", to: "" }) }, "Clear all")),
      FACETS.map(([key, title]) => this.drawFacet(key, title)),
      this.drawDates());
  }

  drawFacet(key, title) {
    const values = this.values[key] ?? this.seen[key] ?? [];
    const chosen = this.state.facets[key];
    if (!values.length || (values.length === 1 && !chosen.length && key !== "type")) return null;
    const opened = this.opened.has(key);
    const some = opened ? values : values.slice(0, SHOWN);
    const toggle = (value) => this.ask({ facets: { ...this.state.facets, [key]: chosen.includes(value) ? chosen.filter((it) => it !== value) : [...chosen, value] } });
    return h("fieldset", { class: "facet" }, h("legend", {}, title),
      some.map(({ value, count: many }) => h("label", { title: value },
        h("input", { type: "checkbox", checked: chosen.includes(value), onchange: () => toggle(value) }),
        h("span", { class: "name" }, label(key, value)), many !== undefined && h("span", { class: "quiet number" }, count(many)))),
      values.length > SHOWN && h("button", { class: "link", type: "button", "aria-expanded": String(opened), onclick: () => { opened ? this.opened.delete(key) : this.opened.add(key); this.draw(); } }, opened ? "Fewer" : `${values.length - SHOWN} more`));
  }

  drawDates() {
    const { date, from, to } = this.state;
    const day = (name, value, words) => h("label", { class: "day" }, h("span", {}, words), h("input", { type: "date", value, onchange: (event) => this.ask({ date: "range", from, to, [name]: event.target.value }) }));
    return h("fieldset", { class: "facet" }, h("legend", {}, "Modified"),
      DATES.map(([value, words]) => h("label", {}, h("input", { type: "radio", name: "date", checked: date === value, onchange: () => this.ask({ date: value, from: value === "range" ? from : "", to: value === "range" ? to : "" }) }), h("span", { class: "name" }, words))),
      date === "range" && h("div", { class: "days" }, day("from", from, "From"), day("to", to, "To")));
  }
}

function label(key, value) {
  if (key === "type") return kindOf(value);
  if (key === "lang") return languageOf(value);
  const path = pathOf(value).split("/").filter(Boolean);
  return path.length > 2 ? `…/${path.slice(-2).join("/")}` : path.join("/") || value;
}
