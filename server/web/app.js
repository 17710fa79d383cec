// The application frame: routing, top bar and global keyboard shortcuts.
//
// A view is a module with `show(context)`, which returns `{ element, title }` and optionally
// `update(url)` (same view, other address, so that an input keeps its focus), `dispose()` and
// `onKey(event)`. The address holds the whole state of a view, so back, forward, reload and a
// shared link show the same.

import { h, put, icon, dialog, problemBox, skeleton, toast, announce } from "./dom.js";
import * as api from "./api.js";

const ROUTES = [
  [/^\/$/, () => import("./search.js"), "search"],
  [/^\/collections\/?$/, () => import("./collections.js"), "collections"],
  [/^\/collections\/(?<collection>[^/]+)$/, () => import("./collection.js"), "collections"],
  [
    /^\/collections\/(?<collection>[^/]+)\/documents\/(?<document>[^/]+)$/,
    () => import("./document.js"),
    "collections",
  ],
  [/^\/operations\/?$/, () => import("./operations.js"), "operations"],
  [/^\/operations\/(?<operation>[^/]+)$/, () => import("./operation.js"), "operations"],
  [/^\/throughput\/?$/, () => import("./throughput.js"), "throughput"],
  [/^\/keys\/?$/, () => import("./keys.js"), "keys"],
  [/^\/users\/?$/, () => import("./users.js"), "users"],
  [/^\/audit\/?$/, () => import("./audit.js"), "audit"],
  [/^\/login\/?$/, () => import("./login.js"), "login"],
  [/^\/setup\/?$/, () => import("./login.js"), "login"],
];

const VIEWS = [
  ["/", "Search", "search"],
  ["/collections", "Collections", "collections"],
  ["/operations", "Operations", "operations"],
  ["/throughput", "Throughput", "throughput"],
];

const KEYS = [
  ["/", "focus the search field"],
  ["↑ ↓", "select a hit"],
  ["Enter", "open the hit in its document"],
  ["Esc", "close the preview or return to the field"],
  ["← →", "previous page, next page"],
  ["g s", "search"],
  ["g c", "collections"],
  ["g o", "operations"],
  ["g t", "throughput"],
  ["g u", "users, for administrators"],
  ["g a", "the audit log, for administrators"],
  ["?", "show these shortcuts"],
];

const main = document.getElementById("main");
let shown = null; // { route, view, abort }
let turn = 0;

/** Navigates to an address. `replace` adds no history entry. */
export function go(to, { replace = false } = {}) {
  const url = new URL(to, location.href);
  history[replace ? "replaceState" : "pushState"](null, "", url);
  return render();
}

async function render() {
  const mine = ++turn;
  const url = new URL(location.href);
  const found = ROUTES.map(([pattern, load, name]) => ({
    match: pattern.exec(url.pathname),
    load,
    name,
    pattern,
  })).find((it) => it.match);
  drawNav(found?.name);
  if (!found) return showNothing();
  const same = shown && shown.pattern === found.pattern && shown.path === url.pathname;
  if (same && shown.view.update) return shown.view.update(url);
  shown?.abort.abort();
  shown?.view.dispose?.();
  shown = null;
  const abort = new AbortController();
  const late = setTimeout(() => {
    if (mine === turn) put(main, h("div", { class: "page" }, skeleton(4)));
  }, 150);
  try {
    const module = await found.load();
    const view = await module.show({ url, parameters: found.match.groups ?? {}, go, signal: abort.signal });
    if (mine !== turn) {
      abort.abort();
      view.dispose?.();
      return undefined;
    }
    shown = { pattern: found.pattern, path: url.pathname, view, abort };
    put(main, view.element);
    titled(view.title);
    view.ready?.();
  } catch (error) {
    if (mine !== turn || api.isAborted(error)) return undefined;
    if (isForOthers(error)) return toLogin();
    put(main, h("div", { class: "page" }, failure(error)));
  } finally {
    clearTimeout(late);
  }
  return undefined;
}

function failure(error) {
  if (error instanceof api.Problem) return problemBox(error, render);
  console.error(error);
  return problemBox({ title: "The page failed to load", detail: String(error.message ?? error) }, render);
}

const here = () => encodeURIComponent(location.pathname + location.search);

/**
 * `true` if a login may help: the API answers 404 to anonymous requests for non-public resources.
 */
const isForOthers = (error) =>
  error instanceof api.Problem && (error.status === 401 || (error.status === 404 && !api.who()));

/** Opens the login, which returns to the requested address. */
const toLogin = () => go(`/login?to=${here()}`, { replace: true });

/** Renders the same address for another account. */
function redraw() {
  shown?.abort.abort();
  shown?.view.dispose?.();
  shown = null;
  return render();
}

/** Sets the window title and announces it, because navigation does not reload the page. */
export function titled(title) {
  document.title = title ? `${title} · semantik` : "semantik";
  announce(title ?? "");
}

function showNothing() {
  put(
    main,
    h(
      "div",
      { class: "page" },
      h(
        "div",
        { class: "empty" },
        h("h1", {}, "Page not found"),
        h("p", {}, "No page has this address. ", h("a", { href: "/" }, "Go to the search")),
      ),
    ),
  );
  titled("Page not found");
}

function drawNav(current) {
  put(
    document.getElementById("nav"),
    VIEWS.map(([href, words, name]) => h("a", { href, "aria-current": name === current ? "page" : undefined }, words)),
  );
}

function drawEnd() {
  const user = api.who();
  const theme = h("button", { class: "ghost square", type: "button", onclick: () => nextTheme(theme) });
  labelTheme(theme);
  const keys = h(
    "button",
    { class: "ghost square keys-button", type: "button", "aria-label": "Keyboard shortcuts", title: "Keyboard shortcuts (?)", onclick: showKeys },
    icon("keyboard"),
  );
  const menu =
    user &&
    h(
      "div",
      { id: "account-menu", popover: "auto", class: "menu" },
      h(
        "p",
        { class: "menu-head" },
        h("strong", {}, user.full_name || user.username),
        user.is_superuser && h("span", { class: "quiet" }, "Administrator"),
      ),
      h("a", { href: "/keys" }, icon("key"), "API keys"),
      user.is_superuser && h("a", { href: "/users" }, icon("person"), "Users"),
      user.is_superuser && h("a", { href: "/audit" }, icon("list"), "Audit log"),
      h("button", { type: "button", onclick: ownPassword }, icon("edit"), "Password …"),
      h("a", { href: "/api/v1/docs", "data-leave": "" }, icon("open"), "API reference"),
      h("button", { type: "button", onclick: leave }, icon("undo"), "Log out"),
    );
  const account = user
    ? h(
        "button",
        {
          class: "ghost account",
          type: "button",
          popovertarget: "account-menu",
          "aria-label": `Account ${user.username}`,
        },
        icon("person"),
        h("span", {}, user.username),
      )
    : h(
        "a",
        {
          class: "button small",
          href: "/login",
          onclick: (event) => {
            event.currentTarget.href = `/login?to=${here()}`;
          },
        },
        "Log in",
      );
  put(document.getElementById("bar-end"), keys, theme, account, menu);
}

async function ownPassword() {
  document.getElementById("account-menu")?.hidePopover?.();
  const { changePassword } = await import("./password.js");
  await changePassword();
}

async function leave() {
  document.getElementById("account-menu")?.hidePopover?.();
  try {
    await api.logOut();
    toast("You are logged out");
    go("/");
  } catch (problem) {
    toast(`${problem.message} You are still logged in.`, "problem");
  }
}

const THEMES = ["system", "light", "dark"];
function labelTheme(button) {
  const choice = window.semantikTheme.choice();
  const next = THEMES[(THEMES.indexOf(choice) + 1) % 3];
  put(button, icon(choice));
  button.setAttribute("aria-label", `Colour scheme: ${choice}. Switch to ${next}`);
  button.title = `Colours: ${choice}`;
  button.dataset.theme = choice;
}
function nextTheme(button) {
  window.semantikTheme.choose(THEMES[(THEMES.indexOf(window.semantikTheme.choice()) + 1) % 3]);
  labelTheme(button);
}

function showKeys() {
  if (document.querySelector("dialog[open]")) return;
  dialog("Keyboard shortcuts", () =>
    h(
      "dl",
      { class: "keys" },
      KEYS.map(([keys, words]) =>
        h(
          "div",
          {},
          h(
            "dt",
            {},
            keys.split(" ").map((key) => h("kbd", {}, key)),
          ),
          h("dd", {}, words),
        ),
      ),
    ),
  );
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (
    !link ||
    event.defaultPrevented ||
    event.button ||
    event.metaKey ||
    event.ctrlKey ||
    event.shiftKey ||
    event.altKey
  )
    return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || link.target || "leave" in link.dataset || url.pathname.startsWith("/api/"))
    return;
  if (url.hash && url.pathname === location.pathname && url.search === location.search) return;
  event.preventDefault();
  document.getElementById("account-menu")?.hidePopover?.();
  const elsewhere = url.pathname !== location.pathname;
  go(url).then(() => {
    if (elsewhere && !main.contains(document.activeElement)) {
      main.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
  });
});

/** Targets of "g" followed by a letter. */
const WAYS = { s: "/", c: "/collections", o: "/operations", t: "/throughput", u: "/users", a: "/audit" };

const isTyping = (element) => element?.matches?.("input, textarea, select, [contenteditable]");
let before = 0; // Time of the last press of "g".

document.addEventListener("keydown", (event) => {
  if (
    event.defaultPrevented ||
    event.metaKey ||
    event.ctrlKey ||
    event.altKey ||
    document.querySelector("dialog[open]")
  )
    return;
  if (shown?.view.onKey?.(event)) {
    event.preventDefault();
    return;
  }
  if (isTyping(event.target)) return;
  const after = Date.now() - before < 1200;
  before = event.key === "g" ? Date.now() : 0;
  const there = after && WAYS[event.key];
  if (there) go(there);
  else if (event.key === "/") go("/").then(() => document.getElementById("q")?.focus());
  else if (event.key === "?") showKeys();
  else return;
  event.preventDefault();
});

addEventListener("popstate", render);
drawNav();
drawEnd();
await api.resume();
drawEnd();
api.onSession((user, elsewhere) => {
  drawEnd();
  if (!elsewhere) return;
  document.querySelector("dialog[open]")?.close();
  const isGate = /^\/(login|setup)\b/.test(location.pathname);
  // The content on the screen may not be visible to the new account.
  if (user || isGate) redraw();
  else go(`/login?to=${here()}`);
});
await render();
