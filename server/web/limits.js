// The limits of a collection and their use; server administrators set the limits.

import { h, put, field, meter, problemBox, toast } from "./dom.js";
import * as api from "./api.js";
import { count, percent } from "./format.js";

/** A gigabyte of the limits, in bytes. */
const GB = 1e9;

/** Limits: API key, label, current use, unit, step of the input. */
const LIMITS = [
  ["max_documents", "Documents", (it) => it.documents, "", 1],
  ["max_storage_gb", "Storage", (it) => it.size_bytes / GB, " GB", "any"],
  ["max_operations_per_hour", "Operations per hour", (it) => it.operations_within_the_hour, "", 1],
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
    "No limits: they do not apply to collections of the built-in account ",
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
      // A limit that is not enforced has no meter.
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

/** Integers without decimals, other numbers with three significant digits. */
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
          toast("Limits saved");
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
    h("button", { class: "button" }, "Save limits"),
  );
  return h(
    "section",
    {},
    h("h2", {}, "Limits"),
    h(
      "p",
      { class: "quiet" },
      "When a limit is reached, operations that add documents are rejected. Stored documents stay.",
    ),
    form,
  );
}
