//! The formats with a parser. A new format is one file and one entry of this table, and its media
//! type in `sources/src/mime.rs` if scans do not detect it yet.

use crate::extract::format::Format;
use crate::extract::mail::{eml, mbox, outlook, web_archive};
use crate::extract::xml_document::svg;
use crate::extract::{
    asciidoc, cards, latex, notebook, org, rst, source_code, subtitles, xml_document,
};
use crate::extract::{
    csv, docx, epub, html, markdown, odp, ods, odt, pdf, powerpoint_97, pptx, roff, rtf,
    spreadsheet, text, word_97,
};
use crate::extract::{json, json::lines};

/// All formats.
pub(crate) const FORMATS: &[&Format] = &[
    &text::FORMAT,
    &csv::FORMAT,
    &markdown::FORMAT,
    &html::FORMAT,
    &roff::FORMAT,
    &pdf::FORMAT,
    &docx::FORMAT,
    &spreadsheet::XLSX,
    &spreadsheet::XLSB,
    &spreadsheet::XLS,
    &ods::FORMAT,
    &pptx::FORMAT,
    &odt::FORMAT,
    &odp::FORMAT,
    &epub::FORMAT,
    &rtf::FORMAT,
    &word_97::FORMAT,
    &powerpoint_97::FORMAT,
    &eml::FORMAT,
    &mbox::FORMAT,
    &outlook::FORMAT,
    &web_archive::FORMAT,
    &source_code::FORMAT,
    &json::FORMAT,
    &lines::FORMAT,
    &notebook::FORMAT,
    &xml_document::FORMAT,
    &svg::FORMAT,
    &asciidoc::FORMAT,
    &rst::FORMAT,
    &org::FORMAT,
    &latex::FORMAT,
    &subtitles::FORMAT,
    &cards::FORMAT,
];

/// Formats that are not prose: their parsers decide whether a document has a language.
const WITHOUT_PROSE: [&str; 4] =
    [source_code::FORMAT.name, json::FORMAT.name, lines::FORMAT.name, xml_document::FORMAT.name];

/// `false` if the language of a text of the format cannot be detected from all of it.
pub(crate) fn is_prose(format: &Format) -> bool {
    !WITHOUT_PROSE.contains(&format.name)
}

/// The format of a media type; `None` if no parser reads it.
pub(crate) fn by_media_type(media_type: &str) -> Option<&'static Format> {
    let listed = FORMATS.iter().copied().find(|format| format.media_types.contains(&media_type));
    listed.or_else(|| text::is_plain(media_type).then_some(&text::FORMAT))
}

/// The name of a format, as declared in its file; `None` if unknown.
pub(crate) fn known_name(name: &str) -> Option<&'static str> {
    FORMATS.iter().copied().map(|format| format.name).find(|it| *it == name)
}

/// The sum of all versions and the number of formats: it changes with each of them, so that
/// documents that had no parser are extracted once there is one.
pub(crate) const fn total_version() -> u32 {
    let (mut sum, mut at) = (0, 0);
    while at < FORMATS.len() {
        sum += FORMATS[at].version + 1;
        at += 1;
    }
    sum
}
