// One operation, live: progress, nodes, bottleneck, rejections and a button to stop it. After its
// end, the same page shows the result.

import { h, put, icon, announce, confirm, figures, problemBox, toast } from "./dom.js";
import * as api from "./api.js";
import { count, counted, duration, moment, nameOf, pathOf, short } from "./format.js";
import { Flow, leftOf, setAside } from "./flow.js";
import { Nodes } from "./nodes.js";
import { isOver, lasted, pill, whatOf } from "./operations.js";

const OUTCOMES = [
  ["stored", "stored"],
  ["unchanged", "unchanged"],
  ["duplicate", "duplicate"],
];

/**
 * Documents of a run by outcome, as a bar with numbers. `outcomes` by name; `seen` may be larger
 * than their sum.
 */
export function outcomeBar(outcomes, seen) {
  const aside = Object.entries(outcomes).filter(([word]) => !OUTCOMES.some(([known]) => known === word));
  const parts = [
    ...OUTCOMES.map(([word, words]) => [word, words, outcomes[word] ?? 0]),
    ["aside", "set aside", aside.reduce((sum, [, many]) => sum + many, 0)],
  ];
  const left = parts.reduce((sum, [, , many]) => sum + many, 0);
  const all = Math.max(seen, left, 1);
  const bar = h(
    "div",
    { class: "outcome-bar", "aria-hidden": "true" },
    parts.map(([word, , many]) => {
      const part = h("span", { class: word });
      part.style.setProperty("inline-size", `${(many / all) * 100}%`);
      return part;
    }),
  );
  const reasons = aside.map(([word, many]) => `${count(many)} ${word.replaceAll("_", " ")}`).join(", ");
  return h(
    "div",
    { class: "outcomes" },
    bar,
    h(
      "ul",
      {},
      parts
        .filter(([word, , many]) => many > 0 || word === "stored")
        .map(([word, words, many]) =>
          h(
            "li",
            { class: word, title: word === "aside" ? reasons : undefined },
            h("strong", { class: "number" }, count(many)),
            ` ${words}`,
          ),
        ),
      seen > left && h("li", {}, h("strong", { class: "number" }, count(seen - left)), " in progress"),
    ),
  );
}

export async function show({ parameters, signal }) {
  const view = new OperationView(parameters.operation, signal);
  view.take(await api.get(`/operations/${encodeURIComponent(parameters.operation)}`, {}, signal));
  view.follow();
  return view;
}

class OperationView {
  constructor(id, signal) {
    Object.assign(this, { id, signal, flow: new Flow(), nodes: new Nodes() });
    this.head = h("header", { class: "page-head" });
    this.figures = h("div");
    this.outcomes = h("div");
    this.feed = h("section", { class: "feed", "aria-label": "Set aside" });
    this.note = h("div");
    this.flowSection = h("section", { "aria-label": "Flow" }, h("h2", {}, "Nodes"), this.nodes.element);
    this.element = h(
      "div",
      { class: "page" },
      this.head,
      this.note,
      this.figures,
      this.outcomes,
      this.flowSection,
      this.feed,
    );
  }

  get title() {
    return `${whatOf(this.operation)} of ${this.operation.collection}`;
  }

  dispose() {
    clearInterval(this.clock);
  }

  take(operation) {
    const before = this.operation;
    this.operation = operation;
    this.flow.push(operation.progress);
    if (before && before.status !== operation.status) announce(`The operation is ${operation.status}`);
    if (before?.status !== operation.status || before.type !== operation.type) this.drawHead();
    this.draw();
  }

  async follow() {
    if (isOver(this.operation)) return;
    this.clock = setInterval(() => this.drawFigures(), 1000);
    try {
      for await (const { event, data } of api.events(`/operations/${this.id}/events`, this.signal)) {
        if (event === "lost") {
          put(this.note, h("p", { class: "quiet" }, "Connection lost; reconnecting."));
          continue;
        }
        put(this.note);
        if (event === "gone") {
          put(this.note, h("p", { class: "quiet" }, "The operation was deleted with its collection."));
          break;
        }
        if (event !== "operation") continue;
        this.take(data);
        if (isOver(data)) break;
      }
    } catch (error) {
      if (!api.isAborted(error)) put(this.note, problemBox(error));
    } finally {
      clearInterval(this.clock);
      this.drawFigures();
    }
  }

  drawHead() {
    const it = this.operation;
    const stop =
      !isOver(it) &&
      h("button", { class: "button", type: "button", onclick: () => this.cancel() }, icon("stop", 15), "Stop");
    const asked = Object.entries(it.config ?? {})
      .filter(([, value]) => value === true)
      .map(([key]) => key.replaceAll("_", " "));
    put(
      this.head,
      h(
        "p",
        { class: "crumbs" },
        h("a", { href: "/operations" }, "Operations"),
        icon("right", 12),
        h("a", { href: `/collections/${it.collection_id}` }, it.collection),
      ),
      h(
        "div",
        { class: "head-row" },
        h("h1", {}, whatOf(it), h("span", { class: "quiet" }, ` of ${it.collection}`)),
        pill(it.status),
        h("span", { class: "space" }),
        stop,
      ),
      h(
        "p",
        { class: "quiet" },
        `Requested by ${it.by} on ${moment(it.created_at)}`,
        asked.length > 0 && ` · ${asked.join(", ")}`,
      ),
      it.error && problemBox({ title: it.status === "cancelled" ? "Cancelled" : "Failed", detail: it.error }),
    );
  }

  draw() {
    const { operation } = this;
    const live = operation.status === "processing";
    const progress = this.flow.now;
    this.drawFigures();
    const report = operation.report?.documents;
    const outcomes = report
      ? {
          stored: report.stored,
          unchanged: report.unchanged,
          duplicate: report.duplicate,
          ...reasonsOf(operation.report),
        }
      : progress?.outcomes;
    put(
      this.outcomes,
      outcomes && outcomeBar(outcomes, report?.seen ?? progress?.seen ?? 0),
      operation.status === "pending" &&
        h("p", { class: "empty" }, "Waiting for a worker and for other operations on the collection."),
    );
    this.flowSection.hidden = !progress?.nodes?.length;
    if (progress) this.nodes.draw(this.flow, live);
    this.drawFeed(operation.report?.set_aside ?? progress?.set_aside ?? [], live);
  }

  drawFigures() {
    const { operation, flow } = this;
    const progress = flow.now;
    const live = operation.status === "processing";
    const report = operation.report;
    const seconds = lasted(operation);
    const documents = report?.documents?.seen ?? (progress ? leftOf(progress) : undefined);
    const tokens = report?.tokens ?? progress?.tokens;
    put(
      this.figures,
      figures([
        [live ? "Running for" : "Took", duration(seconds)],
        // The remaining time is known once the sources have ended.
        live && progress && !progress.all_seen && ["Seen so far", count(progress.seen)],
        live && Number.isFinite(progress?.eta_seconds) && ["Remaining, about", duration(progress.eta_seconds)],
        documents !== undefined && [
          "Documents per second",
          short(live ? flow.rateNow(leftOf) : documents / Math.max(seconds ?? 0, 0.001)),
        ],
        tokens !== undefined && [
          "Tokens per second",
          short(live ? flow.rateNow((look) => look.tokens) : tokens / Math.max(seconds ?? 0, 0.001)),
        ],
        progress && ["Chunks", short(report?.chunks ?? progress.chunks)],
        progress && setAside(progress) > 0 && ["Set aside", count(setAside(progress))],
      ]),
    );
  }

  drawFeed(documents, live) {
    const last = [...documents].reverse().slice(0, 50);
    // Redrawn only after a change, so that a link in it keeps the focus.
    const said = JSON.stringify([live, last]);
    if (said === this.said) return;
    this.said = said;
    this.feed.hidden = !last.length;
    put(
      this.feed,
      h("h2", {}, live ? "Set aside, newest first" : "Set aside"),
      h(
        "ul",
        {},
        last.map((it) =>
          h(
            "li",
            {},
            h(
              "a",
              {
                href: `/collections/${this.operation.collection_id}/documents/${encodeURIComponent(it.uri)}`,
                title: pathOf(it.uri),
              },
              nameOf(it.uri),
            ),
            h("span", { class: "tag" }, it.node),
            h("span", {}, `it ${it.message}`),
          ),
        ),
      ),
      documents.length > 50 && h("p", { class: "quiet" }, `and ${counted(documents.length - 50, "more", "more")}`),
    );
  }

  async cancel() {
    const sure = await confirm({
      title: "Stop this operation?",
      words: "Batches in flight are finished, and stored documents stay. The next update continues from there.",
      action: "Stop operation",
    });
    if (!sure) return;
    try {
      await api.post(`/operations/${this.id}/cancel`);
      toast("Stop requested");
    } catch (error) {
      put(this.note, problemBox(error));
    }
  }
}

function reasonsOf(report) {
  const aside = Object.entries(report.reasons ?? {}).filter(([word]) => word !== "unchanged" && word !== "duplicate");
  return aside.length ? Object.fromEntries(aside) : { set_aside: report.documents.set_aside };
}
