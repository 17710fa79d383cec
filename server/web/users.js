// The accounts of the server, for administrators. Accounts are deactivated and never deleted,
// because operations and the audit log refer to them.

import { h, put, icon, confirm, dialog, dialogForm, field, problemBox, table, toast, viewOf } from "./dom.js";
import * as api from "./api.js";
import { all } from "./collections.js";
import { ago, counted, moment } from "./format.js";
import { NAME } from "./login.js";
import { pill } from "./operations.js";

/** The built-in account, which has no login. */
const LOCAL = "local";

export async function show({ signal }) {
  const view = new Users(signal);
  await view.load();
  return view;
}

class Users {
  constructor(signal) {
    Object.assign(this, { signal, title: "Users" });
    this.words = h("span");
    this.trouble = h("div");
    this.list = h("div");
    const make = () => this.ask(createUser());
    this.element = viewOf(
      {
        title: "Users",
        words: this.words,
        actions: [
          h("a", { class: "button", href: "/audit" }, "Audit log"),
          h("button", { class: "button primary", type: "button", onclick: make }, icon("plus", 15), "New user"),
        ],
      },
      this.trouble,
      this.list,
    );
  }

  async load() {
    const users = await all("/users", this.signal);
    users.sort((a, b) => Number(b.is_active) - Number(a.is_active) || a.username.localeCompare(b.username));
    const active = users.filter((it) => it.is_active && it.username !== LOCAL);
    put(
      this.words,
      `${counted(active.length, "active account")}, ${counted(active.filter((it) => it.is_superuser).length, "administrator")}`,
    );
    put(this.list, this.draw(users));
  }

  /** Waits for a dialog that makes a change, then reloads the list. */
  async ask(changed) {
    const words = await changed;
    if (!words) return;
    toast(words);
    await this.reload();
  }

  async reload() {
    put(this.trouble);
    try {
      await this.load();
    } catch (error) {
      if (!api.isAborted(error))
        put(
          this.trouble,
          problemBox(error, () => this.reload()),
        );
    }
  }

  draw(users) {
    return table(
      "Users",
      ["User", "State", "Rights", "Last login", "Since", ["Actions", "unseen"]],
      users.map((it) =>
        h(
          "tr",
          { class: it.is_active ? "" : "past" },
          h(
            "th",
            { scope: "row" },
            it.username,
            h("span", { class: "small" }, [it.full_name, it.email].filter(Boolean).join(" · ")),
          ),
          h("td", {}, pill(...stateOf(it))),
          h("td", {}, it.is_superuser ? "administrator" : "user"),
          h("td", { class: "quiet", title: moment(it.last_login) }, it.last_login ? ago(it.last_login) : "never"),
          h("td", { class: "quiet", title: moment(it.created_at) }, ago(it.created_at)),
          h("td", { class: "end" }, it.username !== LOCAL && this.drawActions(it)),
        ),
      ),
    );
  }

  drawActions(user) {
    const isSelf = user.id === api.who()?.id;
    const button = (words, onclick) =>
      h(
        "button",
        { class: "button small", type: "button", "aria-label": `${words}: ${user.username}`, onclick },
        words,
      );
    return h(
      "span",
      { class: "row-actions" },
      button("Change …", () => this.ask(changeUser(user, isSelf))),
      button("Password …", () => this.ask(givePassword(user, isSelf))),
      !isSelf && button(user.is_active ? "Disable" : "Enable", () => this.ask(setActive(user))),
    );
  }
}

function stateOf(user) {
  if (user.username === LOCAL) return ["pending", "built in"];
  return user.is_active ? ["completed", "active"] : ["cancelled", "disabled"];
}

/** Each dialog returns a message after the change, or `undefined` if there was no change. */
async function setActive(user) {
  const isActive = !user.is_active;
  const sure =
    isActive ||
    (await confirm({
      title: `Disable ${user.username}?`,
      words:
        "All sessions of the account end and its keys stop working. Its collections stay, and it can be enabled again.",
      action: "Disable account",
    }));
  if (!sure) return undefined;
  try {
    await api.patch(`/users/${user.id}`, { is_active: isActive });
    return `${user.username} is ${isActive ? "enabled" : "disabled"}`;
  } catch (problem) {
    toast(problem.message, "problem");
    return undefined;
  }
}

const administrator = (checked, disabled = false) =>
  h(
    "label",
    { class: "switch" },
    h("input", { type: "checkbox", name: "is_superuser", checked, disabled }),
    h("span", {}, "Administrator: has all rights on all collections and accounts"),
  );

const people = (user) => [
  field("E-mail", { name: "email", type: "email", required: true, autocomplete: "off", value: user.email ?? "" }),
  field("Full name", { name: "full_name", maxlength: 200, autocomplete: "off", value: user.full_name ?? "" }),
];

const password = () =>
  field(
    "Password",
    { name: "password", type: "password", required: true, minlength: 12, autocomplete: "new-password" },
    "At least 12 characters. Send it to the user over a private channel.",
  );

function createUser() {
  return dialog("New user", (close) =>
    dialogForm(close, {
      fields: [
        field(
          "User name",
          {
            name: "username",
            required: true,
            pattern: NAME,
            autofocus: true,
            autocomplete: "off",
            autocapitalize: "off",
            spellcheck: "false",
          },
          "Lower-case letters, digits, . _ -",
        ),
        people({}),
        password(),
        administrator(false),
      ],
      action: "Create account",
      send: async (form) => {
        const { username, email, full_name: name, password: secret, is_superuser: is } = Object.fromEntries(form);
        await api.post("/users", {
          username,
          email,
          full_name: name || null,
          password: secret,
          is_superuser: is === "on",
        });
        return `${username} can log in`;
      },
    }),
  );
}

function changeUser(user, isSelf) {
  return dialog(`Change ${user.username}`, (close) =>
    dialogForm(close, {
      fields: [people(user), administrator(user.is_superuser, isSelf)],
      action: "Save",
      send: async (form) => {
        const wish = { email: form.get("email"), full_name: form.get("full_name") };
        if (!isSelf) wish.is_superuser = form.get("is_superuser") === "on";
        // Sends only changed fields, so that the audit log lists only changes.
        const changed = Object.entries(wish).filter(([key, value]) => value !== (user[key] ?? ""));
        if (changed.length) await api.patch(`/users/${user.id}`, Object.fromEntries(changed));
        return changed.length ? `${user.username} changed` : undefined;
      },
    }),
  );
}

function givePassword(user, isSelf) {
  return dialog(`New password for ${user.username}`, (close) =>
    dialogForm(close, {
      words: `All sessions of ${user.username} end${isSelf ? ", including this one" : ""}. API keys stay valid.`,
      fields: [password()],
      action: "Set password",
      send: async (form) => {
        await api.put(`/users/${user.id}/password`, { password: form.get("password") });
        return `Password of ${user.username} changed`;
      },
    }),
  );
}
