// The API keys of the logged-in account: created, shown once and revoked.

import { h, put, icon, confirm, dialog, problemBox, table, toast, viewOf } from "./dom.js";
import * as api from "./api.js";
import { all } from "./collections.js";
import { ago, day, moment } from "./format.js";
import { pill } from "./operations.js";

const SCOPES = [
  ["search", "Search", "Search what you may read"],
  ["read", "Read", "View everything that you may read"],
  ["write", "Write", "Start operations, change the content of collections"],
  ["admin", "Administer", "Everything that you may do, except managing keys and passwords"],
];
const LIVES = [
  ["30", "30 days"],
  ["90", "90 days"],
  ["365", "A year"],
  ["", "No expiry"],
];

export async function show({ signal }) {
  const list = h("div");
  const make = async () => {
    if (await create()) await load();
  };
  const element = viewOf(
    {
      title: "API keys",
      words: [
        "A program sends its key as ",
        h("code", {}, "Authorization: Bearer smk_…"),
        " and acts for you, within the scope of the key.",
      ],
      actions: h("button", { class: "button primary", type: "button", onclick: make }, icon("plus", 15), "New key"),
    },
    list,
  );
  async function load() {
    const keys = await all("/keys", signal);
    keys.sort((a, b) => Number(b.is_active) - Number(a.is_active) || b.created_at.localeCompare(a.created_at));
    put(list, keys.length ? keyTable(keys, load) : h("p", { class: "empty" }, "You have no keys."));
  }
  await load();
  return { title: "API keys", element };
}

function stateOf(key) {
  if (!key.is_active) return ["cancelled", "revoked"];
  if (key.expires_at && new Date(key.expires_at) < new Date()) return ["cancelled", "expired"];
  return ["completed", "good"];
}

function keyTable(keys, reload) {
  return table(
    "Keys",
    ["Name", "State", "Begins with", "Scope", "Last used", "Expires", ["Actions", "unseen"]],
    keys.map((it) =>
      h(
        "tr",
        { class: it.is_active ? "" : "past" },
        h("th", { scope: "row" }, it.name),
        h("td", {}, pill(...stateOf(it))),
        h("td", {}, h("code", {}, it.prefix)),
        h("td", {}, it.scopes.join(", ")),
        h("td", { class: "quiet", title: moment(it.last_used_at) }, it.last_used_at ? ago(it.last_used_at) : "never"),
        h("td", { class: "quiet" }, it.expires_at ? day(it.expires_at) : "never"),
        h(
          "td",
          { class: "end" },
          it.is_active &&
            h(
              "button",
              {
                class: "button small",
                type: "button",
                "aria-label": `Revoke ${it.name}`,
                onclick: () => revoke(it, reload),
              },
              "Revoke",
            ),
        ),
      ),
    ),
  );
}

async function revoke(key, reload) {
  if (
    !(await confirm({
      title: `Revoke “${key.name}”?`,
      words: "Requests with this key are rejected from now on. This cannot be undone.",
      action: "Revoke key",
    }))
  )
    return;
  try {
    await api.del(`/keys/${key.id}`);
    toast("Key revoked");
    await reload();
  } catch (problem) {
    toast(problem.message, "problem");
  }
}

function create() {
  return dialog(
    "New key",
    (close) => {
      const name = h("input", {
        type: "text",
        required: true,
        maxlength: 100,
        autofocus: true,
        autocomplete: "off",
        name: "name",
      });
      const life = h(
        "select",
        { name: "life" },
        LIVES.map(([value, words]) => h("option", { value, selected: value === "90" }, words)),
      );
      const trouble = h("div");
      const form = h(
        "form",
        { method: "dialog" },
        h("label", { class: "field" }, h("span", {}, "Purpose"), name),
        h(
          "fieldset",
          { class: "scopes" },
          h("legend", {}, "Scope"),
          SCOPES.map(([value, words, why], i) =>
            h(
              "label",
              {},
              h("input", { type: "radio", name: "scope", value, checked: i === 0 }),
              h("span", {}, h("strong", {}, words), h("span", { class: "quiet" }, why)),
            ),
          ),
        ),
        h("label", { class: "field" }, h("span", {}, "Valid for"), life),
        trouble,
        h(
          "div",
          { class: "actions" },
          h("button", { class: "button", type: "button", onclick: () => close(false) }, "Cancel"),
          h("button", { class: "button primary" }, "Create key"),
        ),
      );
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        put(trouble);
        const days = Number(life.value);
        const scope = new FormData(form).get("scope");
        const expires = days ? new Date(Date.now() + days * 86_400_000).toISOString() : null;
        try {
          const key = await api.post("/keys", { name: name.value.trim(), scopes: [scope], expires_at: expires });
          put(form, shown(key, close));
          form.querySelector("button")?.focus();
        } catch (error) {
          put(trouble, problemBox(error));
        }
      });
      return form;
    },
    { wide: true },
  );
}

/** Shows the key itself, once. */
function shown(key, close) {
  const field = h("input", {
    type: "text",
    readonly: true,
    class: "secret",
    id: "key-secret",
    "aria-label": "The key",
    value: key.secret,
    onfocus: (event) => event.currentTarget.select(),
  });
  const copy = h(
    "button",
    {
      class: "button",
      type: "button",
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(key.secret);
          put(copy, icon("check", 15), "Copied");
        } catch {
          field.focus();
        }
      },
    },
    icon("copy", 15),
    "Copy",
  );
  return [
    h("p", {}, h("strong", {}, "The key is shown only once."), " The server stores only its hash."),
    h("div", { class: "secret-row" }, field, copy),
    h(
      "div",
      { class: "actions" },
      h("button", { class: "button primary", type: "button", onclick: () => close(true) }, "Done"),
    ),
  ];
}
