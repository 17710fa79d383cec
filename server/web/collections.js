// The collections that the account may read: status and size.

import { h, put, figures, meter, viewOf } from "./dom.js";
import * as api from "./api.js";
import { ago, bytes, count, counted, moment } from "./format.js";
import { follow, isOver, pill } from "./operations.js";
import { farOf, shareOf } from "./flow.js";

const STATES = { pending: "empty", ready: "ready", processing: "working", error: "failed", degraded: "degraded" };

/** The status of a collection as one word. */
export const statePill = (collection) =>
  pill(
    collection.is_being_deleted ? "degraded" : collection.status,
    collection.is_being_deleted ? "being deleted" : (STATES[collection.status] ?? collection.status),
  );

/** The last component of the path of a model. */
export const modelOf = (model) => (model ?? "").split("/").filter(Boolean).pop() || "–";

/** All items of a paginated list, up to a limit above any realistic size. */
export async function all(path, signal) {
  const items = [];
  let cursor;
  do {
    const page = await api.get(path, { limit: 200, cursor }, signal);
    items.push(...page.items);
    cursor = page.next;
  } while (cursor && items.length < 2000);
  return items;
}

export async function show({ signal }) {
  const list = h("div", { class: "cards" });
  const running = new Map();
  let collections = await all("/collections", signal);
  const draw = () =>
    put(
      list,
      collections.length
        ? collections.map((it) => card(it, running.get(it.id)))
        : h(
            "p",
            { class: "empty" },
            api.who()
              ? "You have no access to a collection yet. The first run of a pipeline file creates one."
              : "There are no public collections. Log in to see yours.",
          ),
    );
  draw();
  follow(signal, async (operation) => {
    if (isOver(operation)) {
      running.delete(operation.collection_id);
      collections = await all("/collections", signal).catch(() => collections);
    } else running.set(operation.collection_id, operation);
    draw();
  });
  return {
    title: "Collections",
    element: viewOf({ title: "Collections", words: counted(collections.length, "collection") }, list),
  };
}

function card(collection, operation) {
  const progress = operation?.progress;
  return h(
    "article",
    { class: "card" },
    h(
      "div",
      { class: "head-row" },
      h("h2", {}, h("a", { href: `/collections/${collection.id}` }, collection.name)),
      statePill(collection),
    ),
    collection.description && h("p", {}, collection.description),
    progress &&
      h(
        "p",
        { class: "quiet" },
        shareOf(progress) !== undefined && [meter(shareOf(progress)), " "],
        farOf(progress, count),
      ),
    collection.status_message &&
      collection.status !== "ready" &&
      h("p", { class: "bad small" }, collection.status_message),
    figures(
      [
        ["Documents", count(collection.document_count)],
        ["Chunks", count(collection.chunk_count)],
        ["Size", bytes(collection.size_bytes)],
      ],
      { small: true },
    ),
    h(
      "p",
      { class: "meta" },
      h("span", {}, modelOf(collection.model)),
      h("span", {}, collection.owner),
      collection.is_public && h("span", {}, "public"),
      !collection.is_served &&
        h("span", { title: "This server has the metadata of the collection but cannot search it" }, "not served here"),
      h("span", { title: moment(collection.updated_at) }, `changed ${ago(collection.updated_at)}`),
    ),
  );
}
