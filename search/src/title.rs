//! Placeholder titles, which programs write into the metadata of a document without a title.
//!
//! Documents stored before extraction ignored such titles still have them. Stored data stays
//! unchanged; wherever a title is displayed, the file name replaces a placeholder.

use percent_encoding::percent_decode_str;
use pipeline::is_meaningful_title;

/// A title without surrounding space; `None` if it tells nothing about the document.
pub fn meaningful(title: Option<&str>) -> Option<&str> {
    title.map(str::trim).filter(|title| is_meaningful_title(title))
}

/// The title of a document, or its file name if the title is not meaningful.
///
/// ```
/// use search::title::display_title;
///
/// let uri = "file:///a%20b/the%20report.pdf";
/// assert_eq!(display_title(Some("Untitled 2"), uri), "the report.pdf");
/// assert_eq!(display_title(Some(" On Trees "), uri), "On Trees");
/// ```
pub fn display_title(title: Option<&str>, uri: &str) -> String {
    match meaningful(title) {
        Some(title) => title.to_owned(),
        None => file_name(uri),
    }
}

/// The last segment of a URI, percent-decoded, or of a path.
///
/// ```
/// use search::title::file_name;
///
/// assert_eq!(file_name("https://example.org/a/b%C3%BC/"), "bü");
/// assert_eq!(file_name("/data/100%25.txt"), "100%25.txt", "a path is not decoded");
/// ```
pub fn file_name(uri: &str) -> String {
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
    fn a_title_that_tells_nothing_yields_to_the_name_of_the_file() {
        let uri = "file:///a%20b/the%20report.pdf";
        assert_eq!(meaningful(Some(" Untitled 2 ")), None);
        assert_eq!(display_title(Some(" Untitled 2 "), uri), "the report.pdf");
        assert_eq!(meaningful(Some(" On Trees ")), Some("On Trees"));
        assert_eq!(display_title(Some(" On Trees "), uri), "On Trees");
        assert_eq!(display_title(None, "https://example.org/a/b%C3%BC/"), "bü");
        assert_eq!(file_name("/data/100%25.txt"), "100%25.txt", "a path is not decoded");
    }
}
