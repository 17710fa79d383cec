// One collection: status, running operations, documents, sources, operations and generations, and
// administration for accounts with the right.

import { h, put, icon, confirm, figures, meter, problemBox, skeleton, table, toast } from "./dom.js";
import * as api from "./api.js";
import { AuditList } from "./audit.js";
import { ago, bytes, count, counted, day, moment, pathOf } from "./format.js";
import { modelOf, statePill } from "./collections.js";
import { DocumentList } from "./documents.js";
import { limits } from "./limits.js";
import { OperationList, follow, gist, isOver, pill, whatOf } from "./operations.js";
import { shareOf } from "./flow.js";
import { settings } from "./settings.js";

const LEVELS = ["read", "write", "admin", "owner"];

/** `true` if the account has the right on the collection. */
export const may = (collection, level) => LEVELS.indexOf(collection.right) >= LEVELS.indexOf(level);

const TABS = [
  ["documents", "Documents", "read"],
  ["sources", "Sources", "read"],
  ["operations", "Operations", "read"],
  ["generations", "Generations", "read"],
  ["limits", "Limits", "read"],
  ["audit", "Audit", "admin"],
  ["settings", "Settings", "admin"],
];

export async function show({ url, parameters, signal, go }) {
  const view = new CollectionView(
    await api.get(`/collections/${encodeURIComponent(parameters.collection)}`, {}, signal),
    { signal, go },
  );
  view.update(url);
  view.follow();
  return view;
}

class CollectionView {
  constructor(collection, { signal, go }) {
    Object.assign(this, { collection, signal, go });
    this.path = `/collections/${collection.id}`;
    this.head = h("header", { class: "page-head" });
    this.running = h("div");
    this.trouble = h("div");
    this.tabs = h("nav", { class: "tabs", "aria-label": "About the collection" });
    this.body = h("section", { class: "tab" });
    this.element = h("div", { class: "page" }, this.head, this.trouble, this.running, this.tabs, this.body);
    // Only administrators of the collection may read its grants.
    this.shared = h("span", {}, may(collection, "admin") ? "…" : "you and others");
    this.drawHead();
    this.countShared();
  }

  get title() {
    return this.collection.name;
  }

  update(url) {
    const wanted = url.searchParams.get("tab");
    const tab = TABS.find(([name, , level]) => name === wanted && may(this.collection, level))?.[0] ?? "documents";
    put(
      this.tabs,
      TABS.filter(([, , level]) => may(this.collection, level)).map(([name, words]) =>
        h("a", { href: `${this.path}?tab=${name}`, "aria-current": name === tab ? "page" : undefined }, words),
      ),
    );
    this.ready();
    if (tab === this.tab) {
      if (tab === "documents") this.documentList?.update(url);
      return;
    }
    this.tab = tab;
    this.drawTab(tab, url);
  }

  /** Scrolls the current tab into view where the tabs are wider than the page. */
  ready() {
    const { offsetLeft: left, offsetWidth: width } = this.tabs.querySelector("[aria-current]");
    this.tabs.scrollLeft = left + width / 2 - this.tabs.offsetLeft - this.tabs.clientWidth / 2;
  }

  async drawTab(tab, url) {
    put(this.body, skeleton(4));
    this.list = null;
    try {
      const element = await this[tab](url);
      if (this.tab === tab) put(this.body, element);
    } catch (error) {
      if (!api.isAborted(error) && this.tab === tab)
        put(
          this.body,
          problemBox(error, () => this.drawTab(tab, url)),
        );
    }
  }

  async documents(url) {
    this.documentList = new DocumentList(this.collection, { signal: this.signal, go: this.go });
    await this.documentList.update(url);
    return this.documentList.element;
  }

  async operations() {
    this.list = new OperationList(`${this.path}/operations`, this.signal, { collection: false });
    await this.list.load();
    return this.list.element;
  }

  async sources() {
    const sources = await api.get(`${this.path}/sources`, {}, this.signal);
    if (!sources.length) return h("p", { class: "empty" }, "No source was read yet.");
    const removable = may(this.collection, "write") && this.collection.is_served;
    return table(
      "Sources",
      ["Source", "Kind", ["Documents", "number"], ["Size", "number"], "Last read", ["Actions", "unseen"]],
      sources.map((it) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, h("span", { class: "path" }, pathOf(it.source))),
          h("td", {}, it.type),
          h("td", { class: "number" }, count(it.document_count)),
          h("td", { class: "number" }, bytes(it.size_bytes)),
          h("td", { class: "quiet", title: moment(it.last_indexed_at) }, ago(it.last_indexed_at)),
          h(
            "td",
            { class: "end" },
            removable &&
              h(
                "button",
                {
                  class: "ghost square",
                  type: "button",
                  "aria-label": `Remove ${it.source}`,
                  title: "Remove",
                  onclick: () => this.removeSource(it),
                },
                icon("trash", 16),
              ),
          ),
        ),
      ),
    );
  }

  async generations() {
    const generations = await api.get(`${this.path}/generations`, {}, this.signal);
    return table(
      "Generations",
      [
        "Generation",
        "State",
        "Model",
        ["Dimensions", "number"],
        "Stored as",
        ["Chunk size / overlap", "number"],
        "Made",
        "Live since",
      ],
      generations.map((it) =>
        h(
          "tr",
          {},
          h("th", { scope: "row", class: "headed" }, it.number),
          h("td", {}, pill(it.status, it.status)),
          h("td", {}, modelOf(it.model)),
          h("td", { class: "number" }, count(it.dim)),
          h("td", {}, it.quantization),
          h("td", { class: "number" }, `${it.chunk_size} / ${it.chunk_overlap}`),
          h("td", { class: "quiet" }, day(it.created_at)),
          h("td", { class: "quiet" }, day(it.live_at)),
        ),
      ),
    );
  }

  limits() {
    return limits(this.path, this.signal);
  }

  async audit() {
    const list = new AuditList(`${this.path}/audit`, this.signal);
    await list.load();
    return list.element;
  }

  settings() {
    return settings(this);
  }

  drawHead() {
    const it = this.collection;
    const works = may(it, "write") && it.is_served && !it.is_being_deleted;
    put(
      this.head,
      h("p", { class: "crumbs" }, h("a", { href: "/collections" }, "Collections")),
      h(
        "div",
        { class: "head-row" },
        h("h1", {}, it.name),
        statePill(it),
        h("span", { class: "space" }),
        h("a", { class: "button", href: `/?in=${it.id}` }, icon("search", 15), "Search this collection"),
        works && h("button", { class: "button", type: "button", onclick: () => this.start("reindex") }, "Rebuild …"),
        works &&
          h(
            "button",
            { class: "button primary", type: "button", onclick: () => this.start("append") },
            icon("play", 15),
            "Update",
          ),
      ),
      it.description && h("p", {}, it.description),
      it.status_message && it.status !== "ready" && h("p", { class: "bad" }, it.status_message),
      !it.is_served &&
        h(
          "p",
          { class: "note" },
          "This server does not serve this collection. To search or update it, start the server with its pipeline file.",
        ),
      figures([
        ["Documents", count(it.document_count)],
        ["Chunks", count(it.chunk_count)],
        ["Size", bytes(it.size_bytes)],
        ["Model", modelOf(it.model)],
        ["Chunk size", it.chunk_size ? counted(it.chunk_size, "token") : "–", it.chunk_overlap > 0 && `overlap ${it.chunk_overlap}`],
        ["Owner", it.owner],
        ["Shared with", it.is_public ? "everyone" : this.shared],
      ]),
    );
  }

  async countShared() {
    if (this.collection.is_public || !may(this.collection, "admin")) return;
    try {
      const grants = await api.get(`${this.path}/grants`, {}, this.signal);
      const keys = grants.filter((it) => it.key).length;
      const accounts = grants.length - keys;
      const words = [accounts && counted(accounts, "account"), keys && counted(keys, "key")].filter(Boolean);
      put(this.shared, words.join(" and ") || "no one");
    } catch (error) {
      if (!api.isAborted(error)) put(this.shared, "–");
    }
  }

  async reload() {
    try {
      this.collection = await api.get(this.path, {}, this.signal);
      this.drawHead();
    } catch (error) {
      if (error.status === 404) {
        put(this.body, h("p", { class: "empty" }, "The collection was deleted."));
        put(this.tabs);
      } else if (!api.isAborted(error)) put(this.trouble, problemBox(error));
    }
  }

  async follow() {
    try {
      const page = await api.get(`${this.path}/operations`, { limit: 1 }, this.signal);
      if (page.items[0] && !isOver(page.items[0])) this.drawRunning(page.items[0]);
    } catch (error) {
      if (!(error instanceof api.Problem) && !api.isAborted(error)) throw error;
    }
    follow(this.signal, (operation) => {
      if (operation.collection_id !== this.collection.id) return;
      const began = operation.status !== this.last;
      this.last = operation.status;
      this.drawRunning(operation);
      this.list?.take(operation);
      if (!began) return;
      this.reload();
      if (!isOver(operation)) return;
      if (this.tab === "documents") this.documentList?.reload();
      else if (["sources", "generations"].includes(this.tab)) this.drawTab(this.tab, new URL(location.href));
    });
  }

  drawRunning(operation) {
    const share = isOver(operation) ? undefined : shareOf(operation.progress);
    const hasFocus = this.running.contains(document.activeElement);
    put(
      this.running,
      h(
        "a",
        { class: `running ${operation.status}`, href: `/operations/${operation.id}` },
        pill(operation.status),
        h("strong", {}, whatOf(operation)),
        share !== undefined && meter(share),
        h("span", { class: "quiet" }, gist(operation)),
        h("span", { class: "space" }),
        icon("right", 14),
      ),
    );
    if (hasFocus) this.running.firstChild.focus();
  }

  async start(type) {
    let wish = { type };
    if (type === "reindex") {
      const sure = await confirm({
        title: `Rebuild ${this.collection.name}?`,
        words:
          "A new generation is built next to the live one, checked, and then replaces it atomically. Searches continue during the rebuild. Texts that the same model has already embedded are not embedded again.",
        action: "Rebuild",
        danger: false,
      });
      if (!sure) return;
    }
    await this.ask(() => api.post(`${this.path}/operations`, wish), true);
  }

  async removeSource(source) {
    const name = this.collection.name;
    const sure = await confirm({
      title: "Remove this source?",
      words: `Documents that only ${pathOf(source.source)} provides are removed. If the pipeline file still names it, the next update adds them again.`,
      action: "Remove source",
      word: name,
    });
    if (sure) await this.ask(() => api.del(`${this.path}/sources/${source.id}`, { confirm: name }));
  }

  /** Requests an operation, and opens it if the caller says so. */
  async ask(send, watch = false) {
    put(this.trouble);
    try {
      const { operation } = await send();
      if (watch) this.go(`/operations/${operation}`);
      else toast("Operation requested");
    } catch (error) {
      if (!api.isAborted(error)) put(this.trouble, problemBox(error));
    }
  }
}
