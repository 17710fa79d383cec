// The settings of a collection: description, visibility, grants, owner, deletion.

import { h, put, icon, confirm, problemBox, table, toast } from "./dom.js";
import * as api from "./api.js";
import { day } from "./format.js";

/** The settings of the collection of a view (`collection.js`). */
export async function settings(view) {
  const { collection, path, signal } = view;
  const grants = await api.get(`${path}/grants`, {}, signal);
  const trouble = h("div");
  const change = async (wish, words) => {
    put(trouble);
    try {
      view.collection = await api.patch(path, wish);
      view.drawHead();
      toast(words);
    } catch (error) {
      put(trouble, problemBox(error));
    }
  };
  const description = h("textarea", { rows: 3, maxlength: 10000, value: collection.description ?? "" });
  const isPublic = h("input", {
    type: "checkbox",
    role: "switch",
    checked: collection.is_public,
    onchange: () =>
      change(
        { is_public: isPublic.checked },
        isPublic.checked ? "The collection is public" : "The collection is private",
      ),
  });
  return h(
    "div",
    { class: "settings" },
    trouble,
    h(
      "section",
      {},
      h("h2", {}, "About"),
      h(
        "form",
        {
          onsubmit: (event) => {
            event.preventDefault();
            change({ description: description.value }, "Description saved");
          },
        },
        h("label", { class: "field" }, h("span", {}, "Description"), description),
        h("button", { class: "button" }, "Save"),
      ),
    ),
    h(
      "section",
      {},
      h("h2", {}, "Readers"),
      h(
        "label",
        { class: "switch" },
        isPublic,
        h("span", {}, "Everyone may read and search it. Public collections are still read-only for others."),
      ),
    ),
    grantSection(path, grants),
    collection.right === "owner" && handOver(view, trouble),
    view.collection.right === "owner" && collection.is_served && deletion(view, trouble),
  );
}

function grantSection(path, first) {
  const list = h("div");
  const trouble = h("div");
  const user = h("input", { type: "text", required: true, autocomplete: "off", spellcheck: "false" });
  const permission = h(
    "select",
    {},
    [
      ["read", "read"],
      ["write", "read and write"],
      ["admin", "administer"],
    ].map(([value, words]) => h("option", { value }, words)),
  );
  const reload = async () => draw(await api.get(`${path}/grants`));
  const attempt = async (send, words) => {
    put(trouble);
    try {
      await send();
      toast(words);
      await reload();
    } catch (error) {
      put(trouble, problemBox(error));
    }
  };
  function draw(grants) {
    put(
      list,
      grants.length
        ? table(
            "Grants",
            ["Account or key", "Permission", "Since", ["Actions", "unseen"]],
            grants.map((it) =>
              h(
                "tr",
                {},
                h("th", { scope: "row" }, it.user ?? h("code", {}, `${it.key_prefix}…`)),
                h("td", {}, it.permission),
                h("td", { class: "quiet" }, day(it.created_at)),
                h(
                  "td",
                  { class: "end" },
                  h(
                    "button",
                    {
                      class: "ghost square",
                      type: "button",
                      "aria-label": `Revoke access of ${it.user ?? it.key_prefix}`,
                      onclick: () => attempt(() => api.del(`${path}/grants/${it.id}`), "Access revoked"),
                    },
                    icon("trash", 16),
                  ),
                ),
              ),
            ),
          )
        : h("p", { class: "quiet" }, "Only the owner has access."),
    );
  }
  draw(first);
  return h(
    "section",
    {},
    h("h2", {}, "Grant access"),
    list,
    trouble,
    h(
      "form",
      {
        class: "inline",
        onsubmit: (event) => {
          event.preventDefault();
          attempt(
            () => api.post(`${path}/grants`, { user: user.value.trim(), permission: permission.value }),
            `Access granted to ${user.value.trim()}`,
          ).then(() => {
            user.value = "";
          });
        },
      },
      h("label", { class: "field" }, h("span", {}, "User name"), user),
      h("label", { class: "field" }, h("span", {}, "Permission"), permission),
      h("button", { class: "button" }, "Grant access"),
    ),
  );
}

function handOver(view, trouble) {
  const { collection, path } = view;
  const owner = h("input", { type: "text", required: true, autocomplete: "off", spellcheck: "false" });
  return h(
    "section",
    {},
    h("h2", {}, "Owner"),
    h(
      "p",
      { class: "quiet" },
      `It belongs to ${collection.owner}. A pipeline file that writes to it must name the new owner too.`,
    ),
    h(
      "form",
      {
        class: "inline",
        onsubmit: async (event) => {
          event.preventDefault();
          const name = owner.value.trim();
          const sure = await confirm({
            title: `Transfer ${collection.name} to ${name}?`,
            words: "The owner has all rights on it. Only the new owner and administrators can transfer it back.",
            action: "Transfer",
          });
          if (!sure) return;
          put(trouble);
          try {
            await api.patch(path, { owner: name });
            toast(`Transferred to ${name}`);
            view.go("/collections");
          } catch (error) {
            put(trouble, problemBox(error));
          }
        },
      },
      h("label", { class: "field" }, h("span", {}, "User name of the new owner"), owner),
      h("button", { class: "button" }, "Transfer ownership"),
    ),
  );
}

function deletion(view, trouble) {
  const { collection, path } = view;
  return h(
    "section",
    { class: "danger-zone" },
    h("h2", {}, "Delete"),
    h("p", {}, "All documents, vectors and the history are permanently removed from both stores."),
    h(
      "button",
      {
        class: "button danger",
        type: "button",
        onclick: async () => {
          const sure = await confirm({
            title: `Delete ${collection.name}?`,
            words: "This cannot be undone.",
            action: "Delete permanently",
            word: collection.name,
          });
          if (!sure) return;
          try {
            const { operation } = await api.del(path, { confirm: collection.name });
            view.go(`/operations/${operation}`);
          } catch (error) {
            put(trouble, problemBox(error));
          }
        },
      },
      icon("trash", 16),
      "Delete the collection",
    ),
  );
}
