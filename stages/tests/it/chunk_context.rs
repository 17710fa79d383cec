//! The context of chunks: title and headings in their token ids.

use pipeline::Tokenizer as _;
use proptest::prelude::*;
use serde_json::json;

use crate::chunk::{Chunk, Heading, chunks_of, configured, titled};
use crate::support::FakeTokenizer;

/// Full model input of a text.
fn input(text: &str) -> Vec<u32> {
    FakeTokenizer.add_special_tokens(&FakeTokenizer.encode(text).unwrap().ids)
}

fn chunks(
    options: serde_json::Value,
    title: Option<&str>,
    text: &str,
    headings: &[Heading<'_>],
) -> Vec<Chunk> {
    let rows = titled(title, &[(text, headings, &[])]);
    chunks_of(&*configured(options), rows).0.pop().unwrap_or_default()
}

#[test]
fn the_model_reads_title_and_headings_before_the_text() {
    let text = "# Aa\none two\n\n## Bb\nsix ten";
    let headings = [(0, 1, "Aa"), (14, 2, "Bb")];
    let shown = |options: serde_json::Value, title: Option<&str>| {
        let mut options = options;
        options["size"] = json!(16);
        options["overlap"] = json!(0);
        options["strategy"] = json!("markdown");
        options["min_size"] = json!(1);
        chunks(options, title, text, &headings)
    };
    let inputs = |found: &[Chunk], contexts: &[&str]| {
        assert_eq!(found.len(), contexts.len());
        for (chunk, context) in found.iter().zip(contexts) {
            let text = &text[chunk.range.clone()];
            assert_eq!(chunk.tokens, input(&format!("{context}\n{text}")), "{context}");
        }
    };
    // Three tokens of sixteen: a fourth would be more than a quarter of the fourteen of the text.
    inputs(&shown(json!({}), Some("Cc")), &["Cc › Aa", "Cc › Bb"]);
    inputs(&shown(json!({}), Some("aa")), &["aa", "aa › Bb"]);
    inputs(&shown(json!({}), None), &["Aa", "Aa › Bb"]);
    // The documents of the test are files with the names 0, 1, …
    inputs(&shown(json!({}), Some("0")), &["Aa", "Aa › Bb"]);
    inputs(&shown(json!({ "context": "{title}" }), Some("Cc")), &["Cc", "Cc"]);
    inputs(&shown(json!({ "context": "{path}:" }), Some("Cc")), &["0:", "0:"]);
    inputs(&shown(json!({ "context": "none" }), Some("Cc")), &["", ""]);
}

#[test]
fn a_long_context_is_shortened_from_the_outside_in() {
    let text = "one two six";
    let context = |headings: &[Heading<'_>], title: Option<&str>| {
        let options = json!({ "size": 16, "overlap": 0 });
        let found = chunks(options, title, text, headings);
        let ids = FakeTokenizer.encode(text).unwrap().ids;
        let tokens = &found[0].tokens;
        tokens[1..tokens.len() - 1 - ids.len()].to_vec()
    };
    let ids = |text: &str| FakeTokenizer.encode(text).unwrap().ids;
    let path = [(0, 1, "aa"), (0, 2, "bb"), (0, 3, "cc")];
    assert_eq!(context(&path, None), ids("bb › cc"));
    assert_eq!(context(&path, Some("tt")), ids("tt › cc"));
    assert_eq!(context(&[(0, 1, "aa bb cc dd")], None), ids("aa bb cc"));
    assert_eq!(context(&[(0, 1, &"x".repeat(10_000))], None), ids("xxxxxxxxx"));
}

#[test]
fn a_document_without_title_and_headings_has_the_whole_size() {
    let text = "one two six ten one two six ten one two six ten one two";
    let found = chunks(json!({ "size": 16, "overlap": 0 }), None, text, &[]);
    assert_eq!(found.len(), 1);
    let found = chunks(json!({ "size": 16, "overlap": 0 }), Some("Title"), text, &[]);
    assert_eq!(found.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Whatever title and headings are: no limit is exceeded, the ranges are those of the text, and
    /// the ids end with those of the text and begin with at most a quarter of the size.
    #[test]
    fn contexts_keep_the_limits(
        text in "([a-zé]{1,9}|[A-Z.!?]{1,3}|日本|。|[ \n]{1,3}|x{20}){0,60}",
        title in prop::option::of("([a-z]{1,9}|[ \n]|日本|🎉|x{30}){0,20}"),
        headings in prop::collection::vec((0_u64..80, 1_u8..4, "([a-z]{1,9}|[ .]|日本){0,9}"), 0..6),
        strategy in prop::sample::select(vec!["recursive", "markdown", "fixed"]),
        unit in prop::sample::select(vec!["tokens", "characters"]),
        (size, overlap) in (4_usize..=16).prop_flat_map(|size| (Just(size), 0..size)),
    ) {
        let mut headings = headings;
        headings.sort_by_key(|heading| heading.0);
        let headings: Vec<Heading<'_>> = headings.iter().map(|it| (it.0, it.1, &*it.2)).collect();
        let options =
            json!({ "strategy": strategy, "unit": unit, "size": size, "overlap": overlap });
        let found = chunks(options, title.as_deref(), &text, &headings);
        let mut covered = 0;
        for chunk in &found {
            let piece = &text[chunk.range.clone()];
            prop_assert!(text[covered.min(chunk.range.start)..chunk.range.start].trim().is_empty());
            covered = covered.max(chunk.range.end);
            let ids = FakeTokenizer.encode(piece).unwrap().ids;
            let most = FakeTokenizer.max_tokens();
            let limit = if unit == "tokens" { size } else { most };
            prop_assert!(chunk.tokens.len() <= limit);
            prop_assert!(unit == "tokens" || piece.chars().count() <= size);
            let inner = &chunk.tokens[1..chunk.tokens.len() - 1];
            prop_assert!(inner.ends_with(&ids), "{:?}", piece);
            let room = if unit == "tokens" { size.min(most) } else { most } - 2;
            prop_assert!(inner.len() - ids.len() <= room / 4);
        }
        prop_assert!(text[covered..].trim().is_empty());
    }
}
