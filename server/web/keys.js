// The API keys of whoever is logged in: made here, shown once, revoked here.

import { h, put, icon, confirm, dialog, problemBox, table, toast, viewOf } from "./dom.js";
import * as api from "./api.js";
import { all } from "./collections.js";
import { ago, day, moment } from "./format.js";
import { pill } from "./operations.js";

const SCOPES = [
  ["search", "Search", "Search what you may read"],
  ["read", "Read", "Look at everything that you may read"],
  ["write", "Write", "Start operations, change what is in collections"],
  ["admin", "Administer", "All that you may do, but for what takes a person: keys, passwords"],
];
const LIVES = [
  ["30", "30 days"],
  ["90", "90 days"],
  ["365", "A year"],
  ["", "For ever"],
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
    put(list, keys.length ? keyTable(keys, load) : h("p", { class: "empty" }, "You have no key."));
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
    ["Name", "State", "Begins with", "Scope", "Used last", "Expires", ["Actions", "unseen"]],
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
      words: "Programs that use it are refused from now on. It cannot be made good again.",
      action: "Revoke it",
    }))
  )
    return;
  try {
    await api.del(`/keys/${key.id}`);
    toast("The key is revoked");
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
        h("label", { class: "field" }, h("span", {}, "What it is for"), name),
        h(
          "fieldset",
          { class: "scopes" },
          h("legend", {}, "What it may do"),
          SCOPES.map(([value, words, why], i) =>
            h(
              "label",
              {},
              h("input", { type: "radio", name: "scope", value, checked: i === 0 }),
              h("span", {}, h("strong", {}, words), h("span", { class: "quiet" }, why)),
            ),
          ),
        ),
        h("label", { class: "field" }, h("span", {}, "Good for"), life),
        trouble,
        h(
          "div",
          { class: "actions" },
          h("button", { class: "button", type: "button", onclick: () => close(false) }, "Cancel"),
          h("button", { class: "button primary" }, "Make the key"),
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

/** The key itself, this once. */
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
    h("p", {}, h("strong", {}, "This is the only time the key is shown."), " Only its hash is kept."),
    h("div", { class: "secret-row" }, field, copy),
    h(
      "div",
      { class: "actions" },
      h("button", { class: "button primary", type: "button", onclick: () => close(true) }, "I have kept it"),
    ),
  ];
}
