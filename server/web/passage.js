// The text of a passage: matched words are marked, long texts are shortened around them, and the
// overlap of adjacent chunks is shown once. The API counts characters in highlights and UTF-8 bytes
// in documents, JavaScript counts UTF-16 units; only this file converts them.

import { h, icon } from "./dom.js";

/** UTF-8 length of a character in bytes. */
function width(code) {
  if (code < 0x80) return 1;
  if (code < 0x800) return 2;
  return code < 0x10000 ? 3 : 4;
}

/**
 * Converts ascending offsets to UTF-16 indices. `size` gives the offset units per character. An
 * offset inside a character maps to its start.
 */
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

/**
 * Converts highlights from character offsets to UTF-16 ranges. Empty and overlapping ranges are
 * dropped.
 */
export function marksOf(text, highlights) {
  const sorted = [...(highlights ?? [])]
    .sort(([a], [b]) => a - b)
    .filter(([start, end], i, all) => end > start && (i === 0 || start >= all[i - 1][1]));
  const flat = places(text, sorted.flat(), () => 1);
  return sorted.map((_, i) => [flat[2 * i], flat[2 * i + 1]]);
}

/**
 * Replaces line breaks of hard-wrapped text with spaces: breaks after a long line that continues
 * with a letter. Offsets do not change.
 */
export const flowing = (text) => text.replace(/(?<=[^\n]{60})\n(?=[\p{L}(“‘"'`])/gu, " ");

/** A range of a text, with `<mark>` around the given ranges. */
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

/** The range of at most `length` characters with the most marks, cut at word boundaries. */
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

/** A passage in a list: a few lines around the matches. */
export function snippet(text, marks, length = 340) {
  const [from, to] = window(text, marks, length);
  const tidy = (it) => it.replace(/\s+/g, " ");
  return [from > 0 && "… ", marked(text, marks, from, to, tidy), to < text.length && " …"];
}

/**
 * Adjacent chunks without their overlap: `{ chunk, from, to }` with the range of each to show. The
 * chunk with index `whole` is shown completely; its neighbours are shortened instead. A repeated
 * table header is shown in the first chunk only.
 */
export function unrolled(chunks, whole) {
  const kept = chunks.find((chunk) => chunk.index === whole);
  let end = -1;
  return chunks.map((chunk, i) => {
    const isKept = chunk === kept;
    const begins = isKept ? chunk.start : Math.max(chunk.start, Math.min(end, chunk.end));
    const ends = kept && chunk.index < whole ? Math.max(begins, Math.min(chunk.end, kept.start)) : chunk.end;
    end = Math.max(end, ends);
    // Text that differs from the document (such as normalized text) cannot be cut by document
    // offsets.
    const header = headerBytes(chunk);
    if (header < 0) return { chunk, from: 0, to: chunk.text.length };
    const [from, to] = places(chunk.text, [begins, ends].map((at) => header + at - chunk.start));
    return { chunk, from: i === 0 ? 0 : from, to };
  });
}

/** "Book > Chapter > Section" with arrow icons. */
export function headingPath(headings) {
  const parts = Array.isArray(headings) ? headings : headings.split(" > ");
  return parts.flatMap((part, i) => [i > 0 && icon("right", 11), h("span", {}, part)]);
}

/** The marks of a hit in one of its chunks, as ranges of the text of the chunk. */
export function marksIn(chunk, hit) {
  if (hit.chunks.length === 1) return hit.marks;
  const offset = headerBytes(hit) - hit.start;
  const [from, to] = places(hit.text, [chunk.start + offset, chunk.end + offset]);
  const [own] = places(chunk.text, [headerBytes(chunk)]);
  return hit.marks
    .filter(([a, b]) => a >= from && b <= to)
    .map(([a, b]) => [a - from + own, b - from + own]);
}

/**
 * Chunks of a document as continuous text, with pages and headings where they change. The chunks of
 * a hit, if any, are emphasised and have its marks.
 */
export function drawText(chunks, { hit } = {}) {
  let headings = "";
  let page = null;
  const drawn = unrolled(chunks, hit?.chunk).map(({ chunk, from, to }) => {
    const above = [];
    if (chunk.page && chunk.page !== page) above.push(h("p", { class: "page-mark" }, `Page ${chunk.page}`));
    if (chunk.headings && String(chunk.headings) !== headings)
      above.push(h("p", { class: "headings" }, headingPath(chunk.headings)));
    page = chunk.page ?? page;
    headings = String(chunk.headings || headings);
    const isFocal = hit?.chunks.includes(chunk.index);
    return [
      above,
      h(
        "div",
        { class: isFocal ? "chunk focal" : "chunk", data: { index: chunk.index } },
        marked(flowing(chunk.text), isFocal ? marksIn(chunk, hit) : [], from, to),
      ),
    ];
  });
  return h("div", { class: "text" }, drawn);
}

const encoder = new TextEncoder();

/**
 * Length of the table header that a chunk repeats before its own text; negative if the text differs
 * from the document.
 */
const headerBytes = ({ text, start, end }) => encoder.encode(text).length - (end - start);
