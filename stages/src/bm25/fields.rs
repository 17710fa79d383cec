//! The texts of the fields of a passage, without repetitions.

use std::borrow::Cow;

use pipeline::{HEADING_SEPARATOR, Passage, PassageField};

use crate::bm25::weights::FieldWeights;
use crate::context::{distinct_headings, path_words};

/// The text of each field with a weight; the others are empty.
pub(super) struct FieldTexts<'a>([(PassageField, Cow<'a, str>); 4]);

impl<'a> FieldTexts<'a> {
    pub(super) fn of(passage: &Passage<'a>, weights: &FieldWeights) -> Self {
        let text = |field| {
            if !weights.reads(field) {
                return Cow::Borrowed("");
            }
            match field {
                PassageField::Text => Cow::Borrowed(passage.text),
                PassageField::Headings => {
                    // The title counts once, as a title.
                    let title = passage.title.filter(|_| weights.reads(PassageField::Title));
                    headings_text(passage.headings.unwrap_or_default(), title)
                }
                PassageField::Title => Cow::Borrowed(passage.title.unwrap_or_default()),
                PassageField::Path => path_words(passage.path.unwrap_or_default()),
            }
        };
        Self(PassageField::ALL.map(|field| (field, text(field))))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PassageField, &str)> {
        self.0.iter().map(|(field, text)| (*field, &**text)).filter(|(_, text)| !text.is_empty())
    }
}

fn headings_text<'a>(path: &'a str, title: Option<&str>) -> Cow<'a, str> {
    let all: Vec<&str> = path.split(HEADING_SEPARATOR).collect();
    let kept = distinct_headings(title, all.iter().copied());
    if kept.len() == all.len() {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(kept.join(HEADING_SEPARATOR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_is_no_heading() {
        assert_eq!(headings_text("Trees > Oaks > Oaks", Some("trees")), "Oaks");
        assert_eq!(headings_text("Trees > Oaks", None), "Trees > Oaks");
        assert_eq!(headings_text("", Some("Trees")), "");
    }
}
