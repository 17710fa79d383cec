//! Reranking end to end, with a small cross-encoder of random weights.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{ROOT, TestProject, command_with_libtorch, ran, text};

fn model(name: &str) -> PathBuf {
    Path::new(ROOT).join("embedding/tests/reference").join(name)
}

/// Hits of a search with further arguments, as pairs of URI and score.
fn search(place: &TestProject, args: &[&str]) -> Vec<(String, f64)> {
    let all = [&["search", "pipeline.yaml", "--json", "--k", "20", "how to lock a door"], args];
    let mut command = command_with_libtorch(&all.concat());
    let ran = ran(command.current_dir(place.path()).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let of = |hit: &Value| (text(&hit["uri"]).to_owned(), hit["score"].as_f64().unwrap());
    ran.json().as_array().unwrap().iter().map(of).collect()
}

#[test]
fn hits_are_reranked_as_the_file_or_an_option_says() {
    let place = TestProject::with_stand_in();
    for n in 0..8 {
        let words = ["lock", "door", "key", "river", "mill", "fish"];
        let mut content = String::from("how to ");
        for at in 0..6 {
            content += words[(n * 5 + at * (n + 1)) % words.len()];
            content += " ";
        }
        place.write(&format!("{n}.txt"), content);
    }
    place.run();
    let plain = search(&place, &[]);
    let named = model("tiny-bert-reranker");
    let option = format!("--rerank={}", named.display());
    let asked = search(&place, &[&option]);
    assert!(asked.is_sorted_by(|a, b| a.1 >= b.1), "{asked:?}");
    let names = |hits: &[(String, f64)]| {
        let mut names: Vec<String> = hits.iter().map(|hit| hit.0.clone()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(&plain), names(&asked), "the same hits in another order");
    assert_ne!(plain, asked);

    place.append_pipeline(&format!(
        "search: {{ rerank: {{ model: '{}', budget_ms: 60000 }} }}\n",
        named.display()
    ));
    assert_eq!(search(&place, &[]), asked);
    assert_eq!(search(&place, &["--no-rerank"]), plain);
    let other = format!("--rerank={}", model("tiny-modernbert-reranker").display());
    assert_ne!(search(&place, &[&other]), asked);
}

#[test]
fn a_model_that_is_no_reranker_is_refused() {
    let place = TestProject::with_stand_in();
    let embeds = model("tiny-e5");
    place.append_pipeline(&format!("search: {{ rerank: {{ model: '{}' }} }}\n", embeds.display()));
    let checked = place.semantik(&["check", "pipeline.yaml"]);
    assert_ne!(checked.code, 0);
    let said = "is no reranker: `BertModel` creates vectors; expected one of \
                BertForSequenceClassification, XLMRobertaForSequenceClassification, \
                ModernBertForSequenceClassification";
    assert!(checked.stderr.contains(said), "{}", checked.stderr);
}
