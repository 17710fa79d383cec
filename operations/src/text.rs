//! Text that messages of operations share with the output of the command.

use std::collections::BTreeMap;

/// A whole number with grouped thousands: `12 345`.
pub fn format_count(number: impl TryInto<u64>) -> String {
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

/// How many of a list are shown, where `most` are enough: all if only one would be left, whose line
/// says less than the item.
pub fn shown(count: usize, most: usize) -> usize {
    if count == most.saturating_add(1) { count } else { count.min(most) }
}

/// The files that options of the sources skipped: `3 hidden, 12 by globs`; `None` if there are
/// none.
pub fn left_out_summary(counts: &BTreeMap<String, u64>) -> Option<String> {
    let parts = counts.iter().map(|(by, number)| match by.as_str() {
        "hidden" => format!("{} hidden", format_count(*number)),
        "gitignore" => format!("{} by .gitignore", format_count(*number)),
        by => format!("{} by {by}", format_count(*number)),
    });
    let parts: Vec<_> = parts.collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
