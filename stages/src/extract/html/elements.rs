//! Elements by their treatment, and the metadata that `meta` elements contain.

/// Elements whose content is ignored.
pub(super) const IGNORED_ELEMENTS: &[&str] = &[
    "button", "datalist", "iframe", "noscript", "object", "script", "select", "style", "svg",
    "template",
];

/// Elements without an end tag.
pub(super) const VOID_ELEMENTS: &[&str] = &[
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
];

/// Elements that are separated from the content before and after them.
pub(super) const BLOCK_ELEMENTS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "center",
    "details",
    "dl",
    "fieldset",
    "figure",
    "footer",
    "form",
    "header",
    "hr",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "ul",
];

/// Elements that begin a line.
pub(super) const LINE_ELEMENTS: &[&str] = &[
    "body",
    "caption",
    "dd",
    "div",
    "dt",
    "figcaption",
    "legend",
    "li",
    "option",
    "summary",
    "tr",
];

/// Names of `meta` elements with their metadata keys.
pub(super) const META_KEYS: &[(&str, &str)] = &[
    ("article:author", "author"),
    ("article:modified_time", "modified"),
    ("article:published_time", "created"),
    ("author", "author"),
    ("date", "created"),
    ("dc.creator", "author"),
    ("dc.date", "created"),
    ("dc.description", "description"),
    ("dcterms.created", "created"),
    ("dcterms.modified", "modified"),
    ("description", "description"),
    ("generator", "generator"),
    ("keywords", "keywords"),
    ("last-modified", "modified"),
    ("og:description", "description"),
];
