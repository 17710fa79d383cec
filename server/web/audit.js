// The audit log: accounts and sessions of the server, or one collection. The API returns entries in
// pages, newest first; the text filter runs here, over as many pages as needed.

import { h, put, moreButton, problemBox, table, viewOf } from "./dom.js";
import * as api from "./api.js";
import { all } from "./collections.js";
import { ago, counted, moment } from "./format.js";

const ACTIONS = {
  login: "Login",
  login_failed: "Failed login",
  logout: "Logout",
  user_created: "User created",
  user_changed: "User changed",
  password_changed: "Password changed",
  key_created: "Key created",
  key_revoked: "Key revoked",
  collection_created: "Collection created",
  collection_changed: "Collection changed",
  grant_given: "Access granted",
  grant_taken: "Access revoked",
  limits_changed: "Limits changed",
  documents_deleted: "Documents deleted",
  documents_undeleted: "Documents restored",
  source_removed: "Source removed",
};
const wordsOf = (action) => ACTIONS[action] ?? plain(action);
const plain = (word) => (word.charAt(0).toUpperCase() + word.slice(1)).replaceAll("_", " ");

/**
 * Entries of a page, and of the pages searched for a match before the user is asked to continue.
 */
const PART = 100;
const PATIENCE = 1000;

export async function show({ signal }) {
  const list = new AuditList("/audit", signal);
  await list.load();
  return {
    title: "Audit log",
    element: viewOf(
      {
        title: "Audit log",
        words: "Accounts, sessions and keys, newest first. Changes to a collection are listed on its own page.",
      },
      list.element,
    ),
  };
}

export class AuditList {
  constructor(path, signal) {
    Object.assign(this, { path, signal, items: [], next: undefined, names: new Map() });
    this.text = h("input", {
      type: "text",
      placeholder: "Name, address, program",
      "aria-label": "Only entries with this text",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => this.filter(),
    });
    this.action = h("select", { "aria-label": "Only entries of this kind", onchange: () => this.filter() });
    this.rows = h("div");
    this.element = h(
      "div",
      { class: "list" },
      h("div", { class: "list-head" }, h("div", { class: "inline audit-filter" }, this.action, this.text)),
      this.rows,
    );
  }

  async load() {
    // Grants name accounts by id; a user with access to the accounts sees their names.
    if (!this.items.length && api.who()?.is_superuser) {
      const users = await all("/users", this.signal).catch(() => []);
      this.names = new Map(users.map((it) => [it.id, it.username]));
    }
    await this.part();
    await this.search();
  }

  async part() {
    const page = await api.get(this.path, { limit: PART, cursor: this.next }, this.signal);
    this.items.push(...page.items);
    this.next = page.next;
  }

  /** Loads pages until enough entries match, the log ends or the filter changes. */
  async search() {
    const mine = (this.turn = (this.turn ?? 0) + 1);
    const until = this.items.length + PATIENCE;
    this.draw();
    while (this.isFiltered() && this.next && this.fitting().length < this.wanted && this.items.length < until) {
      await this.part();
      if (mine !== this.turn) return;
      this.draw();
    }
  }

  filter() {
    this.wanted = 25;
    this.attempt(() => this.search());
  }

  more() {
    this.wanted = this.fitting().length + 25;
    this.attempt(async () => {
      await this.part();
      await this.search();
    });
  }

  attempt(load) {
    load().catch((error) => {
      if (!api.isAborted(error)) this.rows.append(problemBox(error));
    });
  }

  isFiltered() {
    return Boolean(this.action.value || this.text.value.trim());
  }

  fitting() {
    const kind = this.action.value;
    const text = this.text.value.trim().toLowerCase();
    return this.items.filter((it) => (!kind || it.action === kind) && (!text || this.said(it).includes(text)));
  }

  /** The text of an entry that the text filter searches. */
  said(entry) {
    const parts = [
      wordsOf(entry.action),
      entry.by,
      entry.subject,
      this.details(entry),
      entry.ip_address,
      entry.user_agent,
    ];
    return parts.filter(Boolean).join("\n").toLowerCase();
  }

  details(entry) {
    return (
      Object.entries(entry.details ?? {})
        // Shown as a link.
        .filter(([key, value]) => value !== null && key !== "operation")
        .map(([key, value]) => `${key.replaceAll("_", " ")}: ${this.names.get(value) ?? inWords(value)}`)
        .join(" · ")
    );
  }

  draw() {
    const kinds = [...new Set(this.items.map((it) => it.action))].sort((a, b) => wordsOf(a).localeCompare(wordsOf(b)));
    const chosen = this.action.value;
    put(
      this.action,
      h("option", { value: "" }, "Everything"),
      kinds.map((it) => h("option", { value: it, selected: it === chosen }, wordsOf(it))),
    );
    const fitting = this.fitting();
    put(
      this.rows,
      this.isFiltered() &&
        h(
          "p",
          { class: "quiet small", role: "status" },
          `${counted(fitting.length, "entry", "entries")} of ${counted(this.items.length, "entry", "entries")} searched`,
        ),
      fitting.length
        ? table(
            "Audit log",
            ["What", "By", "To", "More", "From", "When"],
            fitting.map((it) => this.row(it)),
          )
        : h("p", { class: "empty" }, this.items.length ? "No matching entries." : "No entries yet."),
      this.next && moreButton("Earlier entries", () => this.more()),
    );
  }

  row(entry) {
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, wordsOf(entry.action)),
      h("td", {}, entry.by ?? "–"),
      h("td", {}, entry.subject),
      h(
        "td",
        { class: "gist" },
        this.details(entry),
        entry.operation_id && [" ", h("a", { href: `/operations/${entry.operation_id}` }, "operation")],
      ),
      h(
        "td",
        { class: "quiet from", title: entry.user_agent },
        entry.ip_address,
        entry.user_agent && h("span", { class: "small agent" }, entry.user_agent),
      ),
      h("td", { class: "quiet", title: moment(entry.created_at) }, ago(entry.created_at)),
    );
  }
}

function inWords(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(inWords).join(", ");
  if (typeof value === "object") return JSON.stringify(value);
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value) ? `${value.slice(0, 8)}…` : String(value);
}
