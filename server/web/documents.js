// The documents of a collection by outcome, sorted, and filtered by name and by reject reason; and
// a form that explains the state of any path. The address holds the state of the list.

import { h, put, moreButton, problemBox, skeleton, table } from "./dom.js";
import * as api from "./api.js";
import { ago, bytes, count, counted, kindOf, moment, pathOf } from "./format.js";
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
  processing: "in progress",
};
const REASONS = {
  failed: "could not be read",
  empty: "without text",
  unsupported: "unsupported type",
  too_large: "too large",
  unrouted: "no matching branch",
  withheld: "withheld",
};

/** Sort orders: API key, direction, label. */
const ORDERS = [
  ["name", "asc", "Name, A to Z"],
  ["name", "desc", "Name, Z to A"],
  ["updated", "desc", "Last changed first"],
  ["updated", "asc", "Least recently changed first"],
  ["size", "desc", "Largest first"],
  ["size", "asc", "Smallest first"],
  ["status", "asc", "State"],
  ["status", "desc", "State, descending"],
];

/** Initial direction of a column. */
const FIRST = { name: "asc", status: "asc", size: "desc", updated: "desc" };

/** Milliseconds without a key press before the typed text is searched. */
const PAUSE = 150;
/** Documents per page. */
const PAGE = 50;
/** Messages shown per reason. */
const MESSAGES = 8;

/** The outcome of a document as a pill. */
export const documentPill = (status) => pill(status, WORDS[status] ?? status);

/** The state of the list from an address. */
function fromUrl(url) {
  const all = url.searchParams;
  const sort = all.get("sort");
  const isKnown = ORDERS.some(([key]) => key === sort);
  const order = all.get("order");
  return {
    status: STATES.some(([value]) => value === all.get("status")) ? all.get("status") : "",
    reason: all.get("reason") ?? "",
    q: all.get("q") ?? "",
    sort: isKnown ? sort : "name",
    order: ["asc", "desc"].includes(order) ? order : FIRST[isKnown ? sort : "name"],
  };
}

export class DocumentList {
  constructor(collection, { signal, go }) {
    Object.assign(this, { collection, signal, go });
    this.path = `/collections/${collection.id}`;
    this.turn = 0;
    this.states = h("nav", { class: "segments", "aria-label": "Documents by state" });
    this.reasons = h("div", { class: "reasons" });
    this.rows = h("div", { id: "documents" });
    this.filter = h("input", {
      type: "search",
      placeholder: "Part of a name or title",
      "aria-label": "Part of a path, a title or a message",
      "aria-controls": "documents",
      autocomplete: "off",
      spellcheck: "false",
      maxlength: 200,
      oninput: () => {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.narrow(), PAUSE);
      },
    });
    this.order = h(
      "select",
      {
        "aria-label": "Order",
        onchange: () => {
          const [sort, order] = this.order.value.split(" ");
          this.ask({ sort, order });
        },
      },
      ORDERS.map(([sort, order, words]) => h("option", { value: `${sort} ${order}` }, words)),
    );
    this.element = h(
      "div",
      { class: "list" },
      h("div", { class: "list-head" }, this.states, this.drawWhy()),
      h(
        "form",
        {
          class: "inline narrow-form",
          role: "search",
          onsubmit: (event) => {
            event.preventDefault();
            clearTimeout(this.timer);
            this.narrow();
          },
        },
        this.filter,
        this.order,
      ),
      this.reasons,
      this.rows,
    );
  }

  drawWhy() {
    const asked = h("input", {
      type: "text",
      placeholder: "A path or an id",
      "aria-label": "Path or id of a document",
      autocomplete: "off",
      spellcheck: "false",
    });
    return h(
      "form",
      {
        class: "inline why-form",
        onsubmit: (event) => {
          event.preventDefault();
          const named = asked.value.trim();
          if (named) this.go(`${this.path}/documents/${encodeURIComponent(named)}`);
        },
      },
      asked,
      h("button", { class: "button small" }, "Why?"),
    );
  }

  /** Shows the list of the address. */
  async update(url) {
    this.state = fromUrl(url);
    if (this.filter.value.trim() !== this.state.q) this.filter.value = this.state.q;
    this.order.value = `${this.state.sort} ${this.state.order}`;
    this.drawStates();
    await Promise.all([this.reload(), this.counts ? null : this.loadCounts()]);
  }

  /** Reloads the list. */
  async reload() {
    const mine = ++this.turn;
    this.request?.abort();
    this.request = new AbortController();
    this.signal.addEventListener("abort", () => this.request.abort(), { once: true });
    Object.assign(this, { items: [], next: undefined });
    try {
      await this.load(mine);
    } catch (error) {
      if (mine !== this.turn || api.isAborted(error)) return;
      put(
        this.rows,
        problemBox(error, () => this.reload()),
      );
    }
    if (this.counts) this.loadCounts();
  }

  /** Loads another page. With a text filter it may take several requests. */
  async load(mine = this.turn) {
    const before = this.items.length;
    const { status, reason, q, sort, order } = this.state;
    do {
      const page = await api.get(
        `${this.path}/documents`,
        { status: reason ? "failed" : status, reason, q, sort, order, limit: PAGE, cursor: this.next },
        this.request.signal,
      );
      if (mine !== this.turn) return;
      this.items.push(...page.items);
      this.next = page.next;
      if (this.next && this.items.length === before) put(this.rows, skeleton(3));
    } while (this.next && q && this.items.length - before < PAGE);
    this.draw();
  }

  async loadCounts() {
    try {
      this.counts = await api.get(`${this.path}/documents/counts`, {}, this.signal);
      this.drawStates();
    } catch (error) {
      // The list is useful without the counts.
      if (!api.isAborted(error) && !(error instanceof api.Problem)) throw error;
    }
  }

  addressOf(change) {
    const all = new URLSearchParams({ tab: "documents" });
    const state = { ...this.state, ...change };
    for (const key of ["status", "reason", "q"]) if (state[key]) all.set(key, state[key]);
    if (state.sort !== "name" || state.order !== "asc") {
      all.set("sort", state.sort);
      all.set("order", state.order);
    }
    return `${this.path}?${all}`;
  }

  ask(change) {
    return this.go(this.addressOf(change));
  }

  /** Consecutive key presses share one history entry. */
  narrow() {
    const q = this.filter.value.trim();
    if (q === this.state.q) return;
    const replace = Boolean(this.state.q);
    this.go(this.addressOf({ q }), { replace });
  }

  numberOf(status) {
    const { counts } = this;
    if (!counts) return undefined;
    if (status === "pending") return counts.pending + counts.processing;
    return status ? counts[status] : STATES.reduce((sum, [it]) => sum + (it ? this.numberOf(it) : 0), 0);
  }

  drawStates() {
    const { status, reason } = this.state;
    const focused = [...this.states.children].indexOf(document.activeElement);
    put(
      this.states,
      STATES.map(([value, words]) => {
        const number = this.numberOf(value);
        return h(
          "a",
          {
            href: this.addressOf({ status: value, reason: "" }),
            "aria-current": value === (reason ? "failed" : status) ? "true" : undefined,
          },
          words,
          number !== undefined && h("span", { class: "quiet number" }, ` ${count(number)}`),
        );
      }),
    );
    this.states.children[focused]?.focus();
    this.drawReasons();
  }

  drawReasons() {
    const { status, reason, q } = this.state;
    const reasons = this.counts?.reasons ?? [];
    if ((status !== "failed" && !reason) || !reasons.length) {
      put(this.reasons);
      return;
    }
    const chosen = reasons.find((it) => it.reason === reason);
    const messages = chosen ? chosen.messages.filter((it) => it.message) : [];
    put(
      this.reasons,
      h(
        "ul",
        { class: "reason-list", "aria-label": "Documents that were set aside, by reason" },
        [{ reason: "", count: this.numberOf("failed") }, ...reasons].map((it) =>
          h(
            "li",
            {},
            h(
              "a",
              {
                class: "button small",
                href: this.addressOf({ status: "failed", reason: it.reason, q: "" }),
                "aria-current": it.reason === reason ? "true" : undefined,
              },
              it.reason ? (REASONS[it.reason] ?? it.reason) : "All reasons",
              h("span", { class: "quiet number" }, count(it.count)),
            ),
          ),
        ),
      ),
      messages.length > 1 &&
        h(
          "ul",
          { class: "message-list" },
          messages.slice(0, MESSAGES).map((it) =>
            h(
              "li",
              {},
              h("span", { class: "quiet number" }, `${count(it.count)} × `),
              h(
                "a",
                {
                  href: this.addressOf({ q: it.message === q ? "" : it.message }),
                  "aria-current": it.message === q ? "true" : undefined,
                },
                it.message,
              ),
            ),
          ),
        ),
    );
  }

  /** A column head; selecting it sorts by the column, and selecting it again reverses the order. */
  head(words, sort, kind) {
    const isIt = this.state.sort === sort;
    const other = this.state.order === "asc" ? "desc" : "asc";
    const link = h(
      "a",
      { class: "sorter", href: this.addressOf({ sort, order: isIt ? other : FIRST[sort] }), data: { sort } },
      words,
      isIt && h("span", { "aria-hidden": "true" }, this.state.order === "asc" ? " ↑" : " ↓"),
    );
    // In the block layout the heads are hidden; the order is selected above the rows there.
    const content = [link, h("span", { class: "head-words" }, words)];
    return [words, kind, content, isIt ? (this.state.order === "asc" ? "ascending" : "descending") : undefined];
  }

  draw() {
    const { status, reason, q } = this.state;
    if (!this.items.length) {
      const words = q
        ? `No name, title or message contains “${q}”.`
        : status || reason
          ? "No documents in this state."
          : "No documents are stored yet.";
      put(this.rows, h("p", { class: "empty", role: "status" }, words));
      return;
    }
    const sorted = this.rows.contains(document.activeElement) && document.activeElement.dataset.sort;
    put(
      this.rows,
      table(
        "Documents",
        [
          this.head("Name", "name"),
          this.head("State", "status"),
          "Kind",
          ["Chunks", "number"],
          this.head("Size", "size", "number"),
          this.head("Changed", "updated"),
        ],
        this.items.map((it) => this.row(it)),
      ),
      this.next &&
        moreButton("More", () => this.load().catch((error) => this.rows.append(problemBox(error)))),
    );
    if (sorted) this.rows.querySelector(`[data-sort=${sorted}]`)?.focus();
  }

  row(it) {
    return h(
      "tr",
      {},
      h(
        "th",
        { scope: "row" },
        h("a", { href: `${this.path}/documents/${it.id}` }, it.name),
        // The title of a text without headings is its file name.
        it.title && it.title !== it.name && !it.name.startsWith(`${it.title}.`) && h("span", { class: "document-title" }, it.title),
        h("span", { class: "path", title: pathOf(it.path) }, pathOf(it.path)),
        it.message && h("span", { class: "bad small" }, `it ${it.message}`),
      ),
      h("td", {}, documentPill(it.status)),
      h("td", { class: "kind" }, kindOf(it.mime_type)),
      h("td", { class: "number", title: counted(it.chunk_count, "chunk") }, count(it.chunk_count)),
      h("td", { class: "number" }, bytes(it.size_bytes)),
      h("td", { class: "quiet", title: moment(it.updated_at) }, ago(it.updated_at)),
    );
  }
}
