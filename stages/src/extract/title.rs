//! Chooses the title of a document: its own, its first heading, or its file name.
//!
//! Programs write titles without information: placeholders, or the name of the source file. Such a
//! title is replaced by the next choice.

use std::path::Path;

use pipeline::is_meaningful_title;

use crate::extract::document::{Document, collapse_whitespace};
use crate::extract::formats::by_media_type;
use crate::extract::source_code::is_code;

/// Headings that name a part of any document, in lower case.
const SECTION_NAMES: &[&str] = &[
    "contents",
    "cover",
    "cover page",
    "front cover",
    "inhalt",
    "inhaltsverzeichnis",
    "table of contents",
    "title page",
    "toc",
];

/// Sets the best title. Headings are not used if all documents of the format have the same ones;
/// `None` remains only if `path` has no file name.
pub(crate) fn with_title(mut document: Document, mime_type: &str, path: &Path) -> Document {
    let own = document.title.take().map(|title| collapse_whitespace(&title));
    let own = own.filter(|title| !is_uninformative(title, path));
    let has_titles = by_media_type(mime_type).is_none_or(|format| format.has_titles_in_headings);
    let heading = || first_heading(&document).filter(|_| has_titles);
    // The extension of source code names its language.
    let name = if is_code(mime_type) { path.file_name() } else { path.file_stem() };
    let name = || name.map(|name| name.to_string_lossy().into_owned());
    document.title = own.or_else(heading).or_else(name);
    document
}

/// The first heading of the highest level, apart from [`SECTION_NAMES`].
fn first_heading(document: &Document) -> Option<String> {
    let headings = document.outline.iter();
    let headings = headings.filter(|heading| {
        let title = heading.title.to_lowercase();
        !title.is_empty() && !SECTION_NAMES.contains(&title.as_str())
    });
    headings.min_by_key(|heading| heading.level).map(|heading| heading.title.clone())
}

/// `true` if a title is a placeholder or a file name.
fn is_uninformative(title: &str, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_name = name.contains('.') && title.to_lowercase() == name.to_lowercase();
    is_name || !is_meaningful_title(title)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::document::Heading;
    use crate::extract::source_code;

    fn title(own: Option<&str>, headings: &[(u8, &str)], mime_type: &str, path: &str) -> String {
        let outline = headings
            .iter()
            .map(|(level, title)| Heading { at: 0, level: *level, title: (*title).to_owned() })
            .collect();
        let document = Document { title: own.map(str::to_owned), outline, ..Document::default() };
        with_title(document, mime_type, Path::new(path)).title.unwrap()
    }

    #[test]
    fn a_title_that_says_nothing_gives_way() {
        for junk in ["Untitled-3", "report.pdf", "", "Scan_0001.tif"] {
            let path = "/corpus/scan_0001.tif";
            let pdf = "application/pdf";
            assert_eq!(
                title(Some(junk), &[(2, "b"), (1, "On Trees")], pdf, path),
                "On Trees",
                "{junk}"
            );
            assert_eq!(title(Some(junk), &[(1, "Contents")], pdf, path), "scan_0001", "{junk}");
        }
    }

    #[test]
    fn a_title_that_says_something_stays() {
        let own = title(Some("On Trees"), &[(1, "x")], "application/pdf", "/a/b.pdf");
        assert_eq!(own, "On Trees");
        assert_eq!(title(None, &[(1, "NAME")], "text/troff", "/man/ls.1"), "ls");
        assert_eq!(
            title(None, &[(2, "Two"), (1, "One"), (1, "Other")], "text/html", "/a.html"),
            "One"
        );
        assert_eq!(title(None, &[], "text/plain", "/a/notes.txt"), "notes");
        assert_eq!(title(None, &[], source_code::FORMAT.media_types[0], "/a/x.adb"), "x.adb");
    }
}
