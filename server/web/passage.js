// The text of a passage on the page: words that matched are marked, long ones are cut around them, and neighbours
// that overlap are shown without saying the same twice. The API counts characters in highlights and bytes of UTF-8
// in documents, JavaScript units of UTF-16; the steps between them are here and nowhere else.

import { h, icon } from "./dom.js";

/** Bytes of a character in UTF-8. */
function width(code) {
  if (code < 0x80) return 1;
  if (code < 0x800) return 2;
  return code < 0x10000 ? 3 : 4;
}

/** Places in a text for offsets that ascend, in its bytes or whatever `size` says of a character. One within a character means its beginning. */
export function places(text, offsets, size = width) {
  const found = [];
  let counted = 0;
  let place = 0;
  for (const offset of offsets) {
    while (place < text.length) {
      const code = text.codePointAt(place);
      if (counted + size(code) > offset) break;
      counted += size(code);
      place += code > 0xffff ? 2 : 1;
    }
    found.push(place);
  }
  return found;
}

/** Where the words of a question are: ranges that the API counts in characters, as ranges of the text. Empty and overlapping ones are left out. */
export function marksOf(text, highlights) {
  const sorted = [...(highlights ?? [])]
    .sort(([a], [b]) => a - b)
    .filter(([start, end], i, all) => end > start && (i === 0 || start >= all[i - 1][1]));
  const flat = places(text, sorted.flat(), () => 1);
  return sorted.map((_, i) => [flat[2 * i], flat[2 * i + 1]]);
}

/**
 * A text without the ends of lines that only kept them short: such a line is long, and goes on with a letter. Each is
 * made a space, so that places in the text stay what they are.
 */
export const flowing = (text) => text.replace(/(?<=[^\n]{60})\n(?=[\p{L}(“‘"'`])/gu, " ");

/** A stretch of a text, with `<mark>` around what is in the ranges. */
export function marked(text, marks, from = 0, to = text.length, tidy = (it) => it) {
  const parts = [];
  let at = from;
  for (const [start, end] of marks) {
    if (end <= from || start >= to) continue;
    if (start > at) parts.push(tidy(text.slice(at, start)));
    parts.push(h("mark", {}, tidy(text.slice(Math.max(start, from), Math.min(end, to)))));
    at = Math.min(end, to);
  }
  if (at < to) parts.push(tidy(text.slice(at, to)));
  return parts;
}

/** Where to cut a text so that as many marks as can be are within `length` characters, at the ends of words. */
export function window(text, marks, length) {
  if (text.length <= length) return [0, text.length];
  let [best, most] = [0, -1];
  for (const [start] of marks) {
    const inside = marks.filter(([a, b]) => a >= start && b <= start + length - 60).length;
    if (inside > most) [best, most] = [start, inside];
  }
  let from = Math.max(0, Math.min(best - 60, text.length - length));
  let to = Math.min(text.length, from + length);
  if (from > 0) from += Math.max(0, text.slice(from, from + 30).search(/\s\S/) + 1);
  if (to < text.length)
    to -= Math.max(
      0,
      [...text.slice(to - 30, to)].reverse().findIndex((it) => /\s/.test(it)),
    );
  return [from, to];
}

/** A passage in a list: a few lines around what matched. */
export function snippet(text, marks, length = 340) {
  const [from, to] = window(text, marks, length);
  const tidy = (it) => it.replace(/\s+/g, " ");
  return [from > 0 && "… ", marked(text, marks, from, to, tidy), to < text.length && " …"];
}

/**
 * Chunks that follow each other as one text that says nothing twice: `{ chunk, from, to }`, what to show of each. The
 * chunk of index `whole` is shown whole; what it shares with its neighbours is left out there.
 */
export function unrolled(chunks, whole) {
  const kept = chunks.find((chunk) => chunk.index === whole);
  let end = -1;
  return chunks.map((chunk) => {
    const isKept = chunk === kept;
    const begins = isKept ? chunk.start : Math.max(chunk.start, Math.min(end, chunk.end));
    const ends = kept && chunk.index < whole ? Math.max(begins, Math.min(chunk.end, kept.start)) : chunk.end;
    end = Math.max(end, ends);
    // Text that is not the document's own letter for letter cannot be cut by the document's offsets.
    if (chunk.end - chunk.start !== bytesOf(chunk.text)) return { chunk, from: 0, to: chunk.text.length };
    const [from, to] = places(chunk.text, [begins - chunk.start, ends - chunk.start]);
    return { chunk, from, to };
  });
}

/** "Book > Chapter > Section" with arrows between. */
export function headingPath(headings) {
  const parts = Array.isArray(headings) ? headings : headings.split(" > ");
  return parts.flatMap((part, i) => [i > 0 && icon("right", 11), h("span", {}, part)]);
}

/**
 * Chunks of a document as its text, with pages and headings where they change. The chunk of index `focal`, if there is
 * one, stands out and has the marks.
 */
export function drawText(chunks, { focal, marks = [] } = {}) {
  let headings = "";
  let page = null;
  const drawn = unrolled(chunks, focal).map(({ chunk, from, to }) => {
    const above = [];
    if (chunk.page && chunk.page !== page) above.push(h("p", { class: "page-mark" }, `Page ${chunk.page}`));
    if (chunk.headings && String(chunk.headings) !== headings)
      above.push(h("p", { class: "headings" }, headingPath(chunk.headings)));
    page = chunk.page ?? page;
    headings = String(chunk.headings || headings);
    const isFocal = chunk.index === focal;
    return [
      above,
      h(
        "div",
        { class: isFocal ? "chunk focal" : "chunk", data: { index: chunk.index } },
        marked(flowing(chunk.text), isFocal ? marks : [], from, to),
      ),
    ];
  });
  return h("div", { class: "text" }, drawn);
}

const encoder = new TextEncoder();
const bytesOf = (text) => encoder.encode(text).length;
