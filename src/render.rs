//! Output of the command: errors, tables, figures. All output passes through [`print()`],
//! [`print_error_line`] and [`print_json`], which escape characters that a terminal would
//! interpret.

mod table;
mod visible;

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _, stderr, stdout};

pub(crate) use operations::{format_count, left_out_summary, shown};
use pipeline::{BoxError, Findings, io_error_text, strip_os_error_code};
use serde::Serialize;

pub(crate) use self::table::{next_table, table};
pub(crate) use self::visible::{LogWriter, visible, visible_line};
use self::visible::{visible_in_colour, visible_json};
use crate::cli::env_var;

/// Prints to standard output, wrapped to the width of a terminal. A closed pipe is not an error.
pub(crate) fn print(text: &str) -> Result<(), BoxError> {
    let text = visible(text);
    match width_of_output() {
        Some(width) => write_stdout(&wrapped(&text, width)),
        None => write_stdout(&text),
    }
}

/// Prints to standard output without wrapping: text to copy, such as a diff.
pub(crate) fn print_unwrapped(text: &str) -> Result<(), BoxError> {
    write_stdout(&visible(text))
}

/// The text with long lines broken between words. A word that is too long stays whole, so that a
/// path can be copied.
fn wrapped(text: &str, width: usize) -> String {
    let options = textwrap::Options::new(width).break_words(false);
    let wrap = |line: &str| {
        if textwrap::core::display_width(line) <= width {
            return line.to_owned();
        }
        textwrap::wrap(line, &options).join("\n")
    };
    text.split('\n').map(wrap).collect::<Vec<_>>().join("\n")
}

/// Prints text that [`Paint`] has coloured to standard output.
pub(crate) fn print_coloured(text: &str, paint: Paint) -> Result<(), BoxError> {
    if paint.colours { write_stdout(&visible_in_colour(text)) } else { print(text) }
}

fn write_stdout(text: &str) -> Result<(), BoxError> {
    match stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {}", io_error_text(&error)).into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a line to standard error. A failed write is ignored: there is no other channel to report
/// it.
pub(crate) fn print_error_line(text: impl Display) {
    writeln!(stderr(), "{}", visible(&text.to_string())).ok();
}

/// Prints an error with its causes.
pub(crate) fn print_error(error: &(dyn std::error::Error + 'static)) {
    let mut said = strip_os_error_code(&error.to_string());
    print_error_line(format_args!("semantik: {said}"));
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = strip_os_error_code(&error.to_string());
        // An error that only wraps its cause repeats its text.
        if !said.contains(&words) {
            print_error_line(format_args!("  because {words}"));
        }
        said = words;
        cause = error.source();
    }
}

/// Prints the errors of a pipeline file.
pub(crate) fn print_findings(findings: &Findings) {
    render_findings(|colours| findings.render(colours));
}

/// Prints the warnings of a valid pipeline file.
pub(crate) fn print_warnings(warnings: &Findings) {
    render_findings(|colours| warnings.render_warnings(colours));
}

fn render_findings(render: impl Fn(bool) -> String) {
    let colours = Paint::for_stream(stderr().is_terminal()).colours;
    let text = render(colours);
    let text = if colours { visible_in_colour(&text) } else { visible(&text) };
    writeln!(stderr(), "{}", text.trim_end()).ok();
}

/// Prints one JSON value.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), BoxError> {
    print_as_json(value)
}

/// Prints a value as JSON.
pub(crate) fn print_as_json(value: &impl Serialize) -> Result<(), BoxError> {
    write_stdout(&visible_json(&format!("{}\n", serde_json::to_string_pretty(value)?)))
}

/// Prints a result: the JSON value if `as_json`, otherwise the text.
pub(crate) fn print_answer(
    as_json: bool,
    value: &serde_json::Value,
    words: &str,
) -> Result<(), BoxError> {
    if as_json { print_json(value) } else { print(words) }
}

/// Colours, unless `NO_COLOR` is set (<https://no-color.org>) or the terminal supports none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    colours: bool,
}

impl Paint {
    /// Colours for a stream, if it is a terminal.
    pub(crate) fn for_stream(is_terminal: bool) -> Self {
        let is_unwanted = env_var("NO_COLOR").is_some_and(|it| !it.is_empty());
        Self { colours: is_terminal && supports_escapes() && !is_unwanted }
    }

    /// `true` if text is coloured.
    pub(crate) fn has_colours(self) -> bool {
        self.colours
    }

    /// No colours.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { colours: false }
    }

    /// Colours whatever the environment says.
    #[cfg(test)]
    pub(crate) fn always() -> Self {
        Self { colours: true }
    }

    /// Emphasised text.
    pub(crate) fn bold(self, text: &str) -> String {
        self.coloured(text, "1")
    }

    /// Highlighted text, such as the bottleneck.
    pub(crate) fn highlighted(self, text: &str) -> String {
        self.coloured(text, "1;33")
    }

    fn coloured(self, text: &str, colour: &str) -> String {
        if self.colours { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// `true` unless `TERM` is `dumb`: the terminal can move its cursor and colour text.
pub(crate) fn supports_escapes() -> bool {
    env_var("TERM").is_none_or(|it| it != "dumb")
}

/// Columns of the terminal on standard output; `None` if it is not a terminal.
pub(crate) fn width_of_output() -> Option<usize> {
    stdout().is_terminal().then(width_of_terminal)
}

/// Columns of the terminal; 80 if unknown.
pub(crate) fn width_of_terminal() -> usize {
    match ratatui::crossterm::terminal::size() {
        Ok((columns, _)) if columns > 0 => columns.into(),
        Ok(_) | Err(_) => 80,
    }
}

/// A number with what it counts: `1 chunk`, `12 345 chunks`.
pub(crate) fn count_of(number: impl TryInto<u64>, what: &str) -> String {
    let number = number.try_into().unwrap_or_default();
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {what}{ending}", format_count(number))
}

/// A number of bytes with a binary unit: `1.4 MiB`.
pub(crate) fn format_bytes(number: impl TryInto<u64>) -> String {
    let number = number.try_into().unwrap_or_default();
    indicatif::BinaryBytes(number).to_string()
}

/// A duration: `3.2 s`, `4 min 10 s`.
pub(crate) fn format_seconds(seconds: f64) -> String {
    if seconds < 100.0 {
        return format!("{seconds:.1} s");
    }
    format!("{:.0} min {:02.0} s", (seconds / 60.0).floor(), (seconds % 60.0).floor())
}

/// A time to the second, in UTC.
pub(crate) fn format_time(time: impl Display) -> String {
    let time = time.to_string();
    time.split('.')
        .next()
        .map_or_else(|| time.clone(), |whole| whole.trim_end_matches(" UTC").to_owned() + " UTC")
}
