//! A model's short name, part of the names of vector collections.
//!
//! It is derived from the name of the folder or on the hub: words that do not identify the model
//! (`all`, `en`, `embedding`, versions …) are dropped; the rest is joined as lower-case letters and
//! digits, at most 24. A table holds common shorter names. Two models may have the same short name:
//! collections differ by their id and generation.

const MAX_LENGTH: usize = 24;

/// Folder names in lower case, and their common short names.
static KNOWN_MODELS: &[(&str, &str)] = &[
    ("multilingual-e5-base", "me5base"),
    ("multilingual-e5-large", "me5large"),
    ("multilingual-e5-small", "me5small"),
    ("qwen3-embedding-0.6b", "qwen06b"),
    ("qwen3-embedding-4b", "qwen4b"),
    ("qwen3-embedding-8b", "qwen8b"),
];

static DROPPED_WORDS: &[&str] =
    &["all", "embed", "embedding", "embeddings", "en", "model", "sentence", "text", "transformers"];

/// The short name for the name of a model's folder or repository.
pub(crate) fn short_name(name: &str) -> String {
    let name = name.to_lowercase();
    if let Some((_, short)) = KNOWN_MODELS.iter().find(|(known, _)| *known == name) {
        return (*short).to_owned();
    }
    let words: Vec<&str> = name
        .split(['-', '_', ' '])
        .filter(|word| !DROPPED_WORDS.contains(word) && !is_version(word))
        .collect();
    let short: String =
        words.concat().chars().filter(char::is_ascii_alphanumeric).take(MAX_LENGTH).collect();
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
