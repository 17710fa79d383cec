//! The style sheet of an RTF file: the styles that are headings.

use std::collections::HashMap;

/// Styles that are followed from a style to its parents.
const MAX_PARENTS: usize = 8;

/// A style while its definition is read.
#[derive(Default)]
pub(super) struct Style {
    pub(super) number: i32,
    pub(super) parent: Option<i32>,
    /// Level of a heading by `\outlinelevel`; 1 is the highest.
    pub(super) level: Option<u8>,
    pub(super) name: String,
}

/// The paragraph styles by number.
#[derive(Default)]
pub(super) struct Styles(HashMap<i32, (Option<u8>, Option<i32>)>);

impl Styles {
    pub(super) fn add(&mut self, style: &Style) {
        let name = style.name.trim().trim_end_matches(';').to_lowercase();
        let named = name.strip_prefix("heading ").and_then(|level| level.parse().ok());
        let named = named.or((name == "title").then_some(1));
        self.0.insert(style.number, (style.level.or(named), style.parent));
    }

    /// The level of a style that is a heading, or derived from one.
    pub(super) fn heading_level(&self, number: i32) -> Option<u8> {
        let mut number = number;
        for _ in 0..MAX_PARENTS {
            let (level, parent) = *self.0.get(&number)?;
            if level.is_some() {
                return level;
            }
            number = parent?;
        }
        None
    }
}

/// The level of a heading from `\outlinelevel`, where 9 is body text.
pub(super) fn level_of_outline(outline: Option<i32>) -> Option<u8> {
    u8::try_from(outline?).ok().filter(|level| *level < 9).map(|level| level + 1)
}
