//! The fields of sparse vectors: weights, explanations, and the terms of a query as written.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::{Passage, PassageField, QueryTermKind, SparseEncoder};
use proptest::prelude::*;
use serde_json::{Value, json};

fn encoder(mut options: Value) -> Arc<dyn SparseEncoder> {
    options["version"] = json!(2);
    stages::sparse_encoder(&options).unwrap()
}

fn english() -> Vec<String> {
    vec!["en".to_owned()]
}

/// The weights of words by a direct computation of BM25F, for fields of plain words.
fn bm25f(passage: &Passage<'_>, fields: &[(&str, f64, f64, f64)]) -> BTreeMap<String, f64> {
    let k1 = 1.2;
    let mut frequencies: BTreeMap<String, f64> = BTreeMap::new();
    for (field, weight, b, average) in fields {
        let text = match *field {
            "text" => passage.text,
            "headings" => passage.headings.unwrap_or_default(),
            "title" => passage.title.unwrap_or_default(),
            "path" => passage.path.unwrap_or_default(),
            _ => unreachable!("there is no other field"),
        };
        let words: Vec<&str> =
            text.split([' ', '/', '>']).filter(|word| !word.is_empty()).collect();
        #[expect(clippy::cast_precision_loss, reason = "a text has few words")]
        let length = words.len() as f64;
        for word in words {
            *frequencies.entry(word.to_owned()).or_default() +=
                weight / (1.0 - b + b * length / average);
        }
    }
    let saturated = frequencies.into_iter().filter(|(_, tf)| *tf > 0.0);
    saturated.map(|(word, tf)| (word, tf * (k1 + 1.0) / (k1 + tf))).collect()
}

/// Words without inflection, so that every word is its own term.
fn words(most: usize) -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["oak", "fir", "elm", "ash", "yew", "fig"]);
    prop::collection::vec(word, 1..=most).prop_map(|words| words.join(" "))
}

proptest! {
    /// The weights are those of the formula in the documentation.
    #[test]
    fn weights_are_those_of_bm25f(
        text in words(40),
        heading in words(6),
        title in words(4),
        path in words(3),
        (headings_weight, title_weight, path_weight) in (0.0..5.0, 0.0..5.0, 0.0..5.0),
        (b, average) in (0.0..1.0, 1.0..20.0),
    ) {
        let fields = [
            ("text", 1.0, 0.75, 180.0),
            ("headings", headings_weight, b, average),
            ("title", title_weight, 0.5, 6.0),
            ("path", path_weight, 0.0, 2.0),
        ];
        // The title repeats no heading: both are cleaned of such repetitions.
        prop_assume!(title.to_lowercase() != heading.to_lowercase());
        let encoder = encoder(json!({ "fields": {
            "headings": { "weight": headings_weight, "b": b, "average_length": average },
            "title": { "weight": title_weight },
            "path": { "weight": path_weight, "b": 0, "average_length": 2 },
        } }));
        let path = path.replace(' ', "/");
        let passage = Passage {
            headings: Some(&heading),
            title: Some(&title),
            path: Some(&path),
            ..Passage::of_text(&text, Some("en"))
        };
        let vector = encoder.encode_document(&passage);
        let expected = bm25f(&passage, &fields);
        prop_assert_eq!(vector.indices.len(), expected.len());
        for (word, weight) in expected {
            let query = encoder.encode_query(&word, &english());
            prop_assert!((f64::from(query.dot(&vector)) - weight).abs() < 1e-5, "{}", word);
        }
    }

    /// Without weights of the other fields, the weights are those of the version before them.
    #[test]
    fn without_fields_the_weights_are_those_of_the_text(
        text in any::<String>(),
        other in any::<String>(),
        k1 in 0.0..3.0,
        b in 0.0..=1.0,
    ) {
        let former = json!({ "version": 1, "k1": k1, "b": b });
        let former = stages::sparse_encoder(&former).unwrap();
        let none = json!({ "weight": 0 });
        let fields = json!({ "headings": none, "title": none, "path": none });
        let encoder = encoder(json!({ "k1": k1, "b": b, "fields": fields }));
        let bare = Passage::of_text(&text, Some("en"));
        let full = Passage {
            headings: Some(&other), title: Some(&other), path: Some(&other), ..bare
        };
        let vector = encoder.encode_document(&full);
        prop_assert_eq!(&vector, &encoder.encode_document(&bare));
        prop_assert_eq!(&vector, &former.encode_document(&full));
        prop_assert!(!encoder.reads(PassageField::Path) && encoder.reads(PassageField::Text));
    }

    /// For any passage and query, the parts of the weights of a term add up to its value.
    #[test]
    fn an_explanation_adds_up(
        [text, headings, title, path] in any::<[String; 4]>(),
        query in "\\PC{0,30}",
    ) {
        let encoder = stages::default_sparse_encoder();
        let passage = Passage {
            headings: Some(&headings),
            title: Some(&title),
            path: Some(&path),
            ..Passage::of_text(&text, None)
        };
        let vector = encoder.encode_document(&passage);
        prop_assert!(vector.is_valid());
        prop_assert!(vector.values.iter().all(|value| *value > 0.0));
        for query in [query, text.clone(), path.clone()] {
            let query = encoder.encode_query(&query, &[]);
            let mut sums: BTreeMap<u32, f32> = BTreeMap::new();
            let matches = encoder.explain(&passage, &query);
            prop_assert!(matches.is_sorted_by(|one, next| one.weight >= next.weight));
            for found in matches {
                prop_assert!(found.frequency > 0 && found.weight > 0.0 && !found.term.is_empty());
                *sums.entry(found.index).or_default() += found.weight;
            }
            let common = vector.indices.iter().zip(&vector.values);
            let common: BTreeMap<u32, f32> = common
                .filter(|(index, _)| query.indices.contains(index))
                .map(|(index, value)| (*index, *value))
                .collect();
            prop_assert!(sums.keys().eq(common.keys()));
            prop_assert!(sums.values().zip(common.values()).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }

    /// Any query has terms, in order, with indices of its vector.
    #[test]
    fn terms_of_any_query_are_in_it(query in "[\"a-zA-Z0-9 .'_-]{0,40}|\\PC{0,40}") {
        let encoder = stages::default_sparse_encoder();
        let terms = encoder.query_terms(&query, &english());
        let vector = encoder.encode_query(&query, &english());
        prop_assert_eq!(terms.is_empty(), vector.is_empty());
        for term in terms {
            prop_assert!(query.contains(&term.text) && !term.indices.is_empty());
            // Stop words have terms in quotation marks, and as names: `DoEs`.
            let may_be_stop_word = term.quoted || term.kind == QueryTermKind::Identifier;
            let known = term.indices.iter().all(|index| vector.indices.contains(index));
            prop_assert!(known || may_be_stop_word, "{:?}", term);
        }
    }
}

#[test]
fn fields_are_explained() {
    let encoder = stages::default_sparse_encoder();
    let passage = Passage {
        headings: Some("Managing Locks > Advisory Locks"),
        title: Some("Managing Locks"),
        path: Some("guide/advisory-locks.html"),
        ..Passage::of_text("Advisory locks are held until released. A lock may wait.", Some("en"))
    };
    let query = encoder.encode_query("advisory lock", &english());
    let explained: Vec<String> = encoder
        .explain(&passage, &query)
        .iter()
        .map(|it| {
            format!("{} in {}: {} × {:.3}", it.term, it.field.name(), it.frequency, it.weight)
        })
        .collect();
    insta::assert_snapshot!(explained.join("\n"));
}

#[test]
fn words_of_headings_title_and_path_are_found() {
    let encoder = stages::default_sparse_encoder();
    let passage = Passage {
        headings: Some("Replication > Failover"),
        title: Some("Administration"),
        path: Some("high-availability/stand%20by.md"),
        ..Passage::of_text("The other server takes over.", Some("en"))
    };
    let vector = encoder.encode_document(&passage);
    for (query, is_found) in [
        ("failover", true),
        ("replicate", true),
        ("administration", true),
        ("high-availability", true),
        ("availability", true),
        ("stand", true),
        ("by the by", true),
        ("md", false),
        ("primary", false),
    ] {
        let found = encoder.encode_query(query, &english()).dot(&vector) > 0.0;
        assert_eq!(found, is_found, "{query}");
    }
}

#[test]
fn a_query_has_words_names_numbers_and_phrases() {
    let encoder = stages::default_sparse_encoder();
    let terms = |query: &str| {
        let terms = encoder.query_terms(query, &english()).into_iter().map(|term| {
            let sign = match term.kind {
                QueryTermKind::Word => "",
                QueryTermKind::Identifier => "=",
                QueryTermKind::Number => "#",
            };
            let quote = if term.quoted { "\"" } else { "" };
            format!("{sign}{quote}{}{quote}", term.text)
        });
        terms.collect::<Vec<_>>().join(" ")
    };
    for (query, expected) in [
        ("how to open the file", "open file"),
        ("to be or not to be", "to be or not to be"),
        ("pthread_mutex_lock in getUserName", "=pthread_mutex_lock =getUserName"),
        ("git commit --no-verify", "git commit =no-verify"),
        ("client-side encryption", "client-side encryption"),
        ("version 3.14 or v1.2.3", "version #3.14 =v1.2.3"),
        ("sha256sum libfoo.so C++", "=sha256sum =libfoo.so =C++"),
        ("the U.S.A.", "U.S.A"),
        ("error \"could not connect\" at startup", "error \"could not connect\" startup"),
        ("„wer da“ «la vie» “oh no”", "\"wer da\" \"la vie\" \"oh no\""),
        ("\"libfoo.so\"", "=\"libfoo.so\""),
        ("a 5\" disk", "#5 disk"),
        ("\"\" \" \"", ""),
        ("don't panic", "panic"),
    ] {
        assert_eq!(terms(query), expected, "{query}");
    }
}
