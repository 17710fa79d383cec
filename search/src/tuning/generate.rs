//! Questions made from the collection itself, each with the document that it was made from.
//!
//! Three kinds: the sentence in which a document says what it is about, a heading, and a title.
//! While a question is asked, its words are removed from what is indexed of its own document, or
//! finding it would prove nothing: the sentence is cut out of the text; the heading or title is
//! removed from its field, and from the text where it stands on a line of its own.

use std::collections::{BTreeMap, HashMap, HashSet};

use pipeline::{HEADING_SEPARATOR, Payload, is_meaningful_title};

use crate::tuning::chance::hash_of;
use crate::tuning::clicks::fold;
use crate::tuning::corpus::Corpus;
use crate::tuning::definition::definition_of;
use crate::tuning::mask::{cut_lines, cut_range, without_heading};
use crate::tuning::question::{Answer, MaskedChunk, Question, QuestionKind};

/// Number of words of a heading or title that makes a question.
const HEADING_WORDS: std::ops::RangeInclusive<usize> = 2..=10;

/// Largest number of chunks of one document that a question changes; further ones take no part
/// while it is asked. Each has to be embedded again.
pub(crate) const MAX_MASKED: usize = 8;

/// A question that may be asked.
struct Draft {
    kind: QuestionKind,
    text: String,
    document: usize,
    /// What to remove.
    source: DraftSource,
}

enum DraftSource {
    /// Byte range in the content of a chunk.
    Sentence {
        chunk: usize,
        range: std::ops::Range<usize>,
    },
    Heading(String),
    Title(String),
}

/// At most `count` questions, about as many of each kind; at most one of each kind per document.
/// The same corpus and seed give the same questions.
pub(crate) fn generate(corpus: &Corpus, count: usize, seed: u64) -> Vec<Question> {
    let mut drafts = Vec::new();
    for document in 0..corpus.documents.len() {
        drafts.extend(definition(corpus, document));
        drafts.extend(title(corpus, document));
    }
    drafts.extend(headings(corpus));
    keep_distinct(&mut drafts);
    let mut kinds: BTreeMap<QuestionKind, Vec<Draft>> = BTreeMap::new();
    for draft in drafts {
        kinds.entry(draft.kind).or_default().push(draft);
    }
    for (kind, drafts) in &mut kinds {
        let kind = kind.to_string();
        drafts.sort_by_cached_key(|draft| {
            let uri = &corpus.documents[draft.document].uri;
            (hash_of(seed, &[&kind, uri, &draft.text]), draft.text.clone())
        });
        let mut seen = HashSet::new();
        drafts.retain(|draft| seen.insert(draft.document));
    }
    let mut queues: Vec<_> = kinds.into_values().map(Vec::into_iter).collect();
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let before = chosen.len();
        for queue in &mut queues {
            if chosen.len() < count {
                chosen.extend(queue.next());
            }
        }
        if chosen.len() == before {
            break;
        }
    }
    chosen.into_iter().map(|draft| draft.into_question(corpus)).collect()
}

/// Drops texts that occur more than once, because each of them has several answers.
fn keep_distinct(drafts: &mut Vec<Draft>) {
    let mut documents: HashMap<String, HashSet<usize>> = HashMap::new();
    for draft in &*drafts {
        documents.entry(fold(&draft.text)).or_default().insert(draft.document);
    }
    let mut seen = HashSet::new();
    drafts.retain(|draft| {
        let text = fold(&draft.text);
        documents[&text].len() == 1 && seen.insert(text)
    });
}

fn definition(corpus: &Corpus, document: usize) -> Option<Draft> {
    let chunks = &corpus.documents[document].chunks;
    // A document says what it is about at its start.
    chunks.iter().take(2).find_map(|&chunk| {
        let (text, range) = definition_of(&corpus.chunks[chunk].payload)?;
        let source = DraftSource::Sentence { chunk, range };
        Some(Draft { kind: QuestionKind::Definition, text, document, source })
    })
}

fn title(corpus: &Corpus, document: usize) -> Option<Draft> {
    let first = *corpus.documents[document].chunks.first()?;
    let title = corpus.chunks[first].payload.title.as_deref()?;
    let text = without_number(title).to_owned();
    let is_usable = is_meaningful_title(title) && is_question(&text);
    let source = DraftSource::Title(title.to_owned());
    is_usable.then_some(Draft { kind: QuestionKind::Title, text, document, source })
}

/// The headings that only one document has.
fn headings(corpus: &Corpus) -> Vec<Draft> {
    let mut documents: BTreeMap<&str, HashSet<usize>> = BTreeMap::new();
    for chunk in &corpus.chunks {
        let path = chunk.payload.headings.as_deref().unwrap_or_default();
        for heading in path.split(HEADING_SEPARATOR).map(str::trim) {
            documents.entry(heading).or_default().insert(chunk.document);
        }
    }
    let single = documents.into_iter().filter(|(_, documents)| documents.len() == 1);
    let drafts = single.filter_map(|(heading, documents)| {
        let document = documents.into_iter().next()?;
        let first = *corpus.documents[document].chunks.first()?;
        let title = corpus.chunks[first].payload.title.as_deref().unwrap_or_default();
        let text = without_number(heading).to_owned();
        // A heading that repeats the title is that kind of question.
        let is_usable = is_question(&text) && fold(title) != fold(heading);
        let source = DraftSource::Heading(heading.to_owned());
        is_usable.then_some(Draft { kind: QuestionKind::Heading, text, document, source })
    });
    drafts.collect()
}

/// `true` for a text with enough words that are neither numbers nor symbols.
fn is_question(text: &str) -> bool {
    let words = text.split_whitespace();
    let words = words.filter(|word| word.chars().any(char::is_alphabetic)).count();
    // Words of Chinese, Japanese and Thai have no space between them.
    let is_unspaced = text.chars().filter(|it| it.is_alphabetic() && !it.is_ascii()).count() >= 4;
    HEADING_WORDS.contains(&words) || (words == 1 && is_unspaced && text.chars().count() <= 40)
}

/// A heading without its number: `5.2. Locks`, `F.33.1. Functions` or `Chapter 5. Locks`.
fn without_number(heading: &str) -> &str {
    let heading = heading.trim();
    let numbered = ["chapter", "part", "section", "appendix"].into_iter().find_map(|word| {
        let start = heading.get(..word.len())?;
        let rest = &heading[word.len()..];
        let is_word = start.eq_ignore_ascii_case(word) && rest.starts_with(char::is_whitespace);
        is_word.then(|| rest.trim_start())
    });
    let rest = numbered.unwrap_or(heading);
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (number, text) = rest.split_at(end);
    let has = |what: fn(char) -> bool| number.chars().filter(|it| what(*it)).count();
    let letters = has(char::is_alphabetic);
    let is_number = has(|it| !it.is_ascii_alphanumeric() && !matches!(it, '.' | ')' | ':')) == 0
        && letters <= 1
        && letters + has(|it| it.is_ascii_digit()) > 0
        && (number.contains(['.', ')', ':']) || numbered.is_some());
    let text = text.trim_start();
    if is_number && !text.is_empty() { text } else { heading }
}

impl Draft {
    fn into_question(self, corpus: &Corpus) -> Question {
        let chunks = &corpus.documents[self.document].chunks;
        let mut masked = Vec::new();
        for &chunk in chunks {
            let payload = &corpus.chunks[chunk].payload;
            let Some(changed) = self.source.removed_from(payload, corpus) else { continue };
            let payload = (masked.len() < MAX_MASKED).then_some(changed);
            masked.push(MaskedChunk { chunk, payload });
        }
        let answer = Answer { documents: vec![self.document], grade: 1 };
        Question { kind: self.kind, text: self.text, relevant: vec![answer], masked }
    }
}

impl DraftSource {
    /// The payload of a chunk without the words of the question; `None` if it does not have them.
    fn removed_from(&self, payload: &Payload, corpus: &Corpus) -> Option<Payload> {
        let mut changed = payload.clone();
        match self {
            Self::Sentence { chunk, range } => {
                changed.content = cut_range(&corpus.chunks[*chunk].payload, range, payload)?;
            }
            Self::Heading(heading) => {
                changed.headings = without_heading(payload.headings.as_deref(), heading);
                changed.content = cut_lines(&payload.content, heading);
            }
            Self::Title(title) => {
                changed.title = None;
                changed.headings = without_heading(payload.headings.as_deref(), title);
                changed.content = cut_lines(&payload.content, title);
                changed.uri = without_name(&payload.uri, title);
            }
        }
        (changed != *payload).then_some(changed)
    }
}

/// A URI without its last segment, if most words of the title are in it.
fn without_name(uri: &str, title: &str) -> String {
    let (folder, name) = uri.rsplit_once('/').unwrap_or(("", uri));
    let name = name.to_lowercase();
    let words: Vec<String> = title.split_whitespace().map(str::to_lowercase).collect();
    let known = words.iter().filter(|word| name.contains(word.as_str())).count();
    if 2 * known >= words.len() { format!("{folder}/-") } else { uri.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_headings_are_no_words() {
        for (heading, text) in [
            ("5.2. Explicit locking", "Explicit locking"),
            ("Chapter 13. Concurrency control", "Concurrency control"),
            ("13.3.1 Table locks", "Table locks"),
            ("3 ways to lock", "3 ways to lock"),
            ("F.33.1. Functions", "Functions"),
            ("C functions", "C functions"),
            ("Section", "Section"),
            ("Party rules", "Party rules"),
            ("2026", "2026"),
        ] {
            assert_eq!(without_number(heading), text);
        }
    }

    #[test]
    fn the_name_of_a_file_that_tells_its_title_is_masked() {
        assert_eq!(
            without_name("file:///d/explicit-locking.html", "Explicit locking"),
            "file:///d/-"
        );
        assert_eq!(without_name("file:///d/a7.html", "Explicit locking"), "file:///d/a7.html");
    }
}
