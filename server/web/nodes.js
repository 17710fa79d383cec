// The nodes of an operation: time shares, counts, queue sizes and the bottleneck.

import { h, fillTable, table } from "./dom.js";
import { bytes, count, percent, short } from "./format.js";
import { doneOf, sharesOf } from "./flow.js";
import { shareLine, spanOf } from "./chart.js";

/** Seconds on the time axis of the small charts. */
const SHOWN = 120;

const HEADS = [
  "Node",
  "Time",
  ["Time over the last minutes", "wide unseen"],
  ["Documents", "number"],
  ["Per second", "number"],
  ["Queue", "number"],
];

export class Nodes {
  constructor() {
    const drawing = table("Nodes", HEADS, []);
    this.rows = drawing.querySelector("tbody");
    this.element = h(
      "div",
      { class: "nodes" },
      drawing,
      h(
        "p",
        { class: "legend" },
        h("span", { class: "key busy" }, "busy"),
        h("span", { class: "key blocked" }, "blocked by later nodes"),
        h("span", { class: "key" }, "waiting for input"),
      ),
    );
  }

  /** Draws the current state; `live` is `true` while the operation runs. */
  draw(flow, live) {
    const now = flow.now;
    fillTable(
      this.rows,
      HEADS,
      (now?.nodes ?? []).map((node) => {
        // For an ended node or operation, the shares of the whole run.
        const moves = live && !node.ended;
        const shares = moves ? flow.shares(node.id) : sharesOf(node);
        const holds = live && now.holder === node.id;
        const over = live && flow.sharesOverTime(node.id);
        const done = (look) =>
          doneOf(look.nodes?.find((it) => it.id === node.id) ?? { rows_in: 0, rows_under_way: 0, rows_out: 0 });
        return h(
          "tr",
          { class: holds ? "holder" : "" },
          h(
            "th",
            { scope: "row" },
            node.id,
            holds && h("span", { class: "tag accent" }, "bottleneck"),
            live && node.ended && h("span", { class: "tag" }, "done"),
          ),
          h("td", {}, bar(shares), h("span", { class: "share-words number" }, words(shares))),
          h("td", { class: "wide" }, over && shareLine(over, spanOf(over, SHOWN))),
          h(
            "td",
            { class: "number" },
            count(done(now)),
            node.rows_under_way > 0 && h("span", { class: "quiet" }, ` +${count(node.rows_under_way)}`),
          ),
          h("td", { class: "number" }, moves ? short(flow.rateNow(done)) : "–"),
          h("td", { class: "number" }, node.queue_bytes > 0 ? bytes(node.queue_bytes) : "–"),
        );
      }),
    );
  }
}

/** The largest share as text. */
function words(shares) {
  const [name, share] = Object.entries(shares).reduce((a, b) => (b[1] > a[1] ? b : a));
  if (!share) return "–";
  return `${percent(share)} ${name === "starved" ? "waiting" : name}`;
}

function bar(shares) {
  const part = (name) => {
    const it = h("span", { class: name });
    it.style.setProperty("inline-size", `${shares[name] * 100}%`);
    return it;
  };
  return h("span", { class: "share-bar", "aria-hidden": "true" }, part("busy"), part("blocked"));
}
