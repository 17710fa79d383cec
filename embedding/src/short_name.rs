//! A model's short name, as it stands in the names of vector collections.
//!
//! It is made from the name of the folder or on the hub: words that say nothing about which model it is (`all`, `en`,
//! `embedding`, versions …) are dropped, the rest is joined, in lower-case letters and digits, at most 24 of
//! them. Names that are known by a shorter word than the rule gives stand in a table. Two models may share
//! a short name: collections are told apart by their id and generation.

const LONGEST: usize = 24;

/// Folder names in lower case, and what people call these models.
static KNOWN: &[(&str, &str)] = &[
    ("multilingual-e5-base", "me5base"),
    ("multilingual-e5-large", "me5large"),
    ("multilingual-e5-small", "me5small"),
    ("qwen3-embedding-0.6b", "qwen06b"),
    ("qwen3-embedding-4b", "qwen4b"),
    ("qwen3-embedding-8b", "qwen8b"),
];

static DROPPED: &[&str] =
    &["all", "embed", "embedding", "embeddings", "en", "model", "sentence", "text", "transformers"];

/// The short name of the model whose folder, or repository on the hub, is called so.
pub(crate) fn short_name(name: &str) -> String {
    let name = name.to_lowercase();
    if let Some((_, short)) = KNOWN.iter().find(|(known, _)| *known == name) {
        return (*short).to_owned();
    }
    let words: Vec<&str> = name
        .split(['-', '_', ' '])
        .filter(|word| !DROPPED.contains(word) && !is_version(word))
        .collect();
    let short: String =
        words.concat().chars().filter(char::is_ascii_alphanumeric).take(LONGEST).collect();
    if short.is_empty() { "model".to_owned() } else { short }
}

/// `v2`, `v1.5`
fn is_version(word: &str) -> bool {
    word.strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|first: char| first.is_ascii_digit())
            && rest.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
    })
}

#[cfg(test)]
mod tests {
    use super::short_name;

    #[test]
    fn models_people_use() {
        for (name, short) in [
            ("all-MiniLM-L6-v2", "minilml6"),
            ("all-MiniLM-L12-v2", "minilml12"),
            ("all-mpnet-base-v2", "mpnetbase"),
            ("bge-small-en-v1.5", "bgesmall"),
            ("bge-m3", "bgem3"),
            ("e5-large-v2", "e5large"),
            ("multilingual-e5-small", "me5small"),
            ("Qwen3-Embedding-0.6B", "qwen06b"),
            ("nomic-embed-text-v1.5", "nomic"),
            ("gte-modernbert-base", "gtemodernbertbase"),
            ("vektor", "vektor"),
            ("模型", "model"),
            ("paraphrase-multilingual-MiniLM-L12-v2", "paraphrasemultilingualmi"),
        ] {
            assert_eq!(short_name(name), short, "{name}");
        }
    }
}
