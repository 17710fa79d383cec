// Login, and creation of the first administrator with the token that the server printed at startup.

import { h, put, field, problemBox } from "./dom.js";
import * as api from "./api.js";

/** The pattern of user names in the API. */
export const NAME = "[a-z0-9][a-z0-9._\\-]{0,63}";

export async function show({ url, go, signal }) {
  const isNeeded = await api.isSetUpNeeded(signal);
  if (!url.pathname.startsWith("/setup")) return logIn(url, go, isNeeded);
  if (isNeeded) return setUp(url, go);
  return instead(go, "/login?because=set-up");
}

/** An empty view: another address replaces this one. */
async function instead(go, to) {
  await go(to, { replace: true });
  return { title: "", element: h("div") };
}

/** The target after the login: only a path of this site. */
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

/** The reason for the login form. */
function reasonOf(url) {
  if (url.searchParams.get("because") === "set-up")
    return "This server already has an administrator. Log in; administrators create accounts for other users.";
  return url.searchParams.has("to") ? "Log in to see the requested page." : null;
}

function logIn(url, go, isSetUpNeeded) {
  const to = within(url.searchParams.get("to"));
  if (api.who()) return instead(go, to);
  return card(
    "Log in",
    reasonOf(url),
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
      await go(to, { replace: true });
    },
    isSetUpNeeded
      ? h("p", { class: "quiet small foot" }, "First start? ", h("a", { href: "/setup" }, "Create the administrator"))
      : h(
          "p",
          { class: "quiet small foot" },
          "Forgotten your password? Ask an administrator for a new one.",
        ),
  );
}

function setUp(url, go) {
  // The printed link has the token after "#", which browsers do not send; it is removed from the
  // history.
  const token = new URLSearchParams(url.hash.slice(1)).get("token") ?? "";
  if (url.hash) history.replaceState(null, "", url.pathname);
  const gate = card(
    "The first administrator",
    token
      ? "Choose a name and a password for the account that administers this server."
      : "`semantik serve` printed a link with the set-up token at startup. Open that link, or enter the token here. It works once.",
    [
      field("Set-up token", { required: true, name: "token", autocomplete: "off", spellcheck: "false", value: token }),
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
        "At least 12 characters",
      ),
    ],
    "Create the administrator",
    async (wish) => {
      await api.setUp({ ...wish, token: wish.token.trim() }).catch((error) => {
        if (error.code === "invalid_credentials") error.title = "Invalid set-up token";
        throw error;
      });
      await go("/", { replace: true });
    },
  );
  const ready = () => gate.element.querySelector(token ? "input[name=username]" : "input[name=token]").focus();
  return { ...gate, ready };
}
