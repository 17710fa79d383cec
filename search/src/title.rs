//! The title of a document as answers have it.
//!
//! Documents that an earlier version stored may have a title that tells nothing (`pipeline/src/title.rs`). The stored title
//! stays; where one is shown, the file name is shown instead.

use percent_encoding::percent_decode_str;
use pipeline::is_meaningful_title;

/// A title without surrounding space; `None` if it tells nothing about the document.
pub fn meaningful(title: Option<&str>) -> Option<&str> {
    title.map(str::trim).filter(|title| is_meaningful_title(title))
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
    fn a_title_that_tells_nothing_yields_to_the_name_of_the_file() {
        let uri = "file:///a%20b/the%20report.pdf";
        assert_eq!(meaningful(Some(" Untitled 2 ")), None);
        assert_eq!(shown(Some(" Untitled 2 "), uri), "the report.pdf");
        assert_eq!(meaningful(Some(" On Trees ")), Some("On Trees"));
        assert_eq!(shown(Some(" On Trees "), uri), "On Trees");
        assert_eq!(shown(None, "https://example.org/a/b%C3%BC/"), "bü");
        assert_eq!(name("/data/100%25.txt"), "100%25.txt", "a path is not decoded");
    }
}
