//! Placeholder titles, which programs write into the metadata of a document without a title.
//!
//! Documents stored before extraction ignored such titles still have them. Stored data stays
//! unchanged; wherever a title is displayed, the file name replaces a placeholder.

use percent_encoding::percent_decode_str;

/// Placeholder titles in lower case, without a trailing number.
const PLACEHOLDERS: [&str; 22] = [
    "untitled",
    "untitled document",
    "untitled presentation",
    "untitled spreadsheet",
    "new document",
    "unnamed",
    "no title",
    "(no title)",
    "title",
    "none",
    "null",
    "unknown",
    "anonymous",
    "(anonymous)",
    "(unspecified)",
    "document",
    "presentation",
    "powerpoint presentation",
    "book",
    "workbook",
    "sheet",
    "slide",
];

/// Prefixes that programs add to the name of a printed file.
const PRINTED: [&str; 5] = [
    "microsoft word - ",
    "microsoft powerpoint - ",
    "microsoft excel - ",
    "microsoft office word - ",
    "print - ",
];

/// The trimmed title; `None` if it is a placeholder, a path, or has no letters or digits.
pub fn meaningful(title: Option<&str>) -> Option<&str> {
    let title = title.map(str::trim)?;
    let small = title.to_lowercase();
    let is_numbering = |it: char| it.is_ascii_digit() || " -_#".contains(it);
    let bare = small.trim_end_matches(is_numbering);
    let is_placeholder = PLACEHOLDERS.contains(&&*small) || PLACEHOLDERS.contains(&bare);
    let is_printed = PRINTED.iter().any(|it| small.starts_with(it));
    let is_path =
        small.contains(":\\") || small.starts_with("file://") || small.starts_with("\\\\");
    let says_something = title.chars().any(char::is_alphanumeric);
    (says_something && !is_placeholder && !is_printed && !is_path).then_some(title)
}

/// The title of a document, or its file name if the title is not meaningful.
pub fn shown(title: Option<&str>, uri: &str) -> String {
    match meaningful(title) {
        Some(title) => title.to_owned(),
        None => name(uri),
    }
}

/// The last segment of a URI, percent-decoded, or of a path.
pub fn name(uri: &str) -> String {
    let last = uri.trim_end_matches('/').rsplit('/').next().unwrap_or(uri);
    if uri.contains("://") {
        return percent_decode_str(last).decode_utf8_lossy().into_owned();
    }
    last.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_that_say_nothing_yield_to_the_name_of_the_file() {
        for junk in [
            "",
            " ",
            "untitled",
            "Untitled",
            "UNTITLED-1",
            "Untitled 2",
            "untitled document",
            "(anonymous)",
            "Document1",
            "Presentation 12",
            "PowerPoint Presentation",
            "Microsoft Word - report.doc",
            "MICROSOFT POWERPOINT - x.ppt",
            "C:\\Users\\ada\\x.doc",
            "file:///tmp/x.html",
            "---",
            "…",
        ] {
            assert_eq!(meaningful(Some(junk)), None, "{junk:?}");
            assert_eq!(
                shown(Some(junk), "file:///a%20b/the%20report.pdf"),
                "the report.pdf",
                "{junk:?}"
            );
        }
        for good in [
            "Travel expenses",
            "Documents of the board",
            "2026",
            "Untitled Goose Game",
            "Book of Kells",
            "Titles",
            "Presentation of the results",
            "Über uns",
            "東京",
            "C",
            "none of the above",
        ] {
            assert_eq!(meaningful(Some(good)), Some(good));
            assert_eq!(shown(Some(good), "file:///x"), good);
        }
        assert_eq!(shown(None, "https://example.org/a/b%C3%BC/"), "bü");
        assert_eq!(name("/data/100%25.txt"), "100%25.txt", "a path is not decoded");
    }
}
