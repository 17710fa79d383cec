// The explanation of a document: state and cause, properties, locations, history. Drawn only from
// the response of `why`.

import { h, table } from "./dom.js";
import { bytes, count, kindOf, languageOf, moment, pathOf } from "./format.js";
import { pill } from "./operations.js";

const STATES = {
  stored: ["completed", "in the index"],
  set_aside: ["failed", "set aside"],
  withheld: ["deleted", "withheld"],
  deleted: ["deleted", "deleted"],
  waiting: ["pending", "waiting"],
  unknown: ["pending", "unknown"],
};
/** The outcome of a document, named as in the `why` response. */
export function storyPill(state) {
  const [like, words] = STATES[state] ?? ["pending", state];
  return pill(like, words);
}

/**
 * The explanation; `told` is missing if only the metadata is known, `known` if there is no
 * document.
 */
export function drawStory(told, known) {
  const line = (words, text) => text && h("div", {}, h("dt", {}, words), h("dd", {}, text));
  return [
    told &&
      h(
        "section",
        { class: "story" },
        h("h2", {}, "Why"),
        h(
          "dl",
          {},
          line("Cause", ticked(told.why)),
          line("Next run", ticked(told.next_run)),
          told.to_change?.length > 0 &&
            h(
              "div",
              {},
              h("dt", {}, "To change that"),
              h(
                "dd",
                {},
                h(
                  "ul",
                  {},
                  told.to_change.map((it) => h("li", {}, ticked(it))),
                ),
              ),
            ),
        ),
      ),
    known && drawFacts(known),
    told?.places?.length > 0 && placesTable(told.places),
    told?.deeds?.length > 0 &&
      h(
        "section",
        {},
        h("h2", {}, "History"),
        h(
          "ul",
          { class: "deeds" },
          told.deeds.map((it) =>
            h(
              "li",
              {},
              `${it.action.replace("documents_", "")} by ${it.by ?? "unknown"} on ${moment(it.at)}`,
              it.operation_id && h("a", { href: `/operations/${it.operation_id}` }, "operation"),
            ),
          ),
        ),
      ),
  ];
}

function drawFacts(known) {
  const metadata = Object.entries(known.metadata ?? {})
    .filter(([, value]) => value !== null && typeof value !== "object")
    .slice(0, 12);
  const facts = [
    ["Kind", kindOf(known.mime_type)],
    ["Size", bytes(known.size)],
    ["Chunks", count(known.chunks)],
    known.language && ["Language", languageOf(known.language)],
    known.created_at && ["Added", moment(known.created_at)],
    ["Changed", moment(known.updated_at)],
    known.deleted_at && ["Deleted", moment(known.deleted_at)],
    known.attempts > 0 && ["Attempts", count(known.attempts)],
    known.operation && ["Written by", h("a", { href: `/operations/${known.operation.id}` }, known.operation.type)],
    ...metadata.map(([key, value]) => [key, String(value)]),
  ].filter(Boolean);
  return h(
    "section",
    {},
    h("h2", {}, "Document"),
    h(
      "dl",
      { class: "facts" },
      facts.map(([words, value]) => h("div", {}, h("dt", {}, words), h("dd", {}, value))),
    ),
  );
}

/** Text with `code` between backticks. */
function ticked(text) {
  return text.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));
}

function placesTable(places) {
  return h(
    "section",
    {},
    h("h2", {}, "Locations"),
    table(
      "Locations",
      ["Where", ["Size", "number"], "First seen", "Last seen"],
      places.map((it) =>
        h(
          "tr",
          {},
          h(
            "th",
            { scope: "row" },
            h("span", { class: "path" }, pathOf(it.uri)),
            it.set_aside?.message && h("span", { class: "bad small" }, `set aside: it ${it.set_aside.message}`),
          ),
          h("td", { class: "number" }, bytes(it.size)),
          h("td", { class: "quiet" }, moment(it.first_seen_at)),
          h("td", { class: "quiet" }, moment(it.last_seen_at)),
        ),
      ),
    ),
  );
}
