// Numbers, times and names formatted for display. Pure functions without access to the DOM.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const FEW = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** 1234567 → "1,234,567". */
export const count = (number) => WHOLE.format(number ?? 0);

/** "1 document", "2 documents". */
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** 1234567 → "1.23 M", for values that change often. */
export function short(number) {
  for (const [size, unit] of [
    [1e9, " G"],
    [1e6, " M"],
    [1e4, " k"],
  ]) {
    if (number >= size) return FEW.format(number / (size === 1e4 ? 1e3 : size)) + unit;
  }
  return number < 100 && number % 1 ? FEW.format(number) : WHOLE.format(number);
}

/** Bytes with binary units. */
export function bytes(number) {
  for (const [size, unit] of [
    [2 ** 40, "TiB"],
    [2 ** 30, "GiB"],
    [2 ** 20, "MiB"],
    [2 ** 10, "KiB"],
  ]) {
    if (number >= size) return `${FEW.format(number / size)} ${unit}`;
  }
  return `${WHOLE.format(number ?? 0)} B`;
}

/** Seconds → "1 h 02 min", "3 min 05 s", "4.2 s", "38 ms". */
export function duration(seconds) {
  if (seconds === undefined || seconds === null || !Number.isFinite(seconds)) return "–";
  if (seconds < 0.9995) return `${WHOLE.format(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${seconds < 10 ? seconds.toFixed(1) : WHOLE.format(seconds)} s`;
  const whole = Math.round(seconds);
  const pad = (number) => String(number).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`;
}

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** A date. */
export const day = (instant) => (instant ? DAY.format(new Date(instant)) : "–");

/** A date and a time. */
export const moment = (instant) => (instant ? MOMENT.format(new Date(instant)) : "–");

/** "4 minutes ago". */
export function ago(instant, now = Date.now()) {
  if (!instant) return "–";
  const seconds = Math.round((now - new Date(instant).getTime()) / 1000);
  if (Math.abs(seconds) < 5) return "just now";
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  for (const [size, unit] of [
    [31536000, "year"],
    [2592000, "month"],
    [86400, "day"],
    [3600, "hour"],
    [60, "minute"],
  ]) {
    if (Math.abs(seconds) >= size) return words.format(-Math.round(seconds / size), unit);
  }
  return words.format(-seconds, "second");
}

/** A share between 0 and 1 in percent. */
export const percent = (share) => `${Math.round((share ?? 0) * 100)} %`;

/** The path of a URI, percent-decoded where possible. */
export function pathOf(uri) {
  const path = (uri ?? "").replace(/^file:\/\//, "");
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** The last component of a path. */
export const nameOf = (uri) => pathOf(uri).split("/").filter(Boolean).pop() ?? pathOf(uri);

/** The last components of a path. */
export function shortPath(uri) {
  const parts = pathOf(uri).split("/").filter(Boolean);
  return parts.length > 3 ? ["…", ...parts.slice(-3)].join("/") : parts.join("/");
}

const KINDS = {
  "text/html": "HTML",
  "application/xhtml+xml": "HTML",
  "text/asciidoc": "AsciiDoc",
  "text/css": "CSS",
  "text/javascript": "JavaScript",
  "text/tab-separated-values": "TSV",
  "text/x-c": "C or C++",
  "text/x-go": "Go",
  "text/x-java": "Java",
  "text/x-perl": "Perl",
  "text/x-python": "Python",
  "text/x-rst": "reStructuredText",
  "text/x-rust": "Rust",
  "text/x-shellscript": "Shell script",
  "text/x-tex": "TeX",
  "text/x-typescript": "TypeScript",
  "application/gzip": "Gzip archive",
  "application/zip": "ZIP archive",
  "application/jsonl": "JSON Lines",
  "application/octet-stream": "Binary",
  "application/sql": "SQL",
  "application/toml": "TOML",
  "application/yaml": "YAML",
  "application/msword": "DOC",
  "application/vnd.ms-excel": "XLS",
  "application/vnd.ms-powerpoint": "PPT",
  "application/vnd.oasis.opendocument.presentation": "ODP",
  "application/vnd.oasis.opendocument.spreadsheet": "ODS",
  "text/rtf": "RTF",
  "image/gif": "GIF",
  "image/jpeg": "JPEG",
  "image/png": "PNG",
  "image/svg+xml": "SVG",
  "image/tiff": "TIFF",
  "image/webp": "WebP",
  "text/markdown": "Markdown",
  "text/plain": "Text",
  "application/pdf": "PDF",
  "text/troff": "Manual page",
  "text/csv": "CSV",
  "application/json": "JSON",
  "application/xml": "XML",
  "text/xml": "XML",
  "application/epub+zip": "EPUB",
  "application/rtf": "RTF",
  "message/rfc822": "Mail",
  "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "DOCX",
  "application/vnd.openxmlformats-officedocument.presentationml.presentation": "PPTX",
  "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "XLSX",
  "application/vnd.oasis.opendocument.text": "ODT",
};

/** A short name for a media type. */
export const kindOf = (mime) => KINDS[mime] ?? mime?.replace(/^(text|application)\/(x-)?/, "") ?? "–";

let languages;
/** The name of a language from its code. */
export function languageOf(code) {
  try {
    languages ??= new Intl.DisplayNames("en", { type: "language" });
    return languages.of(code) ?? code;
  } catch {
    return code;
  }
}
