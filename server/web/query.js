// Conversion between the address, the API request, the API response and the displayed hits. Pure
// functions; no other file knows the JSON of `/search`.

import { marksOf } from "./passage.js";

/** Hits per page. */
export const PAGE = 20;

export const MODES = [
  ["hybrid", "Hybrid", "By meaning and by words, both rankings fused"],
  ["dense", "Meaning", "By similarity of meaning (dense vectors)"],
  ["sparse", "Words", "By the words themselves (BM25)"],
];

/** Facets: address key, label, API field. */
export const FACETS = [
  ["type", "Type", "mime_type"],
  ["lang", "Language", "language"],
  ["source", "Source", "source"],
];

export const DATES = [
  ["", "Any time"],
  ["7", "Past week"],
  ["31", "Past month"],
  ["366", "Past year"],
  ["range", "Between …"],
];

/** The state without filters. */
export const NO_FILTERS = { facets: Object.fromEntries(FACETS.map(([key]) => [key, []])), date: "", from: "", to: "" };

/** The search of an address. */
export function fromUrl(url) {
  const all = url.searchParams;
  const mode = all.get("mode");
  const [document, chunk] = (all.get("open") ?? "").split(":");
  return {
    q: all.get("q") ?? "",
    mode: MODES.some(([name]) => name === mode) ? mode : "hybrid",
    collections: all.getAll("in"),
    facets: Object.fromEntries(FACETS.map(([key]) => [key, all.getAll(key)])),
    date: DATES.some(([value]) => value === all.get("date")) ? all.get("date") : "",
    from: all.get("from") ?? "",
    to: all.get("to") ?? "",
    typos: all.get("typos") !== "0",
    page: Math.max(1, Math.min(50, Number(all.get("page")) || 1)),
    open: document ? { document, chunk: Number(chunk) || 0 } : null,
  };
}

/** The address of a search; the only place that trims the query. */
export function toUrl(state) {
  const all = new URLSearchParams();
  if (state.q.trim()) all.set("q", state.q.trim());
  if (state.mode !== "hybrid") all.set("mode", state.mode);
  state.collections.forEach((id) => all.append("in", id));
  FACETS.forEach(([key]) => state.facets[key].forEach((value) => all.append(key, value)));
  if (state.date) all.set("date", state.date);
  if (state.date === "range") {
    if (state.from) all.set("from", state.from);
    if (state.to) all.set("to", state.to);
  }
  if (state.typos === false) all.set("typos", "0");
  if (state.page > 1) all.set("page", state.page);
  if (state.open) all.set("open", `${state.open.document}:${state.open.chunk}`);
  const search = all.toString();
  return search ? `/?${search}` : "/";
}

/** `true` if two states have the same hits. */
export const asksTheSame = (a, b) => toUrl({ ...a, open: null }) === toUrl({ ...b, open: null });

/** The number of active filters. */
export const filterCount = (state) =>
  FACETS.reduce((sum, [key]) => sum + state.facets[key].length, 0) + (state.date ? 1 : 0);

/** The filter in the syntax of the API. */
function filterOf(state, now = new Date()) {
  const filter = {};
  for (const [key, , field] of FACETS) {
    const values = state.facets[key];
    if (values.length) filter[field] = values;
  }
  const modified = {};
  if (state.date === "range") {
    if (state.from) modified.gte = state.from;
    // The end date is inclusive.
    if (state.to) modified.lt = dayOf(new Date(Date.parse(`${state.to}T00:00:00Z`) + DAY));
  } else if (state.date) {
    // Rounded to a day so that equal queries hit the caches of the server for a while.
    modified.gte = dayOf(new Date(now.getTime() - Number(state.date) * DAY));
  }
  if (Object.keys(modified).length) filter.modified_at = modified;
  return Object.keys(filter).length ? filter : undefined;
}

/** A time in milliseconds. */
const DAY = 86_400_000;
const dayOf = (instant) => instant.toISOString().slice(0, 10);

/** The body of `POST /search`. */
export function toRequest(state) {
  return {
    query: state.q,
    mode: state.mode,
    collections: state.collections.length ? state.collections : undefined,
    filter: filterOf(state),
    k: PAGE,
    offset: (state.page - 1) * PAGE,
    highlight: true,
    typos: state.typos === false ? false : undefined,
    merge_adjacent: true,
  };
}

/** The body of `POST /search/facets` for the same query. */
export function toFacetRequest(state) {
  const { query, mode, collections, filter, typos } = toRequest(state);
  return { query, mode, collections, filter, typos };
}

const REASONS = {
  not_served: "This server does not serve the collection.",
  no_sparse_vectors: "It has no sparse vectors; search it by meaning.",
  no_reranker: "It has no model for reranking.",
  failing: "Its vectors or its model are currently unavailable.",
};

/** A search response in the form that the page displays. */
export function fromAnswer(answer) {
  return {
    hits: (answer.hits ?? []).map(fromHit),
    more: Boolean(answer.next),
    failed: (answer.failed ?? []).map((it) => ({ name: it.name, why: REASONS[it.reason] ?? it.reason })),
    searched: answer.searched ?? [],
    corrections: answer.corrections ?? [],
    nothingNear: Boolean(answer.nothing_near),
    timings: {
      total: answer.timings.total_ms / 1000,
      embed: answer.timings.embed_ms / 1000,
      store: answer.timings.store_ms / 1000,
      rerank: answer.timings.rerank_ms / 1000,
    },
  };
}

function fromHit(hit) {
  const chunks = hit.chunks ?? [hit.chunk_index];
  return {
    // Adjacent chunks are one hit.
    chunks,
    ids: chunks.map((chunk) => `${hit.document}:${chunk}`),
    id: `${hit.document}:${hit.chunk_index}`,
    collection: hit.collection,
    collectionName: hit.collection_name,
    document: hit.document,
    chunk: hit.chunk_index,
    title: hit.title,
    path: hit.uri,
    headings: hit.headings,
    page: hit.page,
    mime: hit.mime_type,
    language: hit.language,
    modified: hit.modified_at,
    start: hit.start,
    end: hit.end,
    text: hit.text,
    marks: marksOf(hit.text, hit.highlights),
    score: hit.score,
    similarity: hit.similarity,
  };
}
