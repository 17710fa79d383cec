//! Encodes a query and a passage as one sequence for a cross-encoder.
//!
//! The special tokens before, between and after the texts are those that the post-processor of
//! `tokenizer.json` adds to a pair: `[CLS] q [SEP] p [SEP]` for BERT, `<s> q </s></s> p </s>` for
//! XLM-RoBERTa. Pairs are truncated as in sentence-transformers: the longer text first.

use std::path::Path;

use pipeline::{BoxError, Tokenizer as _};

use crate::prompts::Prompts;
use crate::tokenizer::FolderTokenizer;

/// Special tokens of a pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PairTemplate {
    pub(crate) prefix: Vec<u32>,
    pub(crate) middle: Vec<u32>,
    pub(crate) suffix: Vec<u32>,
    /// `true` if the tokens after the first one of `middle` have token type 1, and the others
    /// type 0; `false` if all have type 0.
    pub(crate) has_types: bool,
}

/// A tokenizer of pairs.
pub(crate) struct PairTokenizer {
    texts: FolderTokenizer,
    template: PairTemplate,
    max_tokens: usize,
}

impl PairTokenizer {
    /// Loads the tokenizer of a model folder.
    ///
    /// # Errors
    /// If it cannot be parsed, or puts nothing between the texts of a pair; for a model with token
    /// types, if it assigns them in another way than BERT; if special tokens alone fill
    /// `max_tokens`.
    pub(crate) fn read(
        folder: &Path,
        max_tokens: usize,
        has_token_types: bool,
    ) -> Result<Self, BoxError> {
        let texts = FolderTokenizer::read(folder, &Prompts::default(), max_tokens)?;
        let template = texts.pair_template(has_token_types)?;
        let special = template.prefix.len() + template.middle.len() + template.suffix.len();
        if special + 2 > max_tokens {
            return Err(format!("no room for a pair in {max_tokens} tokens").into());
        }
        Ok(Self { texts, template, max_tokens })
    }

    /// The token after which token type 1 begins; `None` if all tokens have type 0.
    pub(crate) fn type_separator(&self) -> Option<u32> {
        self.template.middle.first().copied().filter(|_| self.template.has_types)
    }

    /// Token ids of a query, for [`pair`](Self::pair).
    ///
    /// # Errors
    /// As [`pipeline::Tokenizer::encode`].
    pub(crate) fn encode_query(&self, query: &str) -> Result<Vec<u32>, BoxError> {
        let mut ids = self.texts.encode(query)?.ids;
        // The model would take the rest of the query for the passage.
        if let Some(separator) = self.type_separator() {
            ids.retain(|&id| id != separator);
        }
        Ok(ids)
    }

    /// The sequence of a pair.
    ///
    /// # Errors
    /// As [`pipeline::Tokenizer::encode`].
    pub(crate) fn pair(&self, query: &[u32], passage: &str) -> Result<Vec<u32>, BoxError> {
        let passage = self.texts.encode(passage)?.ids;
        let PairTemplate { prefix, middle, suffix, .. } = &self.template;
        let room = self.max_tokens - prefix.len() - middle.len() - suffix.len();
        let (query_len, passage_len) = fit(query.len(), passage.len(), room);
        let parts = [&prefix[..], &query[..query_len], middle, &passage[..passage_len], suffix];
        Ok(parts.concat())
    }
}

/// Lengths that fit into `room` together: the longer text is cut first, so each keeps at least half
/// of it if both are longer. An odd token is that of the longer text.
fn fit(query: usize, passage: usize, room: usize) -> (usize, usize) {
    if query + passage <= room {
        return (query, passage);
    }
    let half = if query > passage { room.div_ceil(2) } else { room / 2 };
    let query = query.min(room.saturating_sub(passage).max(half));
    (query, passage.min(room - query))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::PathBuf;

    use proptest::prelude::*;
    use tch::Tensor;

    use super::{PairTokenizer, fit};

    #[test]
    fn ids_are_those_of_transformers() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
        let lines = fs_err::read_to_string(folder.join("texts.jsonl")).unwrap();
        let texts: Vec<String> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let models = [
            ("tiny-bert-reranker", 150, true),
            ("tiny-xlm-roberta-reranker", 128, false),
            ("tiny-modernbert-reranker", 180, false),
        ];
        for (name, limit, has_types) in models {
            let tensors: HashMap<String, Tensor> =
                Tensor::read_safetensors(folder.join(name).join("reference.safetensors"))
                    .unwrap()
                    .into_iter()
                    .collect();
            let numbers =
                |part: &str| -> Vec<i64> { tensors[part].shallow_clone().try_into().unwrap() };
            let text = |at: i64| &texts[usize::try_from(at).unwrap()];
            let tokenizer = PairTokenizer::read(&folder.join(name), limit, has_types).unwrap();
            assert_eq!(tokenizer.type_separator().is_some(), has_types);
            let mut ids = numbers("ids").into_iter();
            let pairs = numbers("query").into_iter().zip(numbers("passage"));
            for ((query, passage), length) in pairs.zip(numbers("lengths")) {
                let (query, passage) = (text(query), text(passage));
                let found = tokenizer.pair(&tokenizer.encode_query(query).unwrap(), passage);
                let wanted = ids.by_ref().take(usize::try_from(length).unwrap());
                let wanted: Vec<u32> = wanted.map(|id| u32::try_from(id).unwrap()).collect();
                assert_eq!(found.unwrap(), wanted, "{name}: {query:?} {passage:?}");
            }
        }
    }

    #[test]
    fn the_passage_is_cut_before_the_query() {
        assert_eq!(fit(5, 100, 50), (5, 45));
        assert_eq!(fit(5, 20, 50), (5, 20));
        assert_eq!(fit(100, 10, 50), (40, 10));
        assert_eq!(fit(101, 100, 51), (26, 25));
        assert_eq!(fit(100, 100, 51), (25, 26));
    }

    proptest! {
        /// A longest-first truncation removes one token after the other from the longer text.
        #[test]
        fn truncation_takes_from_the_longer_text(
            query in 0_usize..300,
            passage in 0_usize..300,
            room in 1_usize..300,
        ) {
            let (kept_query, kept_passage) = fit(query, passage, room);
            prop_assert_eq!(kept_query + kept_passage, room.min(query + passage));
            prop_assert!(kept_query == query || kept_query + 1 >= kept_passage);
            prop_assert!(kept_passage == passage || kept_passage + 1 >= kept_query);
        }
    }
}
