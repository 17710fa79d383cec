// Logging in, and making the first administrator with the token that the server printed when it was started.

import { h, put, field, problemBox } from "./dom.js";
import * as api from "./api.js";

/** What the API takes for the name of an account. */
export const NAME = "[a-z0-9][a-z0-9._\\-]{0,63}";

export async function show({ url, go }) {
  const isSetUp = url.pathname.startsWith("/setup");
  return isSetUp ? setUp(go) : logIn(url, go);
}

/** Where to go then: a path of this page and nothing else. */
export function within(to) {
  if (!to || !/^\/(?![/\\])/.test(to)) return "/";
  return to.startsWith("/login") || to.startsWith("/setup") ? "/" : to;
}

function card(title, words, fields, action, submit, foot) {
  const trouble = h("div");
  const button = h("button", { class: "button primary wide" }, action);
  const form = h(
    "form",
    {
      class: "gate",
      onsubmit: async (event) => {
        event.preventDefault();
        put(trouble);
        button.disabled = true;
        try {
          await submit(Object.fromEntries(new FormData(form)));
        } catch (error) {
          put(trouble, problemBox(error));
          form.querySelector("input[type=password]")?.select();
        } finally {
          button.disabled = false;
        }
      },
    },
    h("h1", {}, title),
    words && h("p", { class: "quiet" }, words),
    fields,
    trouble,
    button,
    foot,
  );
  return {
    title,
    element: h("div", { class: "page narrow" }, form),
    ready: () => form.querySelector("input")?.focus(),
  };
}

function logIn(url, go) {
  return card(
    "Log in",
    null,
    [
      field("User name", {
        required: true,
        name: "username",
        autocomplete: "username",
        autocapitalize: "off",
        spellcheck: "false",
      }),
      field("Password", { required: true, name: "password", type: "password", autocomplete: "current-password" }),
    ],
    "Log in",
    async ({ username, password }) => {
      await api.logIn(username, password);
      await go(within(url.searchParams.get("to")), { replace: true });
    },
    h("p", { class: "quiet small foot" }, "First start? ", h("a", { href: "/setup" }, "Make the administrator")),
  );
}

function setUp(go) {
  return card(
    "The first administrator",
    "The server has printed a setup token when it was started. It is good once.",
    [
      field("Setup token", { required: true, name: "token", autocomplete: "off", spellcheck: "false" }),
      field(
        "User name",
        {
          required: true,
          name: "username",
          autocomplete: "username",
          autocapitalize: "off",
          spellcheck: "false",
          pattern: NAME,
        },
        "Lower-case letters, digits, . _ -",
      ),
      field("E-mail", { required: true, name: "email", type: "email", autocomplete: "email" }),
      field(
        "Password",
        { required: true, name: "password", type: "password", autocomplete: "new-password", minlength: 12 },
        "12 characters at least",
      ),
    ],
    "Make the administrator",
    async (wish) => {
      await api.setUp(wish);
      await go("/", { replace: true });
    },
    h("p", { class: "quiet small foot" }, h("a", { href: "/login" }, "Log in instead")),
  );
}
