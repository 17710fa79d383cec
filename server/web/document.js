// One document, or a path that is no document: its state and the cause, the effect of the next run,
// ways to change that, its locations, its history and its text.

import { h, put, icon, confirm, moreButton, problemBox, skeleton, toast } from "./dom.js";
import * as api from "./api.js";
import { counted, nameOf, pathOf } from "./format.js";
import { drawText } from "./passage.js";
import { may } from "./collection.js";
import { documentPill } from "./documents.js";
import { isOver } from "./operations.js";
import { drawStory, storyPill } from "./story.js";

const PART = 40;
const isId = (text) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);

export async function show({ parameters, signal }) {
  const base = `/collections/${encodeURIComponent(parameters.collection)}`;
  const asked = decodeURIComponent(parameters.document);
  const collection = await api.get(base, {}, signal);
  const view = new DocumentView({ base, asked, collection, signal });
  await view.load();
  return view;
}

class DocumentView {
  constructor(parts) {
    Object.assign(this, parts);
    this.head = h("header", { class: "page-head" });
    this.trouble = h("div");
    this.story = h("div");
    this.text = h("section", { class: "document-text", "aria-label": "Text" });
    this.element = h("div", { class: "page document" }, this.head, this.trouble, this.story, this.text);
  }

  get title() {
    return this.name;
  }

  async load() {
    let story = null;
    let document = null;
    try {
      for (const named of await this.named()) {
        story = await api.get(`${this.base}/why`, { document: named }, this.signal);
        if (story.state !== "unknown") break;
      }
      document = story.document;
    } catch (error) {
      // A collection that is not served has only its metadata.
      if (error.code !== "not_served" || !isId(this.asked)) throw error;
      const known = await api.get(`${this.base}/documents/${this.asked}`, {}, this.signal);
      document = { ...known, chunks: known.chunk_count, size: known.size_bytes };
    }
    Object.assign(this, { told: story, document });
    const path = story?.uri ?? document?.path ?? this.asked;
    this.name = document?.title || nameOf(path);
    this.drawHead(path);
    put(this.story, drawStory(story, document));
    if (document?.status === "completed" && this.collection.is_served) this.loadText();
  }

  /** Candidate URIs: the given name, or its location in each source if it is a relative path. */
  async named() {
    if (isId(this.asked) || /^\/|:\/\//.test(this.asked)) return [this.asked];
    const sources = await api.get(`${this.base}/sources`, {}, this.signal);
    const below = sources.map((it) => `${it.source.replace(/\/+$/, "")}/${this.asked}`);
    return below.length ? below : [this.asked];
  }

  drawHead(path) {
    const { document, collection, told } = this;
    const changeable = document && may(collection, "write") && collection.is_served;
    const isIn = document?.status === "completed" || document?.status === "failed";
    const isOut = document?.status === "deleted" || told?.state === "withheld";
    put(
      this.head,
      h(
        "p",
        { class: "crumbs" },
        h("a", { href: "/collections" }, "Collections"),
        icon("right", 12),
        h("a", { href: `/collections/${collection.id}` }, collection.name),
      ),
      h(
        "div",
        { class: "head-row" },
        h("h1", {}, this.name),
        told ? storyPill(told.state) : documentPill(document.status),
        h("span", { class: "space" }),
        // Similar documents cannot be found without a text.
        document?.status === "completed" &&
          h(
            "a",
            { class: "button", href: `/?in=${collection.id}&q=${encodeURIComponent(this.name)}` },
            icon("search", 15),
            "Find similar",
          ),
        changeable &&
          isOut &&
          h(
            "button",
            { class: "button", type: "button", onclick: () => this.undelete() },
            icon("undo", 15),
            "Restore",
          ),
        changeable &&
          isIn &&
          h(
            "button",
            { class: "button danger", type: "button", onclick: () => this.remove() },
            icon("trash", 15),
            "Delete",
          ),
      ),
      h("p", { class: "path" }, pathOf(path)),
    );
  }

  async loadText() {
    this.items = [];
    put(this.text, h("h2", {}, "Text"), skeleton(5));
    await this.more();
  }

  async more() {
    try {
      const part = await api.get(
        `${this.base}/documents/${this.document.id}/chunks`,
        { from: (this.items.at(-1)?.index ?? -1) + 1, limit: PART },
        this.signal,
      );
      this.items.push(...part.items);
      const rest = part.total - (this.items.at(-1)?.index ?? -1) - 1;
      put(
        this.text,
        h("h2", {}, "Text"),
        h("p", { class: "quiet" }, "The extracted text, in chunks."),
        drawText(this.items),
        rest > 0 && part.items.length > 0 && moreButton(counted(rest, "more chunk"), () => this.more()),
      );
    } catch (error) {
      if (!api.isAborted(error))
        put(
          this.text,
          h("h2", {}, "Text"),
          problemBox(error, () => this.loadText()),
        );
    }
  }

  async remove() {
    const name = this.collection.name;
    const sure = await confirm({
      title: `Delete “${this.name}”?`,
      words: "It is removed from the index and stays out until its content changes. It can be restored.",
      action: "Delete document",
    });
    if (sure)
      await this.ask(
        () => api.del(`${this.base}/documents/${this.document.id}`, { confirm: name }),
        "Deletion requested",
      );
  }

  undelete() {
    return this.ask(
      () => api.post(`${this.base}/documents/${this.document.id}/undelete`),
      "Restoration requested",
    );
  }

  async ask(send, words) {
    put(this.trouble);
    try {
      const { operation } = await send();
      toast(words);
      put(
        this.trouble,
        h(
          "p",
          { class: "note", role: "status" },
          words,
          ": ",
          h("a", { href: `/operations/${operation}` }, "follow the operation"),
        ),
      );
      this.await(operation);
    } catch (error) {
      put(this.trouble, problemBox(error));
    }
  }

  /** Reloads the state after the operation has ended. */
  async await(operation) {
    try {
      for await (const { event, data } of api.events(`/operations/${operation}/events`, this.signal)) {
        if (event !== "operation" || !isOver(data)) continue;
        put(this.trouble, data.error && problemBox({ title: `The operation ${data.status}`, detail: data.error }));
        put(this.text);
        await this.load();
        return;
      }
    } catch (error) {
      if (!api.isAborted(error)) put(this.trouble, problemBox(error));
    }
  }
}
