// How large a collection may grow and how much of that is used; administrators of the server set it.

import { h, put, field, meter, problemBox, toast } from "./dom.js";
import * as api from "./api.js";
import { count, percent } from "./format.js";

/** A gigabyte of the limits, in bytes. */
const GB = 1e9;

/** What is limited: the key of the limit, what it is called, what is used of it, the unit, the step of its field. */
const LIMITS = [
  ["max_documents", "Documents", (it) => it.documents, "", 1],
  ["max_storage_gb", "Storage", (it) => it.size_bytes / GB, " GB", "any"],
  ["max_operations_per_hour", "Operations within an hour", (it) => it.operations_within_the_hour, "", 1],
  ["max_sources", "Sources", (it) => it.sources, "", 1],
];

/** The limits of the collection at `path`. */
export async function limits(path, signal) {
  const element = h("div", { class: "settings" });
  const draw = (known) =>
    put(
      element,
      h("section", {}, h("h2", {}, "Used"), !known.are_enforced && note(), usage(known)),
      api.who()?.is_superuser && change(path, known, draw),
    );
  draw(await api.get(`${path}/limits`, {}, signal));
  return element;
}

const note = () =>
  h(
    "p",
    { class: "note" },
    "Without limits: the limits do not hold for collections of the built-in account ",
    h("code", {}, "local"),
    ".",
  );

function usage(known) {
  return h(
    "dl",
    { class: "usage" },
    LIMITS.map(([key, words, used, unit]) => {
      const [is, most] = [used(known), known.limits[key]];
      const share = is / most;
      // A limit that does not hold is no measure of anything.
      if (!known.are_enforced)
        return h("div", {}, h("dt", {}, words), h("dd", { class: "number" }, `${few(is)}${unit}`));
      return h(
        "div",
        {},
        h("dt", {}, words),
        h(
          "dd",
          { class: share >= 1 ? "number bad" : "number" },
          meter(share),
          `${few(is)} of ${few(most)}${unit}`,
          h("span", { class: "quiet" }, ` ${percent(share)}`),
        ),
      );
    }),
  );
}

/** Whole numbers whole, and the rest to three digits. */
const few = (number) => (Number.isInteger(number) ? count(number) : String(Number(number.toPrecision(3))));

function change(path, known, draw) {
  const trouble = h("div");
  const form = h(
    "form",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        put(trouble);
        const wish = Object.fromEntries([...new FormData(form)].map(([key, value]) => [key, Number(value)]));
        try {
          draw(await api.put(`${path}/limits`, wish));
          toast("The limits are set");
        } catch (error) {
          put(trouble, problemBox(error));
        }
      },
    },
    h(
      "div",
      { class: "limit-fields" },
      LIMITS.map(([key, words, , unit, step]) =>
        field(`${words}${unit && `, ${unit.trim()}`}`, {
          name: key,
          type: "number",
          required: true,
          min: step === 1 ? 1 : undefined,
          step,
          value: known.limits[key],
        }),
      ),
    ),
    trouble,
    h("button", { class: "button" }, "Set the limits"),
  );
  return h(
    "section",
    {},
    h("h2", {}, "Limits"),
    h(
      "p",
      { class: "quiet" },
      "An operation that takes documents in is refused when one of them is reached. What is in stays in.",
    ),
    form,
  );
}
