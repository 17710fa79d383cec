// What may be changed of a collection: what is said of it, who may read it, who was let in, and its end.

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
        isPublic.checked ? "Everybody may read it now" : "Only those who were let in may read it now",
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
            change({ description: description.value }, "The description is saved");
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
        h("span", {}, "Everybody may read and search it. Public never means writable."),
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
            "Let in",
            ["Who", "May", "Since", ["Actions", "unseen"]],
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
                      "aria-label": `Take it back from ${it.user ?? it.key_prefix}`,
                      onclick: () => attempt(() => api.del(`${path}/grants/${it.id}`), "It is taken back"),
                    },
                    icon("trash", 16),
                  ),
                ),
              ),
            ),
          )
        : h("p", { class: "quiet" }, "Nobody but its owner was let in."),
    );
  }
  draw(first);
  return h(
    "section",
    {},
    h("h2", {}, "Let in"),
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
            `${user.value.trim()} is let in`,
          ).then(() => {
            user.value = "";
          });
        },
      },
      h("label", { class: "field" }, h("span", {}, "User name"), user),
      h("label", { class: "field" }, h("span", {}, "May"), permission),
      h("button", { class: "button" }, "Let in"),
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
      `It belongs to ${collection.owner}. A pipeline file that fills it has to name the new owner, too.`,
    ),
    h(
      "form",
      {
        class: "inline",
        onsubmit: async (event) => {
          event.preventDefault();
          const name = owner.value.trim();
          const sure = await confirm({
            title: `Hand ${collection.name} over to ${name}?`,
            words: "Whoever owns it may do everything to it. Only they and administrators can hand it back.",
            action: "Hand it over",
          });
          if (!sure) return;
          put(trouble);
          try {
            await api.patch(path, { owner: name });
            toast(`It belongs to ${name}`);
            view.go("/collections");
          } catch (error) {
            put(trouble, problemBox(error));
          }
        },
      },
      h("label", { class: "field" }, h("span", {}, "User name of the new owner"), owner),
      h("button", { class: "button" }, "Hand over"),
    ),
  );
}

function deletion(view, trouble) {
  const { collection, path } = view;
  return h(
    "section",
    { class: "danger-zone" },
    h("h2", {}, "Delete"),
    h("p", {}, "Every document, every vector and the whole history are removed from both stores, for good."),
    h(
      "button",
      {
        class: "button danger",
        type: "button",
        onclick: async () => {
          const sure = await confirm({
            title: `Delete ${collection.name}?`,
            words: "Nothing of it can be brought back.",
            action: "Delete it for good",
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
