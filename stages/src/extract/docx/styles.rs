//! Paragraph styles that are headings.

use std::collections::{BTreeMap, HashMap};

use quick_xml::events::Event;

use crate::extract::error::ExtractErrorKind;
use crate::extract::xml::{attribute, for_each_event};

/// The levels of the paragraph styles that are headings, by style id.
pub(super) fn heading_levels(styles: &str) -> Result<HashMap<String, u8>, ExtractErrorKind> {
    let mut levels = HashMap::new();
    let mut parents = BTreeMap::new();
    let mut id = String::new();
    for_each_event(styles, |event| {
        let Event::Start(element) = event else { return };
        let value = || attribute(element, "val").unwrap_or_default();
        match element.local_name().as_ref() {
            "style" => id = attribute(element, "styleId").unwrap_or_default(),
            "name" => {
                let name = value().to_lowercase();
                let level = name.strip_prefix("heading ").and_then(|level| level.parse().ok());
                if let Some(level) = level.or((name == "title").then_some(1)) {
                    levels.insert(id.clone(), level);
                }
            }
            "basedOn" => {
                parents.insert(id.clone(), value());
            }
            "outlineLvl" => {
                if let Some(level) = heading_level(&value()) {
                    levels.insert(id.clone(), level);
                }
            }
            _ => {}
        }
    })?;
    // A style that is based on a heading style is a heading. Chains are short: four passes suffice.
    for _ in 0..4 {
        for (style, parent) in &parents {
            if let (Some(level), false) = (levels.get(parent).copied(), levels.contains_key(style))
            {
                levels.insert(style.clone(), level);
            }
        }
    }
    Ok(levels)
}

/// The level of a heading from its outline level, where 9 is body text.
pub(super) fn heading_level(outline: &str) -> Option<u8> {
    outline.parse::<u8>().ok().filter(|level| *level < 9).map(|level| level + 1)
}
