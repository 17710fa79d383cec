//! Titles that say nothing: what programs write into the metadata of a document whose author gave it no title.
//!
//! Documents that were stored before extraction looked for better ones still have such titles. Nothing is changed of
//! what is stored: where a title is shown, the name of the file is shown in its place.

use percent_encoding::percent_decode_str;

/// Titles that mean "none", in small letters, without what numbers several of them.
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

/// What programs put before the name of a file that they printed.
const PRINTED: [&str; 5] = [
    "microsoft word - ",
    "microsoft powerpoint - ",
    "microsoft excel - ",
    "microsoft office word - ",
    "print - ",
];

/// A title, unless it says nothing of the document.
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

/// The title of a document, or the name of its file where there is none that says something.
pub fn shown(title: Option<&str>, uri: &str) -> String {
    match meaningful(title) {
        Some(title) => title.to_owned(),
        None => name(uri),
    }
}

/// The last part of a URI or a path, as a person writes it.
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
