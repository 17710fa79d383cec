//! Numbers as Excel shows them: decimals, percentages, currencies and other texts of a number
//! format. Thousands are not separated, because the separator depends on the reader.

/// Digits that Excel shows at most.
const SIGNIFICANT_DIGITS: usize = 15;

/// Decimals that a number format may have.
const MAX_DECIMALS: usize = 30;

/// A number format.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NumberFormat {
    /// The shortest form.
    General,
    Fixed {
        prefix: String,
        decimals: usize,
        is_percent: bool,
        suffix: String,
    },
}

impl NumberFormat {
    /// Reads a format code such as `0.00%`. Formats with exponents or fractions are general.
    pub(super) fn parse(code: &str) -> Self {
        let (mut texts, mut at) = ([String::new(), String::new()], 0);
        let (mut decimals, mut has_point, mut is_percent) = (0, false, false);
        let mut chars = code.chars();
        while let Some(char) = chars.next() {
            match char {
                ';' => break,
                '0' | '#' | '?' => {
                    at = 1;
                    decimals += usize::from(has_point);
                }
                '.' => has_point = true,
                ',' => {}
                '%' => is_percent = true,
                '"' => texts[at].extend(chars.by_ref().take_while(|char| *char != '"')),
                '\\' => texts[at].extend(chars.next()),
                // A space of the width of a character, and a repeated character.
                '_' | '*' => drop(chars.next()),
                '[' => {
                    let inside: String = chars.by_ref().take_while(|char| *char != ']').collect();
                    let currency = inside.strip_prefix('$').unwrap_or_default();
                    texts[at].push_str(currency.split('-').next().unwrap_or_default());
                }
                ' ' | '$' | '€' | '£' | '¥' | '(' | ')' | '-' | '+' | ':' => {
                    texts[at].push(char);
                }
                _ => return Self::General,
            }
        }
        if at == 0 {
            return Self::General;
        }
        let [prefix, suffix] = texts.map(|text| text.replace(['(', ')'], ""));
        Self::Fixed { prefix, decimals: decimals.min(MAX_DECIMALS), is_percent, suffix }
    }

    pub(super) fn show(&self, number: f64) -> String {
        match self {
            Self::Fixed { prefix, decimals, is_percent, suffix } if number.abs() < 1e15 => {
                let number = if *is_percent { number * 100.0 } else { number };
                let percent = if *is_percent { "%" } else { "" };
                let sign = if number < 0.0 { "-" } else { "" };
                format!("{sign}{prefix}{:.decimals$}{percent}{suffix}", number.abs())
            }
            Self::Fixed { .. } | Self::General => general(number),
        }
    }
}

/// A number without a format.
pub(super) fn general(number: f64) -> String {
    let rounded = format!("{number:.*e}", SIGNIFICANT_DIGITS - 1);
    let rounded: f64 = rounded.parse().unwrap_or(number);
    let size = rounded.abs();
    if size != 0.0 && !(1e-9..1e15).contains(&size) {
        format!("{rounded:e}")
    } else {
        rounded.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_in_excel() {
        for (code, number, expected) in [
            ("General", 0.1 + 0.2, "0.3"),
            ("", 42.0, "42"),
            ("", 1.5e300, "1.5e300"),
            ("0.00", 2.5, "2.50"),
            ("#,##0", -1234.4, "-1234"),
            ("0.0%", 0.125, "12.5%"),
            ("0%;[Red]-0%", -0.25, "-25%"),
            ("\"$\"#,##0.00_);(\"$\"#,##0.00)", 3.0, "$3.00"),
            ("[$€-407] 0.00", 7.0, "€ 7.00"),
            ("0.0\" km\"", 7.25, "7.2 km"),
            ("0.00E+00", 1234.0, "1234"),
            ("@", 5.0, "5"),
        ] {
            assert_eq!(NumberFormat::parse(code).show(number), expected, "{code}");
        }
    }
}
