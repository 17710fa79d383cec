// Everything around the hits: their number and timings, collections that failed, pagination, search
// modes and the start page. Drawn from data; `search.js` decides when.

import { h, icon, problemBox } from "./dom.js";
import * as api from "./api.js";
import { count, counted, duration } from "./format.js";
import { MODES, PAGE, filterCount, toUrl } from "./query.js";

/**
 * Text for the number of hits; `all` is the total over all pages, if known. Merged chunks count
 * singly, so that pages continue each other.
 */
export function told({ hits, more, asked, all }) {
  const first = (asked.page - 1) * PAGE;
  const number = hits.reduce((sum, hit) => sum + hit.chunks.length, 0);
  if (!number) return "No hits";
  if (!more && !first) return counted(number, "hit");
  const known = all ?? (more ? undefined : first + number);
  return `Hits ${count(first + 1)}–${count(first + number)}${known === undefined ? "" : ` of ${count(known)}`}`;
}

/** The summary line above the hits, and their heading. */
export function drawSummary(answer) {
  const { total, embed, store, rerank } = answer.timings;
  const line = h(
    "p",
    { class: "summary" },
    h("strong", {}, told(answer)),
    h(
      "span",
      { class: "quiet number" },
      `${duration(total)} · embedding ${duration(embed)} · store ${duration(store)}` +
        (rerank ? ` · reranking ${duration(rerank)}` : ""),
    ),
  );
  return [h("h2", { class: "visually-hidden" }, "Hits"), line];
}

/** Collections that failed, and collections searched in another mode than requested. */
export function drawTrouble({ failed, searched, asked }) {
  const others = searched.filter((it) => it.mode !== asked.mode).map((it) => it.name);
  return [
    failed.map((it) => problemBox({ title: `${it.name} did not answer`, detail: it.why })),
    asked.mode === "hybrid" &&
      others.length > 0 &&
      h("p", { class: "quiet small" }, `${others.join(", ")}: searched by meaning only, because the collection has no sparse vectors`),
  ];
}

/** A line above hits that are no nearer to the query than unrelated passages. */
export function drawNothingNear({ nothingNear, searched }) {
  if (!nothingNear) return null;
  const them = searched.length === 1 ? "the collection" : "the collections";
  return h("p", { class: "small" }, `Nothing in ${them} is near this query; the best hits follow.`);
}

/** Words that were corrected, each with links to the words that were not used. */
export function drawCorrections({ corrections, asked }) {
  if (!corrections.length) return null;
  const search = (change) => toUrl({ ...asked, page: 1, open: null, ...change });
  const replaced = (typed, used) => asked.q.replace(typed, () => used);
  const line = ({ typed, used, alternatives }) => [
    "Searched ",
    h("strong", {}, used),
    ` for “${typed}”`,
    alternatives.map((it, at) => [
      at ? ", " : "; or ",
      h("a", { href: search({ q: replaced(typed, it) }) }, it),
    ]),
    ". ",
  ];
  return h(
    "p",
    { class: "small" },
    corrections.map(line),
    h("a", { href: search({ typos: false }) }, "Search as typed"),
  );
}

/** Replaces the hits if there are none; `clear` searches without filters. */
export function drawNone(state, clear) {
  const limited = filterCount(state) > 0 || state.collections.length > 0;
  return h(
    "div",
    { class: "empty" },
    h(
      "p",
      {},
      limited
        ? "No hit matches the query and all filters."
        : "No hits. Try other words, or search by meaning to find other wordings.",
    ),
    limited && h("button", { class: "button", type: "button", onclick: clear }, "Search without filters"),
  );
}

/** Links to the previous and the next page. */
export function drawPaging(state, more) {
  const { page } = state;
  if (!more && page === 1) return null;
  const link = (to, words, rel) =>
    h("a", { class: "button", href: toUrl({ ...state, page: to, open: null }), rel }, words);
  return h(
    "nav",
    { class: "paging", "aria-label": "Pages" },
    page > 1 ? link(page - 1, [icon("left"), "Previous"], "prev") : h("span"),
    h("span", { class: "quiet" }, `Page ${page}`),
    more ? link(page + 1, ["Next", icon("right")], "next") : h("span"),
  );
}

/** The three search modes. */
export function drawModes(state, ask) {
  const choice = ([name, words, why]) =>
    h(
      "label",
      { title: why },
      h("input", { type: "radio", name: "mode", checked: state.mode === name, onchange: () => ask({ mode: name }) }),
      h("span", {}, words),
    );
  return h(
    "fieldset",
    { class: "segments" },
    h("legend", { class: "visually-hidden" }, "Search by"),
    MODES.map(choice),
  );
}

/** Selection of the collections to search. */
export function drawCollections(state, collections, isOpen, ask) {
  if (!collections.length) return null;
  const chosen = state.collections;
  const names = collections.filter((it) => chosen.includes(it.id)).map((it) => it.name);
  const words = names.length === 1 ? names[0] : chosen.length ? `${chosen.length} collections` : "All collections";
  const toggled = (id) => (chosen.includes(id) ? chosen.filter((it) => it !== id) : [...chosen, id]);
  const choice = (checked, name, wish, number) =>
    h(
      "label",
      {},
      h("input", { type: "checkbox", checked, onchange: () => ask({ collections: wish }) }),
      h("span", {}, name),
      number !== undefined && h("span", { class: "quiet number" }, count(number)),
    );
  return h(
    "details",
    { class: "choice", open: isOpen },
    h("summary", { class: "button small" }, words, icon("down", 14)),
    h(
      "div",
      { class: "menu" },
      choice(!chosen.length, "All collections", []),
      collections.map((it) => choice(chosen.includes(it.id), it.name, toggled(it.id), it.document_count)),
    ),
  );
}

/** The start page of a server without visible collections. */
function drawEmpty(isSetUpNeeded) {
  const empty = (...parts) => h("div", { class: "empty" }, parts);
  if (isSetUpNeeded)
    return empty(
      h("p", {}, "This server has no administrator yet."),
      h(
        "p",
        {},
        "Open the link that ",
        h("code", {}, "semantik serve"),
        " printed at startup, or enter the token from the file that it wrote.",
      ),
      h("a", { class: "button primary", href: "/setup" }, "Create the first administrator"),
    );
  if (api.who())
    return empty(
      h("p", {}, "You have no access to a collection yet."),
      h("p", {}, "A pipeline file creates a collection. Its owner or an administrator grants access."),
    );
  return empty(
    h("p", {}, "There are no public collections. Log in to see yours."),
    h("a", { class: "button primary", href: "/login" }, "Log in to search"),
  );
}

/** The start page: the collections. */
export function drawHome(collections, isSetUpNeeded) {
  const sum = (key) => collections.reduce((all, it) => all + it[key], 0);
  if (!collections.length) return drawEmpty(isSetUpNeeded);
  const card = (it) =>
    h(
      "li",
      {},
      h(
        "a",
        { href: `/collections/${it.id}` },
        h("strong", {}, it.name),
        h("span", { class: "quiet" }, it.description || counted(it.document_count, "document")),
      ),
    );
  return [
    h(
      "p",
      { class: "home-sum quiet" },
      `${counted(sum("document_count"), "document")} and ${counted(sum("chunk_count"), "chunk")} in ${counted(collections.length, "collection")}`,
    ),
    h("ul", { class: "home-list" }, collections.slice(0, 12).map(card)),
    sum("document_count") === 0 &&
      h(
        "p",
        { class: "empty" },
        "No documents are indexed yet. Open a collection and press “Update”, or run ",
        h("code", {}, "semantik run"),
        " with its pipeline file.",
      ),
  ];
}
