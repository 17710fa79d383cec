// What stands around the hits: how many and how long it took, what did not answer, the pages, the ways to ask, and what
// is there before anything is asked. Drawn from data; `search.js` decides when.

import { h, icon, problemBox } from "./dom.js";
import * as api from "./api.js";
import { count, counted, duration } from "./format.js";
import { MODES, PAGE, filterCount, toUrl } from "./query.js";

/** How many hits there are, in words; `all` is how many on all pages, where that is known. */
export function told({ hits, more, asked, all }) {
  const first = (asked.page - 1) * PAGE;
  if (!hits.length) return "No hit";
  if (!more && !first) return counted(hits.length, "hit");
  const known = all ?? (more ? undefined : first + hits.length);
  return `Hits ${count(first + 1)}–${count(first + hits.length)}${known === undefined ? "" : ` of ${count(known)}`}`;
}

/** The line above the hits, and the heading that they stand below. */
export function drawSummary(answer) {
  const { total, embed, store } = answer.timings;
  const line = h(
    "p",
    { class: "summary" },
    h("strong", {}, told(answer)),
    h(
      "span",
      { class: "quiet number" },
      `${duration(total)} · embedding ${duration(embed)} · store ${duration(store)}`,
    ),
  );
  return [h("h2", { class: "visually-hidden" }, "Hits"), line];
}

/** What kept some collections from answering, or from answering as they were asked. */
export function drawTrouble({ failed, searched, asked }) {
  const others = searched.filter((it) => it.mode !== asked.mode).map((it) => it.name);
  return [
    failed.map((it) => problemBox({ title: `${it.name} did not answer`, detail: it.why })),
    asked.mode === "hybrid" &&
      others.length > 0 &&
      h("p", { class: "quiet small" }, `${others.join(", ")}: by meaning alone, since there are no vectors of words`),
  ];
}

/** In the place of hits, where there are none; `clear` asks without filters. */
export function drawNone(state, clear) {
  const limited = filterCount(state) > 0 || state.collections.length > 0;
  return h(
    "div",
    { class: "empty" },
    h(
      "p",
      {},
      limited
        ? "Nothing fits all that is asked."
        : "Nothing fits. Other words may; a search by meaning finds what is said differently.",
    ),
    limited && h("button", { class: "button", type: "button", onclick: clear }, "Search without filters"),
  );
}

/** The way to the pages before and behind. */
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

/** By what is searched, as one of three. */
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

/** Which collections are searched. */
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

/** What to do on a server that shows nothing yet. */
function drawEmpty(isSetUpNeeded) {
  const empty = (...parts) => h("div", { class: "empty" }, parts);
  if (isSetUpNeeded)
    return empty(
      h("p", {}, "This server has just been set up, and has no administrator yet."),
      h(
        "p",
        {},
        "Open the link that ",
        h("code", {}, "semantik serve"),
        " has printed when it was started, or go there with the token that it wrote to a file.",
      ),
      h("a", { class: "button primary", href: "/setup" }, "Make the first administrator"),
    );
  if (api.who())
    return empty(
      h("p", {}, "No collection is here for you yet."),
      h("p", {}, "A collection is made by a pipeline file. Its owner, or an administrator, lets others in."),
    );
  return empty(
    h("p", {}, "No collection is open to everybody. Log in to see yours."),
    h("a", { class: "button primary", href: "/login" }, "Log in to search"),
  );
}

/** What there is, before anything is asked. */
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
        "Nothing is indexed yet. Open a collection and press “Update”, or run ",
        h("code", {}, "semantik run"),
        " with its pipeline file.",
      ),
  ];
}
