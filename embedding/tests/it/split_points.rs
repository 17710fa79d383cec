//! A text can be split at every position that the tokenizer reports, and encoding in parts does not
//! change ids.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use pipeline::Tokenizer;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::{copy, minilm, reference, tokenizer};

pub(crate) static MINILM: LazyLock<Arc<dyn Tokenizer>> = LazyLock::new(|| tokenizer(&minilm()));
pub(crate) static UNIGRAM: LazyLock<Arc<dyn Tokenizer>> =
    LazyLock::new(|| tokenizer(&reference().join("tiny-e5")));
pub(crate) static GPT2: LazyLock<Arc<dyn Tokenizer>> = LazyLock::new(|| {
    byte_level(&json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true
    }))
});
pub(crate) static QWEN: LazyLock<Arc<dyn Tokenizer>> = LazyLock::new(|| {
    byte_level(&json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "invert": false, "behavior": "Isolated", "pattern": {"Regex":
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"}},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}
    ]}))
});

/// A model folder with a byte-level BPE tokenizer with a few merges.
fn byte_level(pre_tokenizer: &Value) -> Arc<dyn Tokenizer> {
    let merges =
        ["Ġ t", "Ġt h", "Ġth e", "h e", "Ċ Ċ", ". Ċ", "Ġ Ġ", "Ã ©", "e r", "i n", "in g", "Ġ a"];
    let mut vocabulary: Vec<String> = ByteLevel::alphabet().into_iter().map(String::from).collect();
    vocabulary.sort();
    vocabulary.extend(merges.map(|merge| merge.replace(' ', "")));
    let ids: serde_json::Map<_, _> =
        vocabulary.into_iter().zip(0..).map(|(token, id)| (token, json!(id))).collect();
    let folder = copy("tiny-bert-cls");
    let tokenizer_json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": pre_tokenizer,
        "post_processor": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": ids, "merges": merges, "byte_fallback": false}
    });
    fs_err::write(folder.path().join("tokenizer.json"), tokenizer_json.to_string()).unwrap();
    tokenizer(folder.path())
}

/// Text that mixes everything that tokenizers treat specially.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[a-zA-Z]{1,12}",
        3 => prop::sample::select(vec![" ", "  ", "\n", "\n\n", "\r\n", "\t", " \n", "\u{a0}", "\u{3000}", "\u{85}", "\u{2028}"]).prop_map(str::to_owned),
        2 => "[!-/:-@\\[-`{-~]{1,3}",
        1 => "[0-9]{1,6}",
        2 => "[\u{300}-\u{36f}\u{1d165}\u{5b0}-\u{5bd}\u{93c}\u{94d}\u{302e}\u{20dd}\u{f73}]{1,3}",
        2 => "[\u{4e00}-\u{4e20}\u{f900}\u{3042}-\u{3060}\u{30ab}。，！]{1,6}",
        1 => "[\u{1100}-\u{1112}\u{1161}-\u{1175}\u{11a8}-\u{11c2}가-갛]{1,4}",
        1 => "[éàöçñßİıſﬁ½ǅ]{1,4}",
        1 => prop::sample::select(vec!["[SEP]", "[MASK]", "[CLS", "[UNK] ", " the", "'s", "don't", "▁", "👩‍👩‍👧", "\u{200b}", "\u{0}", "\u{fffd}", "\u{ad}", "##ing"]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "[a-z]{95,105}",
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// Splits the text at every allowed position and encodes the parts separately.
fn check_cuts(tokenizer: &dyn Tokenizer, text: &str) -> Result<(), TestCaseError> {
    let tokens = tokenizer.encode(text).unwrap();
    let count = tokens.ids.len();
    prop_assert_eq!(tokens.offsets.len(), count);
    prop_assert_eq!(tokens.can_split_before.len(), count);
    prop_assert!(tokens.offsets.is_sorted_by_key(|span| span.start));
    prop_assert!(
        tokens.offsets.iter().all(|span| span.start <= span.end && span.end <= text.len())
    );

    let part = |range: Range<usize>| tokenizer.encode(&text[range]).unwrap().ids;
    let cuts: Vec<usize> = (0..count).filter(|&at| tokens.can_split_before[at]).collect();
    for (nth, &at) in cuts.iter().enumerate() {
        let start = tokens.offsets[at].start;
        prop_assert_eq!(part(0..start), &tokens.ids[..at], "before {}", start);
        prop_assert_eq!(part(start..text.len()), &tokens.ids[at..], "after {}", start);
        // A chunk of three words, with and without the text between its last token and the next.
        let to = cuts.get(nth + 3).copied().unwrap_or(count);
        let behind = tokens.offsets.get(to).map_or(text.len(), |span| span.start);
        prop_assert_eq!(part(start..behind), &tokens.ids[at..to]);
        prop_assert_eq!(part(start..tokens.offsets[to - 1].end), &tokens.ids[at..to]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn words_of_bert(text in text()) {
        check_cuts(&**MINILM, &text)?;
    }

    #[test]
    fn spaces_of_sentencepiece(text in text()) {
        check_cuts(&**UNIGRAM, &text)?;
    }

    #[test]
    fn spaces_of_byte_level_bpe(text in text()) {
        check_cuts(&**GPT2, &text)?;
        check_cuts(&**QWEN, &text)?;
    }
}

#[test]
fn cuts_are_found_where_they_are_wanted() {
    let cuts = |tokenizer: &dyn Tokenizer, text: &'static str| -> Vec<&'static str> {
        let tokens = tokenizer.encode(text).unwrap();
        let mut cuts: Vec<usize> = tokens
            .offsets
            .iter()
            .zip(&tokens.can_split_before)
            .filter(|(_, may)| **may)
            .map(|(span, _)| span.start)
            .collect();
        cuts.push(text.len());
        cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
    };
    insta::assert_debug_snapshot!(cuts(&**MINILM, "Unbelievably, 日本語 works."), @r#"
    [
        "Unbelievably",
        ", ",
        "日",
        "本",
        "語 ",
        "works",
        ".",
    ]
    "#);
    insta::assert_debug_snapshot!(cuts(&**UNIGRAM, "the quick brown fox"), @r#"
    [
        "the",
        " quick",
        " brown",
        " fox",
    ]
    "#);
    insta::assert_debug_snapshot!(cuts(&**GPT2, "the other thing"), @r#"
    [
        "the",
        " other",
        " thing",
    ]
    "#);
    insta::assert_debug_snapshot!(cuts(&**QWEN, "the other thing.\n\nthe end"), @r#"
    [
        "the",
        " other",
        " thing.\n\nthe",
        " end",
    ]
    "#);
}

#[test]
fn long_texts_are_encoded_as_the_crate_encodes_them_whole() {
    let words = "The kernel, as it were, keeps [SEP] a queue (of pages) 敏捷的棕色狐狸跳过了懒狗。 naïve e\u{301}clair \u{301} …\n";
    let prose = words.repeat(2500);
    let chinese = "敏捷的棕色狐狸跳过了懒狗".repeat(8000);
    // A text without a split position that is known without the tokenizer.
    let arrows = "→".repeat(60_000);
    let mixed = format!("{}é {prose}", "x".repeat(70_000));
    for (tokenizer, folder) in [(&MINILM, minilm()), (&UNIGRAM, reference().join("tiny-e5"))] {
        for text in [&prose, &chinese, &arrows, &mixed] {
            assert!(text.len() > 128 << 10);
            compare(&***tokenizer, &folder, text);
        }
    }
}

/// A word of millions of letters must not need gigabytes, and keeps the id that the crate gives.
#[test]
fn long_words_are_unknown_words() {
    let word = "QUJD".repeat(40_000);
    for text in
        [word.clone(), format!("a {word} b"), format!("{word}\u{301}"), format!("({word}/{word}=)")]
    {
        compare(&**MINILM, &minilm(), &text);
    }
}

fn compare(tokenizer: &dyn Tokenizer, folder: &Path, text: &str) {
    let mut whole = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
    whole.with_padding(None).with_truncation(None).unwrap();
    let whole = whole.encode(text, false).unwrap();
    let parts = tokenizer.encode(text).unwrap();
    assert_eq!(parts.ids.len(), whole.get_ids().len());
    assert!(parts.ids == whole.get_ids());
    for (ours, &(start, end)) in parts.offsets.iter().zip(whole.get_offsets()) {
        // The spans also contain accents and control characters that normalisation removes.
        assert!(ours.start == start && ours.end >= end, "{ours:?}, not {start}..{end}");
        assert!(!text[end..ours.end].contains(char::is_whitespace));
    }
}
