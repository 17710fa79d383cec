//! The context of a chunk: title and headings, which the model reads before the text of the chunk.
//!
//! A chunk alone often does not name its subject. The context is encoded with the line break behind
//! it, and the ids of the text follow; that equals the ids of the whole where the tokenizer splits
//! at the line break. Contexts of a document are encoded once per heading path.

use std::cell::OnceCell;
use std::sync::Arc;

use pipeline::{BoxError, Tokenizer};

use crate::chunk::text_chunk::SectionHeading;
use crate::context::{HEADING_ARROW, distinct_headings, path_words};

/// The template of contexts: text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContextTemplate {
    /// The text before the first placeholder.
    leading: String,
    /// Each placeholder with the text behind it.
    slots: Vec<(Slot, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Title,
    Headings,
    Path,
}

impl ContextTemplate {
    /// The value of the option that switches contexts off.
    pub(super) const NONE: &str = "none";

    /// `None` for [`Self::NONE`].
    ///
    /// # Errors
    /// If it has another placeholder, or none.
    pub(super) fn parse(template: &str) -> Result<Option<Self>, String> {
        if template == Self::NONE {
            return Ok(None);
        }
        let invalid = || {
            let expected = "expected text with {title}, {headings} or {path}, or `none`";
            format!("invalid context \"{template}\": {expected}")
        };
        let (leading, mut rest) = template.split_once('{').ok_or_else(invalid)?;
        let mut slots = Vec::new();
        loop {
            let (name, behind) = rest.split_once('}').ok_or_else(invalid)?;
            let slot = match name {
                "title" => Slot::Title,
                "headings" => Slot::Headings,
                "path" => Slot::Path,
                _ => return Err(invalid()),
            };
            match behind.split_once('{') {
                Some((text, next)) => {
                    slots.push((slot, text.to_owned()));
                    rest = next;
                }
                None => {
                    slots.push((slot, behind.to_owned()));
                    return Ok(Some(Self { leading: leading.to_owned(), slots }));
                }
            }
        }
    }

    /// `true` if the context contains the title, so that headings do not repeat it.
    fn has_title(&self) -> bool {
        self.slots.iter().any(|(slot, _)| *slot == Slot::Title)
    }

    /// Text between placeholders stands only between values: the text behind the last value.
    fn render(&self, title: &str, headings: &str, path: &str) -> String {
        let mut out = String::new();
        let mut between = self.leading.as_str();
        for (at, (slot, behind)) in self.slots.iter().enumerate() {
            let value = match slot {
                Slot::Title => title,
                Slot::Headings => headings,
                Slot::Path => path,
            };
            if !value.is_empty() {
                if at == 0 || !out.is_empty() {
                    out.push_str(between);
                }
                out.push_str(value);
                between = behind;
            }
        }
        if let Some((_, trailing)) = self.slots.last().filter(|_| !out.is_empty()) {
            out.push_str(trailing);
        }
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Limits of a context.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContextLimits {
    pub(super) tokens: usize,
    /// In characters, its line break included; `None` if the size of chunks is in tokens.
    pub(super) characters: Option<usize>,
}

impl ContextLimits {
    /// Characters of a title or heading that are read at most: more do not fit in any language.
    fn longest(self) -> usize {
        self.tokens.saturating_mul(8).min(self.characters.unwrap_or(usize::MAX))
    }
}

/// What precedes the text of a chunk.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// Token ids, those of its line break included; empty without context.
    pub(super) ids: Vec<u32>,
    /// Its share of a size in characters; 0 if sizes are in tokens.
    pub(super) characters: usize,
}

/// The template with what it needs for every document.
pub(super) struct ContextEncoder {
    pub(super) template: ContextTemplate,
    pub(super) limits: ContextLimits,
    pub(super) tokenizer: Arc<dyn Tokenizer>,
}

/// The contexts of the chunks of one document, by the number of headings before or at the chunk.
pub(super) struct DocumentContexts<'a> {
    encoder: &'a ContextEncoder,
    title: &'a str,
    path: String,
    headings: &'a [SectionHeading],
    /// For each heading, the one above it.
    parents: Vec<Option<usize>>,
    contexts: Vec<OnceCell<Context>>,
    failure: OnceCell<BoxError>,
}

impl<'a> DocumentContexts<'a> {
    /// `title` is empty if the document has none of its own; `path` is percent-encoded.
    pub(super) fn new(
        encoder: &'a ContextEncoder,
        title: &'a str,
        path: &str,
        headings: &'a [SectionHeading],
    ) -> Self {
        let mut parents: Vec<Option<usize>> = Vec::with_capacity(headings.len());
        for (at, heading) in headings.iter().enumerate() {
            let mut above = at.checked_sub(1);
            while let Some(index) = above.filter(|index| headings[*index].level >= heading.level) {
                above = parents[index];
            }
            parents.push(above);
        }
        let contexts = (0..=headings.len()).map(|_| OnceCell::new()).collect();
        let path = path_words(path).into_owned();
        Self { encoder, title, path, headings, parents, contexts, failure: OnceCell::new() }
    }

    /// The context below the last of the first `passed` headings. If the tokenizer fails, it is
    /// empty, and [`Self::check`] returns the error.
    pub(super) fn below(&self, passed: usize) -> &Context {
        self.contexts[passed].get_or_init(|| {
            self.encode_path(passed).unwrap_or_else(|error| {
                self.failure.get_or_init(|| error);
                Context::default()
            })
        })
    }

    /// # Errors
    /// If the tokenizer failed.
    pub(super) fn check(self) -> Result<(), BoxError> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }

    /// Headings are left out from the outside in until the context fits; if the last heading does
    /// not fit, the end of the context is cut.
    fn encode_path(&self, passed: usize) -> Result<Context, BoxError> {
        let ContextEncoder { template, limits, .. } = self.encoder;
        let longest = limits.longest();
        let mut above = passed.checked_sub(1);
        let mut innermost_first = Vec::new();
        while let Some(index) = above {
            innermost_first.push(cut(&self.headings[index].title, longest));
            above = self.parents[index];
        }
        let title = cut(self.title, longest);
        let own_title = Some(title).filter(|title| template.has_title() && !title.is_empty());
        let headings = distinct_headings(own_title, innermost_first.into_iter().rev());
        let path = cut(&self.path, longest);
        let mut text = String::new();
        for outermost in 0..headings.len().max(1) {
            let headings = headings.get(outermost..).unwrap_or_default().join(HEADING_ARROW);
            text = template.render(title, &headings, path);
            if text.chars().count() >= longest.saturating_mul(2) {
                continue;
            }
            if let Some(context) = self.encode(&text)?.ok() {
                return Ok(context);
            }
        }
        loop {
            let room = match self.encode(&text)? {
                Fit::Fits(context) => return Ok(context),
                Fit::TooLong { room } => room.min(text.chars().count().saturating_sub(1)),
            };
            text = cut_at_word(&text, room).to_owned();
        }
    }

    fn encode(&self, text: &str) -> Result<Fit, BoxError> {
        if text.is_empty() {
            return Ok(Fit::Fits(Context::default()));
        }
        let ContextEncoder { limits, tokenizer, .. } = self.encoder;
        let characters = text.chars().count();
        if let Some(most) = limits.characters
            && characters >= most
        {
            return Ok(Fit::TooLong { room: most.saturating_sub(1) });
        }
        let ids = ids_before_line(&**tokenizer, text)?;
        if ids.len() > limits.tokens {
            return Ok(Fit::TooLong { room: characters * limits.tokens / ids.len() });
        }
        let characters = limits.characters.map_or(0, |_| characters + 1);
        Ok(Fit::Fits(Context { ids, characters }))
    }
}

/// The token ids of a text before a further line, those of the line break included.
pub(super) fn ids_before_line(tokenizer: &dyn Tokenizer, text: &str) -> Result<Vec<u32>, BoxError> {
    // A letter behind the line break shows which ids are those of the text.
    let end = text.len() + 1;
    let mut tokens = tokenizer.encode(&format!("{text}\nx"))?;
    let of_text = tokens.offsets.iter().take_while(|span| span.end <= end).count();
    let is_split = tokens.offsets.get(of_text).is_none_or(|span| span.start >= text.len());
    if is_split {
        tokens.ids.truncate(of_text);
        return Ok(tokens.ids);
    }
    Ok(tokenizer.encode(text)?.ids)
}

enum Fit {
    Fits(Context),
    /// The characters that fit, roughly.
    TooLong {
        room: usize,
    },
}

impl Fit {
    fn ok(self) -> Option<Context> {
        match self {
            Self::Fits(context) => Some(context),
            Self::TooLong { .. } => None,
        }
    }
}

/// The first characters of a text.
fn cut(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(at, _)| &text[..at])
}

/// The first words of a text within this number of characters; characters if they have no spaces.
fn cut_at_word(text: &str, characters: usize) -> &str {
    let kept = cut(text, characters);
    if kept.len() == text.len() || text[kept.len()..].starts_with(char::is_whitespace) {
        return kept.trim_end();
    }
    let word = kept.rfind(char::is_whitespace).filter(|at| *at >= kept.len() / 2);
    kept[..word.unwrap_or(kept.len())].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_leaves_out_what_is_missing() {
        let render = |template: &str, [title, headings, path]: [&str; 3]| {
            ContextTemplate::parse(template).unwrap().unwrap().render(title, headings, path)
        };
        let usual = "{title} › {headings}";
        assert_eq!(render(usual, ["Trees", "Oaks › Age", ""]), "Trees › Oaks › Age");
        assert_eq!(render(usual, ["Trees", "", ""]), "Trees");
        assert_eq!(render(usual, ["", "Oaks", ""]), "Oaks");
        assert_eq!(render(usual, ["", "", ""]), "");
        let long = "[{path}] {title}: {headings}.";
        assert_eq!(render(long, ["Trees", "Oaks", "a/b"]), "[a/b] Trees: Oaks.");
        assert_eq!(render(long, ["", "Oaks", "a/b"]), "[a/b] Oaks.");
        assert_eq!(render("Of {title}", ["Old \n trees", "", ""]), "Of Old trees");
        assert_eq!(ContextTemplate::parse("none"), Ok(None));
        let invalid = ["{titel}", "{title", "no placeholder"]
            .map(|it| ContextTemplate::parse(it).unwrap_err());
        insta::assert_snapshot!(invalid.join("\n"), @r#"
        invalid context "{titel}": expected text with {title}, {headings} or {path}, or `none`
        invalid context "{title": expected text with {title}, {headings} or {path}, or `none`
        invalid context "no placeholder": expected text with {title}, {headings} or {path}, or `none`
        "#);
    }

    #[test]
    fn a_cut_is_between_words_where_there_are_some() {
        for (text, characters, kept) in [
            ("one two three", 9, "one two"),
            ("one two three", 7, "one two"),
            ("one two", 99, "one two"),
            ("一二三四", 3, "一二三"),
            ("a bbbbbbbbbbbbbbbb", 9, "a bbbbbbb"),
            ("word", 0, ""),
        ] {
            assert_eq!(cut_at_word(text, characters), kept);
        }
    }
}
