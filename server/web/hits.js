// The list of hits. Each hit is one link, which opens the passage in its document; the rest is
// text.

import { h, meter } from "./dom.js";
import { counted, day, kindOf, nameOf, pathOf, shortPath } from "./format.js";
import { headingPath, snippet } from "./passage.js";
import { toUrl } from "./query.js";

/** The hits of one page. */
export function drawHits(hits, { state, collections }) {
  const several = collections.length > 1;
  return h(
    "ol",
    { start: 1 },
    hits.map((hit) => {
      const open = { document: hit.document, chunk: hit.chunk };
      return h(
        "li",
        { class: "hit", data: { id: hit.id } },
        h(
          "a",
          { class: "hit-link", href: toUrl({ ...state, open }), "aria-expanded": "false" },
          h("h3", {}, hit.title || nameOf(hit.path)),
        ),
        h(
          "p",
          { class: "where", title: pathOf(hit.path) },
          several && hit.collectionName && h("span", { class: "tag" }, hit.collectionName),
          h("span", { class: "path" }, shortPath(hit.path)),
        ),
        hit.headings && h("p", { class: "headings" }, headingPath(hit.headings)),
        h("p", { class: "passage" }, snippet(hit.text, hit.marks)),
        h(
          "p",
          { class: "meta" },
          h("span", {}, kindOf(hit.mime)),
          hit.page && h("span", {}, `page ${hit.page}`),
          hit.chunks.length > 1 && h("span", {}, counted(hit.chunks.length, "chunk")),
          hit.modified && h("span", {}, day(hit.modified)),
          similarity(hit),
        ),
      );
    }),
  );
}

function similarity(hit) {
  if (hit.similarity === undefined || hit.similarity === null) return null;
  return h(
    "span",
    { class: "similarity", title: `Similarity of meaning (cosine) ${hit.similarity.toFixed(3)}` },
    meter(hit.similarity),
    h("span", { class: "number" }, hit.similarity.toFixed(2)),
    h("span", { class: "visually-hidden" }, " similarity"),
  );
}

/** Focuses a hit, if it is in the list. */
export function focusHit(list, id) {
  const hit = [...list.querySelectorAll(".hit")].find((it) => it.dataset.id === id);
  hit?.querySelector("a").focus();
}
