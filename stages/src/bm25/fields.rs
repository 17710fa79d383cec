//! The texts of the fields of a passage, without repetitions.

use std::borrow::Cow;

use pipeline::{HEADING_SEPARATOR, Passage, PassageField};

use crate::bm25::weights::FieldWeights;
use crate::context::{distinct_headings, path_words};

/// The texts of fields; those that are not read are empty.
pub(super) struct FieldTexts<'a>([(PassageField, Cow<'a, str>); 4]);

impl<'a> FieldTexts<'a> {
    /// The fields with a weight.
    pub(super) fn of(passage: &Passage<'a>, weights: &FieldWeights) -> Self {
        Self::read(passage, weights, |field| weights.reads(field))
    }

    /// All fields.
    pub(super) fn all(passage: &Passage<'a>, weights: &FieldWeights) -> Self {
        Self::read(passage, weights, |_| true)
    }

    fn read(
        passage: &Passage<'a>,
        weights: &FieldWeights,
        reads: impl Fn(PassageField) -> bool,
    ) -> Self {
        let text = |field| {
            if !reads(field) {
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
