//! The spelling corrections of a search as text.

use std::fmt::Write as _;

use search::Correction;

use crate::render::visible_line;

/// A line per corrected word.
pub(super) fn as_text(corrections: &[Correction]) -> String {
    let mut out = String::new();
    for Correction { typed, used, alternatives } in corrections {
        let (typed, used) = (visible_line(typed), visible_line(used));
        let others: Vec<_> = alternatives.iter().map(|word| visible_line(word)).collect();
        let others = match &others[..] {
            [] => String::new(),
            others => format!("; also similar: {}", others.join(", ")),
        };
        writeln!(out, "did you mean: {used} (searched `{used}` for `{typed}`{others})")
            .expect("writing to a String cannot fail");
    }
    out
}
