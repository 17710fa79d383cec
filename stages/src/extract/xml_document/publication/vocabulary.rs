//! The elements of DocBook, TEI, JATS and DITA by their treatment. The vocabularies share one
//! table, since elements of the same name mean the same; where they differ, the parents decide.

use quick_xml::events::BytesStart;

use crate::extract::xml_document::events::attribute;

/// Outermost elements of publications.
const ROOTS: &[&str] = &[
    "TEI",
    "TEI.2",
    "appendix",
    "article",
    "bibliography",
    "book",
    "chapter",
    "concept",
    "glossary",
    "part",
    "preface",
    "refentry",
    "reference",
    "refsect1",
    "sect1",
    "sect2",
    "section",
    "set",
    "task",
    "teiCorpus",
    "topic",
];

/// Paragraphs of the vocabularies, one of which a publication contains.
const PARAGRAPHS: [&str; 5] = ["<p ", "<p>", "<para ", "<para>", "<simpara>"];

/// Elements that may have a title as a heading, and count as a level of nesting.
const SECTIONS: &[&str] = &[
    "abstract",
    "appendix",
    "article",
    "bibliography",
    "book",
    "chapter",
    "concept",
    "div",
    "div1",
    "div2",
    "div3",
    "glossary",
    "part",
    "preface",
    "refentry",
    "reference",
    "refsect1",
    "refsect2",
    "refsect3",
    "refsection",
    "sec",
    "sect1",
    "sect2",
    "sect3",
    "sect4",
    "sect5",
    "section",
    "set",
    "simplesect",
    "task",
    "topic",
];

/// Elements with metadata.
const INFO: &[&str] = &[
    "appendixinfo",
    "article-meta",
    "articleinfo",
    "bookinfo",
    "chapterinfo",
    "info",
    "journal-meta",
    "prolog",
    "refentryinfo",
    "sectioninfo",
    "setinfo",
    "teiHeader",
];

const BLOCKS: &[&str] = &[
    "ab",
    "bibl",
    "bibliomixed",
    "blockquote",
    "caption",
    "caution",
    "cmdsynopsis",
    "disp-formula",
    "dt",
    "epigraph",
    "example",
    "figure",
    "fn",
    "formalpara",
    "important",
    "informaltable",
    "itemizedlist",
    "lg",
    "list",
    "note",
    "orderedlist",
    "p",
    "para",
    "quote",
    "refname",
    "refpurpose",
    "shortdesc",
    "simpara",
    "sp",
    "table",
    "term",
    "tip",
    "variablelist",
    "warning",
];

const LINES: &[&str] =
    &["dd", "def", "l", "lb", "member", "mixed-citation", "row", "simplelist", "tr"];

/// Elements whose white space counts.
const VERBATIM: &[&str] =
    &["codeblock", "eg", "literallayout", "preformat", "programlisting", "screen", "synopsis"];

const ITEMS: &[&str] = &["callout", "item", "li", "list-item", "listitem"];

const CELLS: &[&str] = &["cell", "entry", "td", "th"];

const NOTES: &[&str] = &["fn", "footnote", "note"];

const QUOTES: &[&str] = &["q", "quote"];

/// Elements that are left out. Formulas have alternatives, of which the TeX source is read.
const IGNORED: &[&str] = &["comment", "draft-comment", "index", "indexterm", "remark"];

/// `true` if a document with this outermost element is a publication.
pub(in crate::extract::xml_document) fn is_likely(root: &str, xml: &str) -> bool {
    ROOTS.contains(&root) && PARAGRAPHS.iter().any(|paragraph| xml.contains(paragraph))
}

/// The treatment of an element.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Role {
    Section,
    Info,
    /// The title of a section.
    Heading,
    Block,
    Line,
    Verbatim,
    Item,
    Cell,
    /// A footnote within a paragraph.
    Note,
    /// Quoted words within a paragraph.
    Quote,
    Ignored,
    Inline,
}

/// The role of an element; `parents` are the names of the open elements.
pub(super) fn role(element: &BytesStart<'_>, parents: &[&str]) -> Role {
    let name = element.local_name();
    let name = name.as_ref();
    let is_in = |names: &[&str]| parents.iter().any(|parent| names.contains(parent));
    let in_paragraph = is_in(&["p", "para", "simpara"]);
    let parent = parents.last().copied().unwrap_or_default();
    if IGNORED.contains(&name) || name == "math" && parent == "alternatives" {
        Role::Ignored
    } else if INFO.contains(&name) {
        Role::Info
    } else if is_title(name) {
        let of_section =
            SECTIONS.contains(&parent) || INFO.contains(&parent) || parent == "title-group";
        if of_section { Role::Heading } else { Role::Block }
    } else if SECTIONS.contains(&name) {
        Role::Section
    } else if is_verbatim(element, name) {
        Role::Verbatim
    } else if NOTES.contains(&name) && (in_paragraph || name == "footnote") {
        Role::Note
    } else if QUOTES.contains(&name) && in_paragraph {
        Role::Quote
    } else if ITEMS.contains(&name) {
        Role::Item
    } else if CELLS.contains(&name) {
        Role::Cell
    } else if LINES.contains(&name) {
        Role::Line
    } else if BLOCKS.contains(&name) {
        Role::Block
    } else {
        Role::Inline
    }
}

/// `true` for listings, also in the elements that other text may have.
fn is_verbatim(element: &BytesStart<'_>, name: &str) -> bool {
    let is_listing = match name {
        "ab" => attribute(element, "type").is_some_and(|kind| kind.starts_with("code")),
        "code" => attribute(element, "language").is_some(),
        _ => false,
    };
    is_listing || VERBATIM.contains(&name)
}

pub(super) fn is_title(name: &str) -> bool {
    matches!(name, "title" | "head" | "article-title" | "refentrytitle")
}

/// `true` for elements of the metadata whose text is a value.
pub(super) fn is_value(name: &str) -> bool {
    matches!(name, "author" | "contrib" | "editor" | "date" | "pubdate") || is_title(name)
}
