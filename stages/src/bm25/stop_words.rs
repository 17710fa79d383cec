//! Stop words.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use crate::bm25::normalize;

/// The stop words of each language that has a stemmer and a list.
pub(super) static STOP_WORDS: LazyLock<BTreeMap<&str, HashSet<&str>>> = LazyLock::new(|| {
    let languages = normalize::LANGUAGES.iter().map(|(code, _)| *code);
    languages.filter_map(|code| Some((code, load_stop_words(code)?))).collect()
});

fn load_stop_words(code: &str) -> Option<HashSet<&'static str>> {
    let code = match code {
        "nb" => "no",
        // `stop_words` has no list for Tamil.
        "ta" => return None,
        code => code,
    };
    Some(stop_words::get(code).iter().copied().collect())
}
