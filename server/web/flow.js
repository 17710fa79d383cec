// Rates and time shares between two samples of an operation, computed from monotonic counters. No
// DOM here; `nodes.js` and `throughput.js` draw it.

/** Seconds of history kept. */
export const KEPT = 300;
/**
 * Window of a rate in seconds: a shorter one fluctuates with every batch, a longer one reacts late.
 */
const OVER = 15;

const left = (progress) => Object.values(progress.outcomes ?? {}).reduce((sum, it) => sum + it, 0);
const THERE = new Set(["stored", "unchanged", "duplicate"]);

/** Documents with any outcome but stored, unchanged or duplicate. */
export const setAside = (progress) =>
  Object.entries(progress.outcomes ?? {})
    .filter(([word]) => !THERE.has(word))
    .reduce((sum, [, many]) => sum + many, 0);

/** Documents with an outcome. */
export const leftOf = left;

/** Share of documents with an outcome; unknown while sources may produce more. */
export const shareOf = (progress) =>
  progress?.all_seen && progress.seen > 0 ? left(progress) / progress.seen : undefined;

/** The progress of a run as text; `format` formats a number. */
export const farOf = (progress, format) =>
  `${format(left(progress))} of ${format(progress.seen)} documents${progress.all_seen ? "" : " seen so far"}`;

/** Times as shares of their sum, or all 0. */
export function sharesOf({ busy, starved, blocked }) {
  const all = busy + starved + blocked || 1;
  return { busy: busy / all, starved: starved / all, blocked: blocked / all };
}

/** Documents that a node has processed; a source has no input. */
export const doneOf = (node) => Math.max(node.rows_in - node.rows_under_way, node.rows_out);

/** The samples of one operation, in order. */
export class Flow {
  constructor() {
    this.looks = [];
  }

  /** Adds the sample of an event; returns `false` if it has nothing new. */
  push(progress) {
    if (!progress) return false;
    const last = this.looks.at(-1);
    if (last && progress.elapsed_seconds === last.elapsed_seconds) return false;
    // Another worker has taken over, and its counters start at zero.
    if (last && progress.elapsed_seconds < last.elapsed_seconds) this.looks = [];
    this.looks.push(progress);
    while (this.looks[0].elapsed_seconds < progress.elapsed_seconds - KEPT) this.looks.shift();
    return true;
  }

  get now() {
    return this.looks.at(-1);
  }

  /** The sample from which rates at sample `i` are computed. */
  before(i) {
    const at = this.looks[i].elapsed_seconds;
    let j = i;
    while (j > 0 && at - this.looks[j].elapsed_seconds < OVER) j--;
    return this.looks[j];
  }

  /** `[seconds, rate per second]` of a counter at each sample but the first. */
  rate(of) {
    return this.looks.slice(1).map((look, i) => [look.elapsed_seconds, this.rateAt(i + 1, of)]);
  }

  /** The rate at sample `i` > 0. */
  rateAt(i, of) {
    const [look, before] = [this.looks[i], this.before(i)];
    return Math.max(0, of(look) - of(before)) / (look.elapsed_seconds - before.elapsed_seconds);
  }

  /** The current rate; since the start if there is only one sample. */
  rateNow(of) {
    const now = this.now;
    if (!now) return 0;
    if (this.looks.length < 2) return now.elapsed_seconds > 0 ? of(now) / now.elapsed_seconds : 0;
    return this.rateAt(this.looks.length - 1, of);
  }

  /** `[seconds, value]` of a gauge. */
  level(of) {
    return this.looks.map((look) => [look.elapsed_seconds, of(look)]);
  }

  /**
   * Shares of the time of a node in the window before sample `i`: `{ busy, starved, blocked }`,
   * with sum 1 or all 0.
   */
  shares(id, i = this.looks.length - 1) {
    const of = (look) => look.nodes?.find((it) => it.id === id);
    const now = of(this.looks[i]);
    const before = i > 0 ? of(this.before(i)) : undefined;
    const since = (key) => Math.max(0, (now?.[key] ?? 0) - (before?.[key] ?? 0));
    const times = { busy: since("busy"), starved: since("starved"), blocked: since("blocked") };
    // A wait is counted when it ends. A node that has input and is not busy waits for the nodes
    // after it.
    const isWaiting = now && !now.ended && times.busy + times.starved + times.blocked === 0;
    return sharesOf(isWaiting ? { ...times, [now.queue_bytes > 0 ? "blocked" : "starved"]: 1 } : times);
  }

  /** The shares at each sample, for a drawing. */
  sharesOverTime(id) {
    return this.looks.slice(1).map((look, i) => [look.elapsed_seconds, this.shares(id, i + 1)]);
  }
}
