//! Messages of errors: an error with its causes in one line, and system errors without their
//! numbers.

use std::error::Error;
use std::io;

/// An error with its causes in one line, separated by `: `.
///
/// ```
/// use pipeline::{Remedy, StoreError, error_chain};
///
/// let refused = std::io::Error::from_raw_os_error(111);
/// let remedy = Remedy::Retry;
/// let error = StoreError { doing: "search vectors", remedy, source: refused.into() };
/// assert_eq!(error_chain(&error), "could not search vectors: Connection refused");
/// ```
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut out = strip_os_error_code(&error.to_string());
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = strip_os_error_code(&cause.to_string());
        if !out.ends_with(&cause_text) {
            out.push_str(": ");
            out.push_str(&cause_text);
        }
        source = cause.source();
    }
    out
}

/// Message of a failed file operation without the path, which the caller names: `it does not
/// exist`.
///
/// ```
/// let error = std::fs::metadata("/no/such/file").unwrap_err();
/// assert_eq!(pipeline::io_error_text(&error), "it does not exist");
/// ```
#[expect(clippy::wildcard_enum_match_arm, reason = "the standard library adds kinds over time")]
pub fn io_error_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder, not a file".to_owned(),
        io::ErrorKind::NotADirectory => "a part of its path is not a folder".to_owned(),
        io::ErrorKind::UnexpectedEof => "unexpected end of file".to_owned(),
        io::ErrorKind::StorageFull => "no space left on the device".to_owned(),
        _ => {
            let text = error.to_string();
            let plain = strip_os_error_code(&text);
            // Libraries put the path and a colon in front of the message of the system.
            let is_system = plain != text;
            let end = plain.rsplit(": ").next().filter(|_| is_system);
            end.map_or_else(|| plain.clone(), str::to_owned)
        }
    }
}

/// A message without the numbers of system errors, such as ` (os error 111)`.
///
/// ```
/// let message = "connect: Connection refused (os error 111)";
/// assert_eq!(pipeline::strip_os_error_code(message), "connect: Connection refused");
/// ```
pub fn strip_os_error_code(message: &str) -> String {
    const BEGIN: &str = " (os error ";
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        out.push_str(before);
        match after.split_once(')') {
            Some((number, behind)) if number.parse::<i32>().is_ok() => rest = behind,
            _ => {
                out.push_str(BEGIN);
                rest = after;
            }
        }
    }
    out + rest
}

/// Scheme, host and port of a URL, for messages; the other parts may contain a secret.
///
/// ```
/// let url = "postgres://semantik:hunter2@db:5432/semantik?sslmode=require";
/// assert_eq!(pipeline::url_origin(url), "postgres://db:5432");
/// ```
pub fn url_origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_system_go_and_other_brackets_stay() {
        for (said, wanted) in [
            ("Connection refused (os error 111)", "Connection refused"),
            ("a: x (os error 2): y (os error 13).", "a: x: y."),
            ("an (os error that) has none", "an (os error that) has none"),
            ("cut (os error 1", "cut (os error 1"),
            ("", ""),
        ] {
            assert_eq!(strip_os_error_code(said), wanted);
        }
    }

    #[test]
    fn a_wrapped_error_of_the_system_is_said_without_the_path() {
        let wrapped = |code| {
            let system = io::Error::from_raw_os_error(code);
            io::Error::new(system.kind(), format!("failed to read `/a: b`: {system}"))
        };
        assert_eq!(io_error_text(&wrapped(2)), "it does not exist");
        assert_eq!(io_error_text(&wrapped(21)), "it is a folder, not a file");
        assert_eq!(io_error_text(&wrapped(5)), "Input/output error");
        assert_eq!(io_error_text(&io::Error::from_raw_os_error(32)), "Broken pipe");
        assert_eq!(io_error_text(&io::Error::other("no more")), "no more");
    }

    #[test]
    fn an_address_is_shown_without_secrets() {
        for (url, shown) in [
            ("http://localhost:6334", "http://localhost:6334"),
            ("https://me:secret@h:1/path?key=secret", "https://h:1"),
            ("localhost:6334", "http://localhost:6334"),
        ] {
            assert_eq!(url_origin(url), shown);
        }
    }
}
