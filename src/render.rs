//! What the command prints: errors, tables, figures.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _, stderr, stdout};

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{ContentArrangement, Table};
use pipeline::{BoxError, Findings};

/// Prints to standard output. A reader that has gone away is no fault.
pub(crate) fn out(text: &str) -> Result<(), BoxError> {
    match stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {}", pipeline::io_words(&error)).into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a line to standard error; whatever cannot be said there cannot be said at all.
pub(crate) fn say(text: impl Display) {
    writeln!(stderr(), "{text}").ok();
}

/// Prints an error with its causes.
pub(crate) fn error(error: &(dyn std::error::Error + 'static)) {
    let mut said = pipeline::without_numbers(&error.to_string());
    say(format_args!("semantik: {said}"));
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = pipeline::without_numbers(&error.to_string());
        // An error that only passes its cause on repeats it.
        if !said.contains(&words) {
            say(format_args!("  because {words}"));
        }
        said = words;
        cause = error.source();
    }
}

/// Prints what is wrong with a pipeline file.
pub(crate) fn findings(findings: &Findings) {
    say(findings.render(stderr().is_terminal()).trim_end());
}

/// A table as wide as the terminal; without a head if it is empty.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if !head.is_empty() {
        table.set_header(head);
    }
    table.add_rows(rows);
    format!("{table}\n")
}

/// Prints one JSON value.
pub(crate) fn json(value: &serde_json::Value) -> Result<(), BoxError> {
    out(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// The word for a state, as it stands in tables and JSON: `remove_source`.
pub(crate) fn word(state: impl std::fmt::Debug) -> String {
    let mut word = String::new();
    for letter in format!("{state:?}").chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.extend(letter.to_lowercase());
    }
    word
}

/// A whole number with its thousands apart: `12 345`.
pub(crate) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or_default().to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A number with what it counts: `1 chunk`, `12 345 chunks`.
pub(crate) fn several(number: impl TryInto<u64>, what: &str) -> String {
    let number = number.try_into().unwrap_or_default();
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {what}{ending}", count(number))
}

/// A number of bytes in the unit that suits it: `1.4 MiB`.
pub(crate) fn bytes(number: impl TryInto<u64>) -> String {
    let number = number.try_into().unwrap_or_default();
    indicatif::BinaryBytes(number).to_string()
}

/// A span of time: `3.2 s`, `4 min 10 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 100.0 {
        return format!("{seconds:.1} s");
    }
    format!("{:.0} min {:02.0} s", (seconds / 60.0).floor(), (seconds % 60.0).floor())
}

/// A moment, to the second.
pub(crate) fn time(time: impl Display) -> String {
    let time = time.to_string();
    time.split('.')
        .next()
        .map_or_else(|| time.clone(), |whole| whole.trim_end_matches(" UTC").to_owned() + " UTC")
}
