// The search: a field, the ways to narrow it, the hits, and the passage that is open.
//
// What is typed is asked after a short pause. Each question has a number and takes the place of the one before, whose
// request is aborted; an answer is shown only if no newer question was asked meanwhile, so an older answer never
// covers a newer one. The address always says what is asked.

import { h, put, icon, problemBox, announce } from "./dom.js";
import * as api from "./api.js";
import { count, counted, duration } from "./format.js";
import { MODES, PAGE, fromUrl, toUrl, toRequest, fromAnswer, asksTheSame, filterCount } from "./query.js";
import { drawHits, focusHit } from "./hits.js";
import { Facets } from "./facets.js";
import { Preview } from "./preview.js";

/** Milliseconds after the last key before what is typed is asked. */
const PAUSE = 120;

export async function show({ url, signal }) {
  const view = new Search(url, signal);
  await view.loadCollections();
  view.draw();
  return view;
}

class Search {
  constructor(url, signal) {
    this.state = fromUrl(url);
    this.signal = signal;
    this.turn = 0;
    this.answer = null;
    this.collections = [];
    this.settled = true;
    this.field = h("input", { id: "q", type: "search", name: "q", placeholder: "Search the documents", autocomplete: "off", autocapitalize: "off", spellcheck: "false", enterkeyhint: "search", value: this.state.q, "aria-label": "Search the documents", "aria-controls": "hits", oninput: () => this.typed() });
    this.bar = h("div", { class: "waiting", hidden: true });
    this.options = h("div", { class: "ask-options" });
    this.summary = h("p", { class: "summary" });
    this.hits = h("section", { class: "hits", id: "hits", "aria-label": "Hits" });
    this.facets = new Facets((change) => this.ask(change, { push: true }));
    this.preview = new Preview({ signal, close: () => this.close(), find: (id) => this.answer?.hits.find((hit) => hit.id === id) });
    const form = h("form", { class: "ask", role: "search", onsubmit: (event) => { event.preventDefault(); this.settle(); this.ask({ q: this.field.value }, { now: true }); } },
      h("div", { class: "ask-field" }, icon("search", 20), this.field, h("kbd", { class: "hint", "aria-hidden": "true" }, "/"), this.bar), this.options);
    this.element = h("div", { class: "search" }, h("h1", { class: "visually-hidden" }, "Search"), form, h("div", { class: "columns" }, this.facets.element, h("div", { class: "found" }, this.hits), this.preview.element));
  }

  get title() { return this.state.q ? `${this.state.q} · Search` : ""; }

  ready() {
    if (!this.state.open && matchMedia("(pointer: fine)").matches) this.field.focus();
  }

  dispose() {
    clearTimeout(this.timer);
    this.request?.abort();
    this.facets.dispose();
  }

  /** The collections that can be searched. Without them the search still works; it asks all. */
  async loadCollections() {
    try {
      this.collections = (await api.get("/collections", { limit: 200 }, this.signal)).items;
    } catch (error) {
      if (api.isAborted(error)) throw error;
      this.collectionsProblem = error;
    }
  }

  draw() {
    this.drawOptions();
    this.element.classList.toggle("blank", !this.state.q.trim());
    if (this.state.q.trim()) this.load();
    else this.drawHome();
  }

  /** The same view at another address: a step back, or a link to another question. */
  update(url) {
    const before = this.state;
    this.state = fromUrl(url);
    if (this.field.value.trim() !== this.state.q) this.field.value = this.state.q;
    this.settled = true;
    if (!asksTheSame(before, this.state)) this.draw();
    else this.open();
    this.retitle();
  }

  retitle() { document.title = this.title ? `${this.title} · semantik` : "semantik"; }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask({ q: this.field.value }), PAUSE);
  }

  /** The next letter begins a new step for the button "back". */
  settle() { this.settled = true; }

  ask(change, { push = false, now = false } = {}) {
    clearTimeout(this.timer);
    const before = this.state;
    this.state = { ...before, page: 1, open: null, ...change };
    const same = asksTheSame({ ...before, q: before.q.trim() }, { ...this.state, q: this.state.q.trim() });
    if (same && !now) return;
    if (!same) {
      const step = push || this.settled;
      history[step ? "pushState" : "replaceState"](null, "", toUrl({ ...this.state, q: this.state.q.trim() }));
      this.settled = push;
    }
    this.retitle();
    this.draw();
  }

  async load() {
    const mine = ++this.turn;
    this.request?.abort();
    this.request = new AbortController();
    const asked = this.state;
    this.bar.hidden = false;
    const started = performance.now();
    this.facets.load(asked, this.request.signal);
    try {
      const answer = fromAnswer(await api.post("/search", toRequest(asked), { signal: this.request.signal }));
      if (mine !== this.turn) return;
      this.answer = { ...answer, asked, seconds: (performance.now() - started) / 1000 };
      this.drawAnswer();
    } catch (error) {
      if (mine !== this.turn || api.isAborted(error)) return;
      this.answer = null;
      this.preview.hide();
      this.element.classList.remove("opened");
      put(this.hits, this.trouble(error));
    } finally {
      if (mine === this.turn) this.bar.hidden = true;
    }
  }

  trouble(error) {
    if (!(error instanceof api.Problem)) throw error;
    return problemBox(error, () => this.load());
  }

  drawAnswer() {
    const { hits, failed, seconds, timings, more, asked } = this.answer;
    this.facets.count(hits, asked);
    const took = timings.total ?? seconds;
    const parts = [timings.embed !== undefined && `embedding ${duration(timings.embed)}`, timings.store !== undefined && `store ${duration(timings.store)}`].filter(Boolean).join(" · ");
    const first = (asked.page - 1) * PAGE;
    const words = hits.length ? (more || first ? `Passages ${count(first + 1)}–${count(first + hits.length)}` : counted(hits.length, "passage")) : "No passage found";
    put(this.summary, h("strong", {}, words), h("span", { class: "quiet", title: parts }, duration(took), parts && h("span", { class: "parts" }, ` · ${parts}`)));
    put(this.hits, this.summary,
      failed.map((it) => problemBox({ title: `${it.collection ?? "A collection"} did not answer`, detail: it.detail ?? it.error })),
      hits.length ? drawHits(hits, { state: asked, collections: this.collections }) : this.drawNone(),
      (more || asked.page > 1) && this.drawPaging(more, asked.page));
    announce(`${words}${failed.length ? `; ${counted(failed.length, "collection")} did not answer` : ""}`);
    this.open();
  }

  drawNone() {
    const filters = filterCount(this.state);
    const clear = () => this.ask({ facets: { type: [], lang: [], source: [] }, date: "", from: "", to: "", collections: [] }, { push: true });
    const limited = filters || this.state.collections.length;
    return h("div", { class: "empty" }, h("p", {}, limited ? "Nothing fits all that is asked." : "Nothing fits. Other words may; a search by meaning finds what is said differently."),
      limited && h("button", { class: "button", type: "button", onclick: clear }, "Search without filters"));
  }

  drawPaging(more, page) {
    const link = (to, words, rel) => h("a", { class: "button", href: toUrl({ ...this.state, page: to, open: null }), rel }, words);
    return h("nav", { class: "paging", "aria-label": "Pages" },
      page > 1 ? link(page - 1, [icon("left"), "Previous"], "prev") : h("span"),
      h("span", { class: "quiet" }, `Page ${page}`),
      more ? link(page + 1, ["Next", icon("right")], "next") : h("span"));
  }

  drawOptions() {
    const modes = h("fieldset", { class: "segments" }, h("legend", { class: "visually-hidden" }, "Search by"),
      MODES.map(([name, words, why]) => h("label", { title: why }, h("input", { type: "radio", name: "mode", checked: this.state.mode === name, onchange: () => this.ask({ mode: name }, { push: true }) }), h("span", {}, words))));
    const chosen = this.state.collections;
    const named = this.collections.filter((it) => chosen.includes(it.id)).map((it) => it.name);
    const words = chosen.length ? (named.length === 1 ? named[0] : `${chosen.length} collections`) : "All collections";
    const toggle = (id) => this.ask({ collections: chosen.includes(id) ? chosen.filter((it) => it !== id) : [...chosen, id] }, { push: true });
    const list = this.collections.filter((it) => it.is_served !== false);
    const isOpen = this.options.querySelector("details")?.open;
    const choice = list.length > 0 && h("details", { class: "choice", open: isOpen },
      h("summary", { class: "button small" }, words, icon("down", 14)),
      h("div", { class: "menu" },
        h("label", {}, h("input", { type: "checkbox", checked: !chosen.length, onchange: () => this.ask({ collections: [] }, { push: true }) }), h("span", {}, "All collections")),
        list.map((it) => h("label", {}, h("input", { type: "checkbox", checked: chosen.includes(it.id), onchange: () => toggle(it.id) }), h("span", {}, it.name), h("span", { class: "quiet number" }, count(it.document_count))))));
    const filters = filterCount(this.state);
    const narrow = h("button", { class: "button small facets-button", type: "button", "aria-expanded": "false", onclick: (event) => { const open = this.element.classList.toggle("narrowing"); event.currentTarget.setAttribute("aria-expanded", String(open)); } }, filters ? `Filters (${filters})` : "Filters");
    put(this.options, modes, choice, narrow);
  }

  drawHome() {
    ++this.turn;
    this.request?.abort();
    this.bar.hidden = true;
    this.answer = null;
    this.preview.hide();
    this.element.classList.remove("opened");
    const some = this.collections.filter((it) => it.is_served !== false);
    const sum = (key) => some.reduce((all, it) => all + (it[key] ?? 0), 0);
    if (this.collectionsProblem) { put(this.hits, problemBox(this.collectionsProblem)); return; }
    if (!some.length) {
      put(this.hits, h("div", { class: "empty" }, h("p", {}, api.who() ? "No collection is here for you yet." : "No collection is open to everybody. Log in to see yours.")));
      return;
    }
    put(this.hits, h("p", { class: "home-sum quiet" }, `${counted(sum("document_count"), "document")} and ${counted(sum("chunk_count"), "passage")} in ${counted(some.length, "collection")}`),
      h("ul", { class: "home-list" }, some.slice(0, 12).map((it) => h("li", {}, h("a", { href: `/collections/${it.id}` }, h("strong", {}, it.name), h("span", { class: "quiet" }, it.description || counted(it.document_count, "document")))))));
  }

  /** Shows what the address says is open. */
  open() {
    const open = this.state.open;
    const id = open && `${open.document}:${open.chunk}`;
    this.element.classList.toggle("opened", Boolean(open));
    this.hits.querySelectorAll(".hit").forEach((hit) => {
      const isIt = hit.dataset.id === id;
      hit.classList.toggle("current", isIt);
      hit.querySelector("a").setAttribute("aria-expanded", String(isIt));
    });
    if (open) this.preview.open(open, this.answer);
    else this.preview.hide();
  }

  /** Closes the preview by the address, so that "back" opens it again. */
  close() {
    const { open } = this.state;
    if (!open) return;
    this.state = { ...this.state, open: null };
    history.pushState(null, "", toUrl(this.state));
    this.settle();
    this.open();
    focusHit(this.hits, `${open.document}:${open.chunk}`);
  }

  onKey(event) {
    const inField = event.target === this.field;
    if (event.key === "/" && !inField && !event.target.matches("input, select")) { this.field.focus(); this.field.select(); return true; }
    if (event.key === "Escape") return this.escape(inField);
    if (event.target.matches("input:not(#q), select, summary, textarea")) return false;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") return this.move(event.key === "ArrowDown" ? 1 : -1, inField);
    if (!inField && !event.target.closest(".preview") && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      const link = this.hits.querySelector(event.key === "ArrowLeft" ? "a[rel=prev]" : "a[rel=next]");
      link?.click();
      return Boolean(link);
    }
    return false;
  }

  escape(inField) {
    const details = this.options.querySelector("details[open]");
    if (details) { details.open = false; details.querySelector("summary").focus(); return true; }
    if (this.state.open) { this.close(); return true; }
    if (inField && this.field.value) { this.field.value = ""; this.ask({ q: "" }); return true; }
    if (!inField) { this.field.focus(); this.field.select(); return true; }
    return false;
  }

  /** To the hit before or behind the one that has the focus; an open preview follows. */
  move(step, inField) {
    const links = [...this.hits.querySelectorAll(".hit a.hit-link")];
    if (!links.length) return false;
    if (inField && step < 0) return false;
    const now = links.indexOf(document.activeElement);
    const current = links.findIndex((it) => it.closest(".current"));
    const next = (inField ? -1 : now >= 0 ? now : current) + step;
    if (next < 0) { this.field.focus(); return true; }
    const link = links[Math.min(next, links.length - 1)];
    link.focus();
    link.closest(".hit").scrollIntoView({ block: "nearest" });
    if (this.state.open) {
      const [document_, chunk] = link.closest(".hit").dataset.id.split(":");
      this.state = { ...this.state, open: { document: document_, chunk: Number(chunk) } };
      history.replaceState(null, "", toUrl(this.state));
      this.open();
    }
    return true;
  }
}
