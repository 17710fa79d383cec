// A passage in the context of its document: adjacent chunks, headings and a link to the whole
// document. The overlap of chunks is shown once.

import { h, put, icon, problemBox, skeleton, toast } from "./dom.js";
import * as api from "./api.js";
import { counted, day, kindOf, languageOf, nameOf, pathOf } from "./format.js";
import { drawText } from "./passage.js";

/** Adjacent chunks before and after the passage at first, and chunks added by each request. */
const AROUND = 2;
const MORE = 5;

export class Preview {
  constructor({ signal, close, find }) {
    this.signal = signal;
    this.find = find;
    this.close = close;
    this.turn = 0;
    this.element = h("section", { class: "preview", "aria-label": "Chunk in its document", hidden: true });
  }

  hide() {
    this.turn++;
    this.shown = null;
    this.element.hidden = true;
    put(this.element);
  }

  /** Opens a passage; `answer` is the search result that contains it, if any. */
  async open(open, answer) {
    const id = `${open.document}:${open.chunk}`;
    if (this.shown === id) return;
    this.shown = id;
    const mine = ++this.turn;
    const hit = this.find(id);
    this.element.hidden = false;
    this.hit = hit;
    this.open_ = open;
    if (!hit) {
      put(
        this.element,
        this.drawHead(null),
        answer && h("p", { class: "empty" }, "This chunk is no longer in the hits."),
      );
      return;
    }
    this.from = Math.max(0, Math.min(...hit.chunks) - AROUND);
    this.to = Math.max(...hit.chunks) + AROUND + 1;
    this.body = h(
      "div",
      { class: "preview-body", tabindex: "0", role: "group", "aria-label": "Text" },
      this.drawText([
        { index: hit.chunk, text: hit.text, headings: hit.headings, page: hit.page, start: hit.start, end: hit.end },
      ]),
      skeleton(2),
    );
    put(this.element, this.drawHead(hit), this.body);
    try {
      const chunks = await this.chunks(this.from, this.to);
      if (mine !== this.turn) return;
      this.items = chunks.items;
      this.total = chunks.total;
      this.drawBody();
      this.toPassage();
    } catch (error) {
      if (mine === this.turn && !api.isAborted(error))
        put(
          this.body,
          problemBox(error, () => {
            this.shown = null;
            this.open(open, answer);
          }),
        );
    }
  }

  chunks(from, to) {
    return api.get(
      `/collections/${this.hit.collection}/documents/${this.hit.document}/chunks`,
      { from, limit: to - from },
      this.signal,
    );
  }

  drawHead(hit) {
    const close = h(
      "button",
      {
        class: "ghost square",
        type: "button",
        "aria-label": "Close the chunk",
        title: "Close (Esc)",
        onclick: () => this.close(),
      },
      icon("close"),
    );
    if (!hit) return h("header", {}, h("h2", {}, "Chunk"), close);
    const whole = `/collections/${hit.collection}/documents/${hit.document}`;
    const path = pathOf(hit.path);
    const isWeb = /^https?:/.test(hit.path);
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(path);
        toast("Path copied");
      } catch {
        toast("The browser denied access to the clipboard", "problem");
      }
    };
    return h(
      "header",
      {},
      h("div", { class: "preview-title" }, h("h2", {}, h("a", { href: whole }, hit.title || nameOf(hit.path))), close),
      h(
        "p",
        { class: "where" },
        h("span", { class: "path" }, path),
        isWeb
          ? h(
              "a",
              {
                class: "ghost square",
                href: hit.path,
                target: "_blank",
                rel: "noreferrer noopener",
                "aria-label": "Open the original",
              },
              icon("open", 15),
            )
          : h(
              "button",
              {
                class: "ghost square",
                type: "button",
                "aria-label": "Copy the path",
                title: "Copy the path",
                onclick: copy,
              },
              icon("copy", 15),
            ),
      ),
      h(
        "p",
        { class: "meta" },
        h("span", {}, kindOf(hit.mime)),
        hit.language && h("span", {}, languageOf(hit.language)),
        hit.page && h("span", {}, `page ${hit.page}`),
        hit.modified && h("span", {}, day(hit.modified)),
        h("a", { href: whole }, "Whole document"),
      ),
    );
  }

  drawBody() {
    const first = this.items[0]?.index ?? 0;
    const last = this.items.at(-1)?.index ?? 0;
    const more = (words, from, to, before) =>
      h(
        "button",
        {
          class: "button small more",
          type: "button",
          onclick: (event) => this.extend(event.currentTarget, from, to, before),
        },
        icon(before ? "up" : "down", 14),
        words,
      );
    put(
      this.body,
      first > 0 && more(`${counted(first, "chunk")} before`, Math.max(0, first - MORE), first, true),
      this.drawText(this.items),
      last + 1 < this.total &&
        more(`${counted(this.total - last - 1, "chunk")} after`, last + 1, last + 1 + MORE, false),
    );
  }

  /** Scrolls only the text, so that the passage is in its upper part. */
  toPassage() {
    const focal = this.body.querySelector(".focal");
    if (focal)
      this.body.scrollTop +=
        focal.getBoundingClientRect().top - this.body.getBoundingClientRect().top - this.body.clientHeight / 5;
  }

  async extend(button, from, to, before) {
    button.disabled = true;
    try {
      const { items } = await this.chunks(from, to);
      const tall = this.body.scrollHeight;
      this.items = before ? [...items, ...this.items] : [...this.items, ...items];
      this.drawBody();
      // Keeps the scroll position of the content.
      if (before) this.body.scrollTop += this.body.scrollHeight - tall;
      this.body.focus({ preventScroll: true });
    } catch (error) {
      if (api.isAborted(error)) return;
      button.replaceWith(problemBox(error));
    }
  }

  drawText(items) {
    return drawText(items, { hit: this.hit });
  }
}
