// The documents of a collection, by what became of them, and the way to the story of any path: one that is in, one
// that was set aside, or one that no run ever saw.

import { h, put, moreButton, problemBox, table } from "./dom.js";
import * as api from "./api.js";
import { ago, bytes, count, kindOf, moment, nameOf, pathOf } from "./format.js";
import { pill } from "./operations.js";

const STATES = [
  ["", "All"],
  ["completed", "In the index"],
  ["failed", "Set aside"],
  ["deleted", "Deleted"],
  ["pending", "Waiting"],
];
const WORDS = {
  completed: "in the index",
  failed: "set aside",
  deleted: "deleted",
  pending: "waiting",
  processing: "on its way",
};

/** What became of a document, as a word with a dot. */
export const documentPill = (status) => pill(status, WORDS[status] ?? status);

export class DocumentList {
  constructor(collection, { status, signal, go }) {
    Object.assign(this, { collection, status, signal, items: [], next: undefined });
    this.path = `/collections/${collection.id}`;
    this.rows = h("div");
    const asked = h("input", {
      type: "text",
      placeholder: "A path or an id",
      "aria-label": "Path or id of a document",
      autocomplete: "off",
      spellcheck: "false",
    });
    this.element = h(
      "div",
      { class: "list" },
      h(
        "div",
        { class: "list-head" },
        h(
          "nav",
          { class: "segments", "aria-label": "Documents by state" },
          STATES.map(([value, words]) =>
            h(
              "a",
              {
                href: `${this.path}?tab=documents${value && `&status=${value}`}`,
                "aria-current": value === status ? "true" : undefined,
              },
              words,
            ),
          ),
        ),
        h(
          "form",
          {
            class: "inline why-form",
            onsubmit: (event) => {
              event.preventDefault();
              if (asked.value.trim()) go(`${this.path}/documents/${encodeURIComponent(asked.value.trim())}`);
            },
          },
          asked,
          h("button", { class: "button small" }, "Why?"),
        ),
      ),
      this.rows,
    );
  }

  async load() {
    const page = await api.get(
      `${this.path}/documents`,
      { status: this.status, limit: 50, cursor: this.next },
      this.signal,
    );
    this.items.push(...page.items);
    this.next = page.next;
    this.draw();
  }

  draw() {
    if (!this.items.length) {
      put(this.rows, h("p", { class: "empty" }, this.status ? "None is in this state." : "Nothing is stored yet."));
      return;
    }
    put(
      this.rows,
      table(
        "Documents",
        ["Document", "State", "Kind", ["Chunks", "number"], ["Size", "number"], "Changed"],
        this.items.map((it) =>
          h(
            "tr",
            {},
            h(
              "th",
              { scope: "row" },
              h("a", { href: `${this.path}/documents/${it.id}` }, it.title || nameOf(it.path)),
              h("span", { class: "path", title: pathOf(it.path) }, pathOf(it.path)),
              it.message && h("span", { class: "bad small" }, `it ${it.message}`),
            ),
            h("td", {}, documentPill(it.status)),
            h("td", { class: "kind" }, kindOf(it.mime_type)),
            h("td", { class: "number" }, count(it.chunk_count)),
            h("td", { class: "number" }, bytes(it.size_bytes)),
            h("td", { class: "quiet", title: moment(it.updated_at) }, ago(it.updated_at)),
          ),
        ),
      ),
      this.next && moreButton("More", () => this.load().catch((error) => this.rows.append(problemBox(error)))),
    );
  }
}
