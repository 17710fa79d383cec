// The list of operations, newest first, updated by server events. Also the parts of an operation
// that other views show.

import { h, put, meter, moreButton, problemBox, table, viewOf } from "./dom.js";
import * as api from "./api.js";
import { ago, counted, duration, moment, percent, short } from "./format.js";
import { farOf, shareOf } from "./flow.js";

const TYPES = {
  index: "First indexing",
  append: "Update",
  reindex: "Rebuild",
  remove_source: "Removal of a source",
  delete: "Deletion",
};

/** The type of an operation as text. */
export function whatOf(operation) {
  if (operation.config?.documents || operation.config?.document_ids)
    return operation.type === "append" ? "Restoration of documents" : "Deletion of documents";
  return TYPES[operation.type] ?? operation.type;
}

export const isOver = (operation) => ["completed", "failed", "cancelled"].includes(operation.status);

const STATES = {
  pending: "waiting",
  processing: "running",
  completed: "completed",
  failed: "failed",
  cancelled: "cancelled",
};

/** A status as a pill. */
export const pill = (status, words = STATES[status] ?? status) => h("span", { class: `pill ${status}` }, words);

/** Duration of an operation so far, in seconds. */
export function lasted(operation) {
  if (!operation.started_at) return undefined;
  return (new Date(operation.completed_at ?? Date.now()) - new Date(operation.started_at)) / 1000;
}

/** The result of an operation in one line. */
export function gist(operation) {
  const report = operation.report;
  if (operation.error) return operation.error;
  if (report?.documents) {
    const { stored, set_aside: aside, unchanged, duplicate } = report.documents;
    const parts = [
      stored && `${counted(stored, "document")} stored`,
      unchanged && `${short(unchanged)} unchanged`,
      duplicate && `${short(duplicate)} duplicate`,
      aside && `${short(aside)} set aside`,
      report.deleted && `${short(report.deleted)} deleted`,
    ].filter(Boolean);
    return parts.join(" · ") || "no changes";
  }
  const progress = operation.progress;
  if (progress && !isOver(operation)) return farOf(progress, short);
  return "";
}

/** A row in a list of operations. */
export function row(operation, { collection = true } = {}) {
  const share = operation.status === "processing" ? shareOf(operation.progress) : undefined;
  return h(
    "tr",
    {},
    h("td", {}, pill(operation.status)),
    h(
      "th",
      { scope: "row" },
      h("a", { href: `/operations/${operation.id}` }, whatOf(operation)),
      collection && h("span", { class: "quiet" }, ` · ${operation.collection}`),
    ),
    h(
      "td",
      { class: operation.error ? "gist bad" : "gist" },
      share !== undefined && meter(share, percent(share)),
      gist(operation),
    ),
    h("td", { class: "number" }, duration(lasted(operation))),
    h("td", { class: "quiet", title: moment(operation.created_at) }, `${ago(operation.created_at)} by ${operation.by}`),
  );
}

/** A table of operations. */
export function operationTable(operations, options) {
  return table(
    "Operations",
    ["State", "Operation", "Result", ["Duration", "number"], "Requested"],
    operations.map((it) => row(it, options)),
  );
}

/** A list that loads by cursor and follows events. `path` is the API path of the list. */
export class OperationList {
  constructor(path, signal, options) {
    Object.assign(this, { path, signal, options, items: [], next: undefined });
    this.element = h("div", { class: "list" });
  }

  async load() {
    const page = await api.get(this.path, { limit: 25, cursor: this.next }, this.signal);
    this.items.push(...page.items);
    this.next = page.next;
    this.draw();
  }

  /** Updates or adds an operation. */
  take(operation) {
    const at = this.items.findIndex((it) => it.id === operation.id);
    if (at >= 0) this.items[at] = operation;
    else this.items.unshift(operation);
    this.draw();
  }

  draw() {
    const focused = this.element.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    put(
      this.element,
      this.items.length
        ? operationTable(this.items, this.options)
        : h("p", { class: "empty" }, "No operations yet."),
      this.next &&
        moreButton("Earlier operations", () => this.load().catch((error) => this.element.append(problemBox(error)))),
    );
    if (focused) this.element.querySelector(`a[href="${CSS.escape(focused)}"], a[href="${focused}"]`)?.focus();
  }
}

/** Passes each operation that changes to `take` until the view is left. */
export async function follow(signal, take) {
  try {
    for await (const { event, data } of api.events("/operations/events", signal)) {
      if (event === "operation") take(data);
    }
  } catch (error) {
    // Accounts without access to events still see the list.
    if (!api.isAborted(error) && !(error instanceof api.Problem)) throw error;
  }
}

export async function show({ signal }) {
  const list = new OperationList("/operations", signal);
  await list.load();
  follow(signal, (operation) => list.take(operation));
  return {
    title: "Operations",
    element: viewOf(
      { title: "Operations", words: "Operations on all collections, newest first." },
      list.element,
    ),
  };
}
