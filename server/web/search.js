// The search view: query field, filters, hits and the open passage.
//
// The typed text is searched after a short pause. Each query has a number and replaces the previous
// one, whose request is aborted; an answer is shown only if no newer query was sent, so an older
// answer never replaces a newer one. The address always holds the current query.

import { h, put, icon, problemBox, announce } from "./dom.js";
import * as api from "./api.js";
import {
  drawCollections,
  drawCorrections,
  drawHome,
  drawModes,
  drawNone,
  drawNothingNear,
  drawPaging,
  drawSummary,
  drawTrouble,
  told,
} from "./answer.js";
import { Facets } from "./facets.js";
import { counted } from "./format.js";
import { drawHits, focusHit } from "./hits.js";
import { Preview } from "./preview.js";
import { NO_FILTERS, asksTheSame, filterCount, fromAnswer, fromUrl, toRequest, toUrl } from "./query.js";

/** Milliseconds without a key press before the query is sent. */
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
    this.field = h("input", {
      id: "q",
      type: "search",
      name: "q",
      placeholder: "Search the documents",
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      enterkeyhint: "search",
      value: this.state.q,
      "aria-label": "Search the documents",
      "aria-controls": "hits",
      oninput: () => this.typed(),
    });
    this.bar = h("div", { class: "waiting", hidden: true });
    this.options = h("div", { class: "ask-options" });
    this.hits = h("section", { id: "hits", "aria-label": "Hits" });
    this.facets = new Facets((change) => this.ask(change, { push: true }));
    this.preview = new Preview({
      signal,
      close: () => this.close(),
      find: (id) => this.answer?.hits.find((hit) => hit.ids.includes(id)),
    });
    const form = h(
      "form",
      {
        class: "ask",
        role: "search",
        onsubmit: (event) => {
          event.preventDefault();
          this.settle();
          this.ask({ q: this.field.value }, { now: true });
        },
      },
      h(
        "div",
        { class: "ask-field" },
        icon("search", 20),
        this.field,
        h("kbd", { class: "hint", "aria-hidden": "true" }, "/"),
        this.bar,
      ),
      this.options,
    );
    this.element = h(
      "div",
      { class: "search" },
      h("h1", { class: "visually-hidden" }, "Search"),
      form,
      h("div", { class: "columns" }, this.facets.element, h("div", {}, this.hits), this.preview.element),
    );
  }

  get title() {
    return this.state.q ? `${this.state.q} · Search` : "";
  }

  ready() {
    if (!this.state.open && matchMedia("(pointer: fine)").matches) this.field.focus();
  }

  dispose() {
    clearTimeout(this.timer);
    this.request?.abort();
  }

  /** The searchable collections. If they cannot be loaded, the search covers all. */
  async loadCollections() {
    this.isSetUpNeeded = false;
    try {
      this.collections = (await api.get("/collections", { limit: 200 }, this.signal)).items;
    } catch (error) {
      if (api.isAborted(error)) throw error;
      this.collectionsProblem = error;
    }
    if (!this.collections.length && !api.who())
      this.isSetUpNeeded = await api.isSetUpNeeded(this.signal).catch(() => false);
  }

  /** The collections that this server can search. */
  served() {
    return this.collections.filter((it) => it.is_served && !it.is_being_deleted);
  }

  draw() {
    this.drawOptions();
    this.element.classList.toggle("blank", !this.state.q);
    if (this.state.q) this.load();
    else this.drawHome();
  }

  /** The same view at another address: history navigation, or a link to another query. */
  update(url) {
    const before = this.state;
    this.state = fromUrl(url);
    if (before.q !== this.state.q) this.field.value = this.state.q;
    this.settled = true;
    if (!asksTheSame(before, this.state)) this.draw();
    else this.open();
    this.retitle();
  }

  retitle() {
    document.title = this.title ? `${this.title} · semantik` : "semantik";
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask({ q: this.field.value }), PAUSE);
  }

  /** The next key press adds a history entry. */
  settle() {
    this.settled = true;
  }

  ask(change, { push = false, now = false } = {}) {
    clearTimeout(this.timer);
    const before = this.state;
    // Another query is corrected again.
    const isSameQuery = change.q === undefined || change.q.trim() === before.q;
    const typos = !isSameQuery || before.typos !== false;
    const url = toUrl({ ...before, page: 1, open: null, typos, ...change });
    // Goes through the address, so that it matches the query.
    this.state = fromUrl(new URL(url, location.href));
    const same = asksTheSame(before, this.state);
    if (same && !now) return;
    if (!same) {
      const step = push || this.settled;
      history[step ? "pushState" : "replaceState"](null, "", url);
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
    this.facets.load(asked, asked.collections.length ? asked.collections : this.served().map((it) => it.id));
    try {
      const answer = fromAnswer(await api.post("/search", toRequest(asked), { signal: this.request.signal }));
      if (mine !== this.turn) return;
      this.answer = { ...answer, asked };
      this.drawAnswer();
      this.countFacets(this.answer);
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

  /** Loads the facet counts after the hits, and updates the total number of hits if it is known. */
  async countFacets(answer) {
    const all = await this.facets.count(answer.asked, this.request.signal);
    if (this.answer !== answer || all === undefined || !answer.more) return;
    answer.all = all;
    this.hits.querySelector(".summary strong").textContent = told(answer);
  }

  trouble(error) {
    if (!(error instanceof api.Problem)) throw error;
    return problemBox(error, () => this.load());
  }

  drawAnswer() {
    const { answer } = this;
    const { hits, failed, more, asked } = answer;
    const clear = () => this.ask({ ...NO_FILTERS, collections: [] }, { push: true });
    put(
      this.hits,
      drawSummary(answer),
      drawTrouble(answer),
      drawCorrections(answer),
      drawNothingNear(answer),
      hits.length ? drawHits(hits, { state: asked, collections: this.collections }) : drawNone(asked, clear),
      drawPaging(asked, more),
    );
    announce(`${told(answer)}${failed.length ? `; ${counted(failed.length, "collection")} did not answer` : ""}`);
    this.open();
  }

  drawOptions() {
    const ask = (change) => this.ask(change, { push: true });
    const isOpen = this.options.querySelector("details")?.open;
    const filters = filterCount(this.state);
    const narrow = h(
      "button",
      {
        class: "button small facets-button",
        type: "button",
        "aria-expanded": "false",
        onclick: () => narrow.setAttribute("aria-expanded", String(this.element.classList.toggle("narrowing"))),
      },
      filters ? `Filters (${filters})` : "Filters",
    );
    put(this.options, drawModes(this.state, ask), drawCollections(this.state, this.served(), isOpen, ask), narrow);
  }

  drawHome() {
    ++this.turn;
    this.request?.abort();
    this.bar.hidden = true;
    this.answer = null;
    this.preview.hide();
    this.element.classList.remove("opened");
    put(this.hits, this.collectionsProblem ? problemBox(this.collectionsProblem) : drawHome(this.served(), this.isSetUpNeeded));
  }

  /** Opens the passage of the address. */
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

  /** Closes the preview by changing the address, so that "back" opens it again. */
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
    if (event.key === "/" && !inField && !event.target.matches("input, select")) {
      this.field.focus();
      this.field.select();
      return true;
    }
    if (event.key === "Escape") return this.escape(inField);
    if (event.target.matches("input:not(#q), select, summary, textarea")) return false;
    if (event.key === "ArrowDown" || event.key === "ArrowUp")
      return this.move(event.key === "ArrowDown" ? 1 : -1, inField);
    if (!inField && !event.target.closest(".preview") && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      const link = this.hits.querySelector(event.key === "ArrowLeft" ? "a[rel=prev]" : "a[rel=next]");
      link?.click();
      return Boolean(link);
    }
    return false;
  }

  escape(inField) {
    const details = this.options.querySelector("details[open]");
    if (details) {
      details.open = false;
      details.querySelector("summary").focus();
      return true;
    }
    if (this.state.open) {
      this.close();
      return true;
    }
    if (inField && this.field.value) {
      this.field.value = "";
      this.ask({ q: "" });
      return true;
    }
    if (!inField) {
      this.field.focus();
      this.field.select();
      return true;
    }
    return false;
  }

  /** Focuses the previous or next hit; an open preview follows. */
  move(step, inField) {
    const links = [...this.hits.querySelectorAll(".hit a.hit-link")];
    if (!links.length) return false;
    if (inField && step < 0) return false;
    const now = links.indexOf(document.activeElement);
    const current = links.findIndex((it) => it.closest(".current"));
    const next = (inField ? -1 : now >= 0 ? now : current) + step;
    if (next < 0) {
      this.field.focus();
      return true;
    }
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
