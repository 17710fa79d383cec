// What happens between two looks at an operation: rates and shares of time, from counters that only grow. No page in
// here; `nodes.js` and `throughput.js` draw it.

/** Seconds of history that are kept. */
export const KEPT = 300;
/** Seconds over which a rate is taken: shorter jumps with every batch, longer hides what happens. */
const OVER = 15;

const left = (progress) => Object.values(progress.outcomes ?? {}).reduce((sum, it) => sum + it, 0);
const THERE = new Set(["stored", "unchanged", "duplicate"]);

/** Documents set aside for any reason but being there already. */
export const setAside = (progress) =>
  Object.entries(progress.outcomes ?? {})
    .filter(([word]) => !THERE.has(word))
    .reduce((sum, [, many]) => sum + many, 0);

/** Documents that have left. */
export const leftOf = left;

/** The share of the documents that have left; unknown while the sources may give more. */
export const shareOf = (progress) =>
  progress?.all_seen && progress.seen > 0 ? left(progress) / progress.seen : undefined;

/** How far a run is, in words; `format` writes a number. */
export const farOf = (progress, format) =>
  `${format(left(progress))} of ${format(progress.seen)} documents${progress.all_seen ? "" : " seen so far"}`;

/** Times as shares of their sum, or all 0. */
export function sharesOf({ busy, starved, blocked }) {
  const all = busy + starved + blocked || 1;
  return { busy: busy / all, starved: starved / all, blocked: blocked / all };
}

/** Documents that a node is done with; a source is given none. */
export const doneOf = (node) => Math.max(node.rows_in - node.rows_under_way, node.rows_out);

/** The looks at one operation, as they come. */
export class Flow {
  constructor() {
    this.looks = [];
  }

  /** Takes what an event says; says whether there is anything new in it. */
  push(progress) {
    if (!progress) return false;
    const last = this.looks.at(-1);
    if (last && progress.elapsed_seconds === last.elapsed_seconds) return false;
    // Another worker has taken over, and began to count anew.
    if (last && progress.elapsed_seconds < last.elapsed_seconds) this.looks = [];
    this.looks.push(progress);
    while (this.looks[0].elapsed_seconds < progress.elapsed_seconds - KEPT) this.looks.shift();
    return true;
  }

  get now() {
    return this.looks.at(-1);
  }

  /** The look that rates at look `i` are taken from. */
  before(i) {
    const at = this.looks[i].elapsed_seconds;
    let j = i;
    while (j > 0 && at - this.looks[j].elapsed_seconds < OVER) j--;
    return this.looks[j];
  }

  /** `[seconds, a second]` of something that grows, at each look but the first. */
  rate(of) {
    return this.looks.slice(1).map((look, i) => [look.elapsed_seconds, this.rateAt(i + 1, of)]);
  }

  /** The rate at look `i`, which is not the first. */
  rateAt(i, of) {
    const [look, before] = [this.looks[i], this.before(i)];
    return Math.max(0, of(look) - of(before)) / (look.elapsed_seconds - before.elapsed_seconds);
  }

  /** A rate as it is now. From the beginning on where there was one look only. */
  rateNow(of) {
    const now = this.now;
    if (!now) return 0;
    if (this.looks.length < 2) return now.elapsed_seconds > 0 ? of(now) / now.elapsed_seconds : 0;
    return this.rateAt(this.looks.length - 1, of);
  }

  /** `[seconds, value]` of something that goes up and down. */
  level(of) {
    return this.looks.map((look) => [look.elapsed_seconds, of(look)]);
  }

  /** The shares of a node's time since shortly before look `i`: `{ busy, starved, blocked }`, which sum to 1 or are all 0. */
  shares(id, i = this.looks.length - 1) {
    const of = (look) => look.nodes?.find((it) => it.id === id);
    const now = of(this.looks[i]);
    const before = i > 0 ? of(this.before(i)) : undefined;
    const since = (key) => Math.max(0, (now?.[key] ?? 0) - (before?.[key] ?? 0));
    const times = { busy: since("busy"), starved: since("starved"), blocked: since("blocked") };
    // A wait is counted when it ends. Who has input and does not work on it waits for the nodes behind.
    const isWaiting = now && !now.ended && times.busy + times.starved + times.blocked === 0;
    return sharesOf(isWaiting ? { ...times, [now.queue_bytes > 0 ? "blocked" : "starved"]: 1 } : times);
  }

  /** The shares at each look, for a drawing. */
  sharesOverTime(id) {
    return this.looks.slice(1).map((look, i) => [look.elapsed_seconds, this.shares(id, i + 1)]);
  }
}
