// Builds elements from data. Text becomes text nodes, so document content can never become markup;
// nothing in this file parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. Properties: `class`, `style` (an object), `on…` listeners, `data` (an object); all
 * others are attributes.
 */
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** An SVG element. */
export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") Object.entries(value).forEach(([name, it]) => element.style.setProperty(name, it));
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key === "value") element.value = value;
    else if (value === true) element.setAttribute(key, "");
    else element.setAttribute(key, value);
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child);
  }
}

/** Replaces the children of an element. */
export function put(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

const ICONS = {
  search: "M10.5 4.5a6 6 0 1 1 0 12 6 6 0 0 1 0-12ZM15 15l5 5",
  close: "M6 6l12 12M18 6L6 18",
  left: "M14.5 5.5L8 12l6.5 6.5",
  right: "M9.5 5.5L16 12l-6.5 6.5",
  down: "M5.5 9.5L12 16l6.5-6.5",
  up: "M5.5 14.5L12 8l6.5 6.5",
  open: "M13 5h6v6M19 5l-9 9M17 14v4.5H5.500V7H10",
  light:
    "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8ZM12 2.500v2.500M12 19v2.500M2.500 12H5M19 12h2.500M5.300 5.300l1.800 1.800M16.900 16.900l1.800 1.800M5.300 18.700l1.800-1.800M16.900 7.100l1.800-1.800",
  dark: "M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10Z",
  system: "M4 5h16v11H4ZM9 20h6M12 16v4",
  key: "M8 11a4 4 0 1 1 0 8 4 4 0 0 1 0-8ZM11 12.500l8.500-8.500M16 7.500l3 3",
  person:
    "M12 4a3.750 3.750 0 1 1 0 7.500A3.750 3.750 0 0 1 12 4ZM4.500 20c.7-4 3.700-5.500 7.500-5.500s6.800 1.500 7.500 5.500",
  copy: "M9 9h10v10H9ZM15 9V5H5v10h4",
  check: "M5 12.500l4.500 4.500L19 7.500",
  warn: "M12 4.500L21 19.500H3ZM12 10v4.500M12 17v.2",
  trash: "M4.500 7h15M9.500 7V4.500h5V7M6.500 7l1 12.500h9l1-12.500",
  undo: "M8 5L4 9l4 4M4 9h10a5.500 5.500 0 0 1 0 11h-4",
  play: "M7.500 5v14l11-7Z",
  stop: "M7 7h10v10H7Z",
  plus: "M12 5v14M5 12h14",
  edit: "M5 19l1-4L16 5l3 3L9 18ZM14 7l3 3",
  list: "M9 6.500h11M9 12h11M9 17.500h11M4.500 6.500h.1M4.500 12h.1M4.500 17.500h.1",
  keyboard: "M3 7h18v10H3ZM7 10.500h.1M11 10.500h.1M15 10.500h.1M8 14h8",
};

/** An icon next to text, or inside a labelled button; hidden from screen readers. */
export function icon(name, size = 18) {
  const path = svg("path", {
    d: ICONS[name],
    fill: "none",
    stroke: "currentColor",
    "stroke-width": 1.7,
    "stroke-linecap": "round",
    "stroke-linejoin": "round",
  });
  return svg("svg", { viewBox: "0 0 24 24", width: size, height: size, class: "icon", "aria-hidden": "true" }, path);
}

/** Announces a text to screen readers. */
export function announce(words) {
  document.getElementById("status").textContent = words;
}

/** A notification at the edge of the page that disappears by itself. */
export function toast(words, kind = "done") {
  const note = h(
    "div",
    { class: `toast ${kind}`, role: kind === "problem" ? "alert" : "status" },
    icon(kind === "problem" ? "warn" : "check"),
    h("span", {}, words),
  );
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), kind === "problem" ? 9000 : 4500);
}

/** An error, next to the content that failed. */
export function problemBox(problem, retry) {
  return h(
    "div",
    { class: "problem", role: "alert" },
    icon("warn"),
    h(
      "div",
      {},
      h("strong", {}, problem.title ?? "Something went wrong"),
      problem.detail && h("p", {}, problem.detail),
      problem.retryAfter && h("p", {}, `Try again in ${problem.retryAfter} s.`),
      problem.requestId && h("p", { class: "quiet small" }, `Request ${problem.requestId}`),
    ),
    retry && h("button", { class: "button", type: "button", onclick: retry }, "Try again"),
  );
}

/** A button that loads more; it works once. */
export const moreButton = (words, load) =>
  h(
    "button",
    {
      class: "button",
      type: "button",
      onclick: (event) => {
        event.currentTarget.disabled = true;
        load();
      },
    },
    icon("down", 14),
    words,
  );

/** A view with its heading, actions and a short description. */
export function viewOf({ title, words, actions }, ...below) {
  const heading = h("h1", {}, title);
  const row = actions ? h("div", { class: "head-row" }, heading, h("span", { class: "space" }), actions) : heading;
  return h(
    "div",
    { class: "page" },
    h("header", { class: "page-head" }, row, h("p", { class: "quiet" }, words)),
    below,
  );
}

/**
 * A table. A head is its label or `[label, class, content, sort]`; a class that ends with "unseen"
 * hides the label visually, `content` is shown instead, and `sort` is the `aria-sort` of the
 * column. On narrow pages each row is a block with the heads next to the cells.
 */
export function table(label, heads, rows) {
  const head = (it) => {
    const [words, kind, content, sort] = [it].flat(1);
    return h(
      "th",
      { scope: "col", class: kind, role: "columnheader", "aria-sort": sort },
      kind?.endsWith("unseen") ? h("span", { class: "visually-hidden" }, words) : (content ?? words),
    );
  };
  const body = h("tbody", { role: "rowgroup" });
  fillTable(body, heads, rows);
  return h(
    "div",
    { class: "scroller", tabindex: "0", role: "region", "aria-label": label },
    h("table", { role: "table" }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads.map(head))), body),
  );
}

/**
 * Replaces the rows of a table body. Roles are explicit because browsers drop table semantics in
 * block layout.
 */
export function fillTable(body, heads, rows) {
  for (const row of rows) {
    row.setAttribute("role", "row");
    [...row.cells].forEach((cell, i) => {
      const [words, kind] = [heads[i]].flat();
      cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
      if (!kind?.endsWith("unseen")) cell.dataset.head = words;
    });
  }
  put(body, rows);
}

/** Figures with labels: `[label, value, more]`. Falsy entries are left out. */
export function figures(list, { small = false } = {}) {
  return h(
    "dl",
    { class: small ? "figures small" : "figures" },
    list
      .filter(Boolean)
      .map(([words, value, more]) =>
        h(
          "div",
          {},
          h("dt", {}, words),
          h("dd", { class: "number" }, value, more && h("span", { class: "quiet" }, ` ${more}`)),
        ),
      ),
  );
}

/** A bar filled to a share between 0 and 1. */
export function meter(share, label) {
  const fill = h("span", {});
  fill.style.setProperty("inline-size", `${Math.max(0, Math.min(1, share)) * 100}%`);
  return h(
    "span",
    label ? { class: "meter", role: "img", "aria-label": label } : { class: "meter", "aria-hidden": "true" },
    fill,
  );
}

/** A placeholder shown while content loads. */
export function skeleton(lines = 3) {
  return h(
    "div",
    { class: "skeleton", "aria-hidden": "true" },
    Array.from({ length: lines }, () => h("div")),
  );
}

/**
 * A dialog. `body` receives a function that closes it with a value; the promise resolves to that
 * value or `undefined`.
 */
export function dialog(title, body, { wide = false } = {}) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    let answer;
    const close = (value) => {
      answer = value;
      box.close();
    };
    const name = `dialog-${Math.random().toString(36).slice(2)}`;
    const box = h(
      "dialog",
      { class: wide ? "wide" : "", "aria-labelledby": name },
      h(
        "header",
        {},
        h("h2", { id: name }, title),
        h(
          "button",
          { class: "ghost square", type: "button", "aria-label": "Close", onclick: () => close() },
          icon("close"),
        ),
      ),
    );
    box.append(...[body(close)].flat());
    box.addEventListener("close", () => {
      box.remove();
      before?.focus?.();
      resolve(answer);
    });
    box.addEventListener("click", (event) => {
      if (event.target === box) close();
    });
    document.body.append(box);
    box.showModal();
    box.querySelector("[autofocus]")?.focus();
  });
}

/** An input with a label above and an optional hint below. */
export function field(words, attributes, more) {
  return h(
    "label",
    { class: "field" },
    h("span", {}, words),
    h("input", { type: "text", ...attributes }),
    more && h("span", { class: "quiet small" }, more),
  );
}

/**
 * The form of a dialog: `send` receives the `FormData`, and its result closes the dialog. Errors
 * appear in the form.
 */
export function dialogForm(close, { words, fields, action, send }) {
  const trouble = h("div");
  const go = h("button", { class: "button primary" }, action);
  const form = h(
    "form",
    {
      method: "dialog",
      onsubmit: async (event) => {
        event.preventDefault();
        put(trouble);
        go.disabled = true;
        try {
          close(await send(new FormData(form)));
        } catch (error) {
          put(trouble, problemBox(error));
        } finally {
          go.disabled = false;
        }
      },
    },
    words && h("p", {}, words),
    fields,
    trouble,
    h(
      "div",
      { class: "actions" },
      h("button", { class: "button", type: "button", onclick: () => close() }, "Cancel"),
      go,
    ),
  );
  return form;
}

/** Asks for confirmation. With `word`, the user must type it. */
export function confirm({ title, words, action, word, danger = true }) {
  return dialog(title, (close) => {
    const typed =
      word &&
      h("input", {
        type: "text",
        autocomplete: "off",
        spellcheck: "false",
        autofocus: true,
        "aria-label": `Type ${word} to confirm`,
      });
    const go = h(
      "button",
      { class: `button ${danger ? "danger" : "primary"}`, disabled: Boolean(word), autofocus: !word },
      action,
    );
    typed?.addEventListener("input", () => {
      go.disabled = typed.value !== word;
    });
    return h(
      "form",
      {
        method: "dialog",
        onsubmit: (event) => {
          event.preventDefault();
          if (!go.disabled) close(true);
        },
      },
      h("p", {}, words),
      word && h("label", { class: "field" }, h("span", {}, "Type ", h("code", {}, word), " to confirm"), typed),
      h(
        "div",
        { class: "actions" },
        h("button", { class: "button", type: "button", onclick: () => close(false) }, "Cancel"),
        go,
      ),
    );
  });
}
