//! Search end to end: sparse search, filters, several collections, and evaluation with judgements.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::support::{TestProject, text};

/// Words for documents, each with a different stem.
const WORDS: [&str; 12] = [
    "apple", "bridge", "candle", "dragon", "engine", "forest", "guitar", "harbor", "island",
    "jacket", "kettle", "lantern",
];

/// A document of a few words, some of them repeated.
fn document(n: usize) -> String {
    let count = |word: usize| (((n + 1) * (word + 3) * 2_654_435_761) >> 9) % 7 % (word + 2).min(5);
    let words = (0..WORDS.len()).flat_map(|word| vec![WORDS[word]; count(word)]);
    words.collect::<Vec<_>>().join(" ") + "\n"
}

fn search(place: &TestProject, args: &[&str]) -> Vec<Value> {
    let args: Vec<&str> =
        ["search", "pipeline.yaml", "--json"].iter().chain(args).copied().collect();
    let ran = place.semantik(&args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.json().as_array().unwrap().clone()
}

/// The scores of a sparse search, by file name.
fn scores(place: &TestProject, words: &str) -> BTreeMap<String, f64> {
    let hits = search(place, &["--mode", "sparse", "--k", "100", words]);
    let name = |hit: &Value| text(&hit["uri"]).rsplit('/').next().unwrap().to_owned();
    hits.iter().map(|hit| (name(hit), hit["score"].as_f64().unwrap())).collect()
}

/// BM25 with the inverse document frequency of Lucene and Qdrant, and a fixed length instead of the
/// average length.
fn reference(documents: &[(String, String)], words: &[&str]) -> BTreeMap<String, f64> {
    let counts: Vec<(&str, HashMap<&str, f64>, f64)> = documents
        .iter()
        .map(|(name, text)| {
            let mut counts = HashMap::new();
            let all: Vec<&str> = text.split_whitespace().collect();
            all.iter().for_each(|&word| *counts.entry(word).or_default() += 1.0);
            (name.as_str(), counts, f64::from(u32::try_from(all.len()).unwrap()))
        })
        .collect();
    let n = f64::from(u32::try_from(documents.len()).unwrap());
    let mut scores = BTreeMap::new();
    for word in words {
        let with = counts.iter().filter(|(_, counts, _)| counts.contains_key(word)).count();
        let df = f64::from(u32::try_from(with).unwrap());
        let idf = ((n - df + 0.5) / (df + 0.5) + 1.0).ln();
        for (name, counts, length) in &counts {
            if let Some(tf) = counts.get(word) {
                let score = tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * length / 180.0));
                *scores.entry((*name).to_owned()).or_default() += idf * score;
            }
        }
    }
    scores
}

#[test]
fn sparse_scores_are_bm25_in_any_order_of_ingestion() {
    let documents: Vec<(String, String)> =
        (0..30).map(|n| (format!("{n:02}.txt"), document(n))).collect();
    // The texts are too short for language detection.
    let place = || {
        let place = TestProject::with_stand_in();
        place.edit_pipeline(
            "model: 'stand-in:16'",
            "model: 'stand-in:16', sparse: { language: en }",
        );
        place
    };
    let together = place();
    for (name, text) in &documents {
        together.write(name, text);
    }
    together.run();
    // In several runs, last documents first, one of them with other content before.
    let apart = place();
    apart.write("05.txt", "lantern lantern");
    for some in documents.rchunks(11) {
        for (name, text) in some {
            apart.write(name, text);
        }
        apart.run();
    }
    for words in ["dragon", "guitar island", "apple kettle lantern jacket", "Bridges and HARBORS"] {
        let singular: Vec<String> = words
            .split(' ')
            .map(|word| word.to_lowercase().trim_end_matches('s').to_owned())
            .filter(|word| word != "and")
            .collect();
        let asked: Vec<&str> = singular.iter().map(String::as_str).collect();
        let wanted = reference(&documents, &asked);
        for place in [&together, &apart] {
            let found = scores(place, words);
            assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
            for (name, wanted) in &wanted {
                let found = found[name];
                assert!((found - wanted).abs() < 1e-3, "{words}: {name} has {found}, not {wanted}");
            }
        }
    }
}

/// Documents in two folders, with an identifier that only sparse search finds.
fn two_folders() -> TestProject {
    let place = TestProject::with_stand_in();
    place.write(
        "guide/locks.md",
        "# Locks\n\nCall pthread_mutex_lock before you touch the counter.\n",
    );
    place.write(
        "guide/files.md",
        "# Files\n\nA file is opened by its name and closed at the end.\n",
    );
    place.write(
        "news/today.html",
        "<html lang=en><head><title>Today</title><meta name=author content='Ann Lee'></head><body>\
         <p>A counter was opened in the town hall.</p></body></html>",
    );
    place.run();
    place
}

fn names(hits: &[Value]) -> Vec<String> {
    hits.iter().map(|hit| text(&hit["uri"]).rsplit('/').next().unwrap().to_owned()).collect()
}

#[test]
fn names_filters_and_thresholds_are_for_everybody() {
    let place = two_folders();
    for mode in ["sparse", "hybrid"] {
        let hits = search(&place, &["--mode", mode, "pthread_mutex_lock"]);
        assert_eq!(names(&hits)[0], "locks.md");
        assert_eq!(hits[0]["mode"], mode);
        let content = text(&hits[0]["text"]);
        let marks = hits[0]["highlights"].as_array().unwrap().iter().map(|mark| {
            let place = |at: usize| usize::try_from(mark[at].as_u64().unwrap()).unwrap();
            &content[place(0)..place(1)]
        });
        assert_eq!(marks.collect::<Vec<_>>(), ["Locks", "pthread_mutex_lock"]);
    }
    for (filter, expected) in [
        (r#"{"path": {"glob": "news/**"}}"#, vec!["today.html"]),
        (r#"{"mime_type": "text/html"}"#, vec!["today.html"]),
        (r#"{"metadata": {"author": "Ann Lee"}}"#, vec!["today.html"]),
        (r#"{"title": "locks"}"#, vec!["locks.md"]),
        (r#"{"not": {"path": "guide"}}"#, vec!["today.html"]),
        (r#"{"modified_at": {"lt": "2001-01-01"}}"#, vec![]),
    ] {
        for mode in ["dense", "hybrid"] {
            let args = ["--mode", mode, "--filter", filter, "a counter is opened"];
            assert_eq!(names(&search(&place, &args)), expected, "{filter}");
        }
    }
    let obvious = "A file is opened by its name and closed at the end.";
    for mode in ["dense", "sparse", "hybrid"] {
        let hits = search(&place, &["--mode", mode, "--threshold", "0.6", obvious]);
        assert_eq!(names(&hits), ["files.md"], "{mode}");
    }
    let wrong = place.semantik(&["search", "pipeline.yaml", "--filter", "{\"mime\": 1}", "x"]);
    assert_eq!(wrong.code, 1);
    insta::assert_snapshot!(wrong.stderr.trim(), @"semantik: filter: unknown key `mime`: expected one of and, or, not, path, source, mime_type, language, title, headings, page, chunk, modified_at, document, metadata");
}

#[test]
fn a_person_reads_what_was_found() {
    let place = two_folders();
    let ran = place.semantik(&["search", "pipeline.yaml", "--k", "1", "who touches the counter?"]);
    let said = ran.stdout.replace(place.path().to_str().unwrap(), "PLACE");
    let said = said.lines().map(|line| line.replacen(|it: char| it.is_ascii_digit(), "#", 8));
    insta::assert_snapshot!(said.collect::<Vec<_>>().join("\n"), @r"
    #. #.###  similarity -#.##  Locks · Locks
       file://PLACE/corpus/guide/locks.md (chunk #)
       │ # Locks
       │ Call pthread_mutex_lock before you touch the counter.
    ");
}

#[test]
fn several_collections_answer_together() {
    let place = two_folders();
    let other = std::fs::read_to_string(place.file()).unwrap();
    let other = other
        .replace("name: test\ncollection: test", "name: other\ncollection: other")
        .replace("paths: [corpus]", "paths: [corpus/news]")
        .replace("stand-in:16", "stand-in:24");
    std::fs::write(place.path().join("other.yaml"), other).unwrap();
    assert_eq!(place.semantik(&["run", "other.yaml"]).code, 0);
    let ran = place.semantik(&[
        "search",
        "pipeline.yaml",
        "--also",
        "other.yaml",
        "--json",
        "--k",
        "20",
        "a counter",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let hits = ran.json().as_array().unwrap().clone();
    let from = |name: &str| hits.iter().filter(|hit| hit["collection"] == name).count();
    assert_eq!((from("test"), from("other")), (3, 1));
}

#[test]
fn a_collection_without_sparse_vectors_says_so() {
    let place = TestProject::with_stand_in();
    place.edit_pipeline("model: 'stand-in:16'", "model: 'stand-in:16', sparse: none");
    place.write("a.txt", "some words");
    place.run();
    assert_eq!(search(&place, &["words"])[0]["mode"], "dense");
    let refused = place.semantik(&["search", "pipeline.yaml", "--mode", "sparse", "words"]);
    assert_eq!(refused.code, 1);
    insta::assert_snapshot!(refused.stderr.trim(), @"semantik: search in collection `test` failed: the collection has no sparse vectors, which the mode `sparse` needs");
    // Enabling sparse vectors builds a new generation.
    place.edit_pipeline("sparse: none", "sparse: { k1: 1.5 }");
    place.run();
    assert_eq!(search(&place, &["words"])[0]["mode"], "hybrid");
    assert_eq!(search(&place, &["words"])[0]["generation"], 2);
    place.assert_matches_fresh_index();
}

#[test]
fn rankings_are_fused_as_they_are_weighed() {
    let place = two_folders();
    let asked = |weights: &str| {
        let question = ["--weights", weights, "--fusion-k", "2", "pthread_mutex_lock"];
        let hybrid = ["--mode", "hybrid", "--no-exact-terms"];
        let hits = search(&place, &[&hybrid[..], &question].concat());
        let scores = hits.iter().map(|hit| hit["score"].as_f64().unwrap()).collect::<Vec<_>>();
        (names(&hits), scores)
    };
    // The first hit of the sparse ranking gets 1 / (1 + 2 - 1), documents outside it get 0.
    let (found, scores) = asked("0:1");
    assert_eq!((found[0].as_str(), &scores[..]), ("locks.md", &[0.5, 0.0, 0.0][..]));
    let (found, scores) = asked("1:0");
    let by_meaning = search(&place, &["--mode", "dense", "pthread_mutex_lock"]);
    assert_eq!(found, names(&by_meaning));
    for (rank, score) in (1_u8..).zip(&scores) {
        assert!((score - 1.0 / f64::from(rank + 1)).abs() < 1e-6, "{scores:?}");
    }
    for (weights, code) in [("0:0", 1), ("nan:1", 1), ("1", 64), ("a:b", 64)] {
        let args = ["search", "pipeline.yaml", "--weights", weights, "x"];
        assert_eq!(place.semantik(&args).code, code, "{weights}");
    }
}

#[test]
fn two_generations_are_compared_by_questions_of_trec() {
    let place = two_folders();
    place.edit_pipeline("model: 'stand-in:16'", "model: 'stand-in:24'");
    let rebuilt = place.semantik(&["reindex", "pipeline.yaml"]);
    assert_eq!(rebuilt.code, 0, "{}", rebuilt.stderr);
    let write = |name: &str, text: &str| std::fs::write(place.path().join(name), text).unwrap();
    write(
        "qrels.txt",
        "a 0 guide/locks.md 1\nb 0 guide/files.md 2\nb 0 news/** 0\nc 0 none.md 0\n",
    );
    write("topics.tsv", "a\tpthread_mutex_lock\nb\ta file is opened by its name\nc\twho?\n");
    let eval = |args: &[&str]| {
        let given = ["eval", "pipeline.yaml", "--mode", "sparse", "--mode", "dense"];
        let of_trec = ["--judgements", "qrels.txt", "--topics", "topics.tsv"];
        place.semantik(&[&given[..], &of_trec, args].concat())
    };
    let ran = eval(&["--generation", "1", "--against", "2", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let said = ran.json();
    assert_eq!(said["questions"], 2, "a query without relevant documents is not counted: {said:#}");
    let evaluations = said["evaluations"].as_array().unwrap();
    let asked = evaluations.iter().map(|it| {
        let against = &it["measures"]["ndcg@10"]["against"];
        (it["generation"].as_i64(), it["mode"].as_str(), against["generation"].as_i64())
    });
    assert_eq!(
        asked.collect::<Vec<_>>(),
        [
            (Some(1), Some("sparse"), Some(2)),
            (Some(1), Some("dense"), Some(2)),
            (Some(2), Some("sparse"), None),
            (Some(2), Some("dense"), None),
        ]
    );
    for by_words in evaluations.iter().step_by(2) {
        assert_eq!(by_words["measures"]["mrr@10"]["mean"], 1.0, "{by_words:#}");
        assert_eq!(by_words["questions"][1]["id"], "b");
    }
    let told = eval(&["--generation", "2", "--against", "1"]).stdout;
    let alike =
        "sparse of generation 2 and sparse of generation 1 do not differ significantly in nDCG@10";
    assert!(told.contains(alike), "{told}");
    let refused = eval(&["--generation", "7"]);
    insta::assert_snapshot!(refused.stderr.trim(), @"semantik: collection `test` has no generation 7");
}

#[test]
fn an_evaluation_measures_compares_and_refuses() {
    let place = two_folders();
    std::fs::write(
        place.path().join("judged.jsonl"),
        "{\"query\": \"pthread_mutex_lock\", \"relevant\": {\"guide/locks.md\": 1}}\n\
         {\"query\": \"a file is opened by its name\", \"relevant\": {\"files.md\": 1}}\n",
    )
    .unwrap();
    let eval = |args: &[&str]| {
        let given = ["eval", "pipeline.yaml", "--judgements", "judged.jsonl"];
        place.semantik(&given.iter().chain(args).copied().collect::<Vec<_>>())
    };
    let ran = eval(&["--json", "--mode", "hybrid", "--mode", "sparse", "--min", "ndcg@10=0.9"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let said = ran.json();
    assert_eq!(said["evaluations"][1]["measures"]["mrr@10"]["mean"], 1.0, "{said:#}");
    assert_eq!(said["evaluations"][0]["questions"][0]["scores"]["recall@10"], 1.0);
    let impossible = eval(&["--mode", "sparse", "--min", "ndcg@10=1", "--min", "recall@100=0.5"]);
    assert_eq!(impossible.code, 0, "{}", impossible.stderr);
    insta::assert_snapshot!(impossible.stdout, @r"
    2 questions; 95 % confidence intervals in parentheses
    generation	mode	nDCG@10	Recall@10	Recall@100	MRR@10
    1	sparse	1.000 (1.000–1.000)	1.000 (1.000–1.000)	1.000 (1.000–1.000)	1.000 (1.000–1.000)
    ");
    std::fs::write(
        place.path().join("judged.jsonl"),
        "{\"query\": \"zebra\", \"relevant\": {\"guide/locks.md\": 1}}\n",
    )
    .unwrap();
    let refused = eval(&["--mode", "sparse", "--min", "ndcg@10=0.5"]);
    assert_eq!(refused.code, 1);
    insta::assert_snapshot!(refused.stderr.trim(), @"semantik: nDCG@10 is 0.000, below the required 0.5");
    let wrong = eval(&["--min", "map=0.5"]);
    insta::assert_snapshot!(wrong.stderr.trim(), @"semantik: unknown measure `map`: expected one of ndcg@10, recall@10, recall@100, mrr@10");
}

#[test]
fn prefixes_and_misspelt_words_are_found() {
    let place = two_folders();
    let sparse = |words: &str| {
        let ran = place.semantik(&["search", "pipeline.yaml", "--mode", "sparse", words]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stdout.lines().next().unwrap_or_default().to_owned()
    };
    let said = "did you mean: counter (searched `counter` for `countre`)";
    assert_eq!(sparse("countre"), said);
    assert_eq!(sparse("counter"), sparse("COUNTER"), "a word that is there is not corrected");
    let found = search(&place, &["--mode", "sparse", "pthread_mutex*"]);
    assert_eq!(names(&found), ["locks.md"]);
    // The output is an array of hits, so corrections are on the other stream.
    let args = ["search", "pipeline.yaml", "--mode", "sparse", "--json"];
    let ran = place.semantik(&[&args[..], &["countre"]].concat());
    assert_eq!((ran.stderr.trim(), ran.json().as_array().unwrap().len()), (said, 2));
    for words in ["countre", "count*"] {
        let ran = place.semantik(&[&args[..], &["--no-typos", words]].concat());
        assert_eq!((&*ran.stderr, ran.json()), ("", serde_json::json!([])), "{words}");
    }
    // Words belong to a generation.
    let rebuilt = place.semantik(&["reindex", "pipeline.yaml"]);
    assert_eq!(rebuilt.code, 0, "{}", rebuilt.stderr);
    assert_eq!(sparse("countre"), said);
    let words = "SELECT string_agg(n::text, ' ')
                 FROM (SELECT count(*) AS n FROM generation_words GROUP BY generation_id) w";
    let counts = place.value(words);
    let counts: Vec<&str> = counts.split(' ').collect();
    assert!(counts.len() == 2 && counts[0] == counts[1], "{counts:?}");
    // A collection of an earlier version has no vocabulary, and is searched as typed.
    place.execute("DELETE FROM generation_words");
    assert_eq!(sparse("countre"), "no hits");
}
