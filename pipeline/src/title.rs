//! Titles that tell nothing about a document: placeholders that programs write into its metadata,
//! and names of files.
//!
//! Extraction replaces such a title. Search shows the file name instead of one that an earlier
//! version stored.

/// Placeholders in lower case, without the number that distinguishes several of them (`Untitled-3`,
/// `Slide 12`).
const PLACEHOLDERS: &[&str] = &[
    "(anonymous)",
    "(no title)",
    "(unspecified)",
    "(untitled)",
    "anonymous",
    "blank",
    "book",
    "document",
    "dokument",
    "new document",
    "no title",
    "no title available",
    "none",
    "null",
    "ohne titel",
    "page",
    "powerpoint presentation",
    "powerpoint-präsentation",
    "presentation",
    "présentation powerpoint",
    "sans titre",
    "sheet",
    "sin título",
    "slide",
    "titel",
    "title",
    "unbenannt",
    "unknown",
    "unnamed",
    "unspecified",
    "untitled",
    "untitled document",
    "untitled presentation",
    "untitled spreadsheet",
    "word document",
    "workbook",
];

/// Prefixes, in lower case, that programs put before the name of a printed file.
const PRINTED: &[&str] = &[
    "microsoft word - ",
    "microsoft powerpoint - ",
    "microsoft excel - ",
    "microsoft office word - ",
    "print - ",
];

/// Extensions of document formats, in lower case: a title that ends with one is the name of a file.
const EXTENSIONS: &[&str] = &[
    "ai", "cdr", "doc", "docm", "docx", "dot", "dotx", "dvi", "eps", "fm", "indd", "key", "odp",
    "ods", "odt", "p65", "pages", "pdf", "pmd", "ppt", "pptx", "ps", "pub", "qxd", "rtf", "tex",
    "wpd", "wps", "xls", "xlsx",
];

/// Whether a title tells something about its document. Case and surrounding space do not matter.
///
/// ```
/// use pipeline::is_meaningful_title;
///
/// assert!(is_meaningful_title("Annual report 2024"));
/// assert!(!is_meaningful_title("Untitled-3"));
/// assert!(!is_meaningful_title("Microsoft Word - report.doc"));
/// ```
pub fn is_meaningful_title(title: &str) -> bool {
    let title = title.trim().to_lowercase();
    let is_numbering = |it: char| it.is_ascii_digit() || " -_#".contains(it);
    let unnumbered = title.trim_end_matches(is_numbering);
    let is_placeholder = PLACEHOLDERS.contains(&&*title) || PLACEHOLDERS.contains(&unnumbered);
    let is_printed = PRINTED.iter().any(|it| title.starts_with(it));
    let is_path =
        title.contains(":\\") || title.starts_with("file://") || title.starts_with("\\\\");
    let extension = title.rsplit_once('.').map(|(_, extension)| extension);
    let is_file = extension.is_some_and(|it| EXTENSIONS.contains(&it));
    let has_text = title.chars().any(char::is_alphanumeric);
    has_text && !is_placeholder && !is_printed && !is_path && !is_file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_and_file_names_are_no_titles() {
        for junk in [
            "",
            " ",
            "---",
            "…",
            "untitled",
            " UNTITLED ",
            "UNTITLED-1",
            "Untitled 2",
            "(untitled)",
            "untitled document",
            "(anonymous)",
            "Ohne Titel",
            "Unbenannt 1",
            "Document1",
            "Presentation 12",
            "Slide 1",
            "PowerPoint Presentation",
            "Microsoft Word - report.doc",
            "MICROSOFT POWERPOINT - Trees",
            "report.pdf",
            "Annual Report final.docx",
            "thesis.dvi",
            "C:\\Users\\ada\\x",
            "\\\\server\\share\\x",
            "file:///tmp/x.html",
        ] {
            assert!(!is_meaningful_title(junk), "{junk:?}");
        }
        for title in [
            "Travel expenses",
            "On Trees",
            "Node.js",
            "What is .NET",
            "Version 2.0",
            "Documents of the board",
            "Document 1 and document 2",
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
            assert!(is_meaningful_title(title), "{title:?}");
        }
    }
}
