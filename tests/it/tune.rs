//! `semantik tune` end to end: questions, proof, a diff that is applied by hand, and a search under
//! the new settings.

use std::fmt::Write as _;

use crate::support::{TestProject, text};

/// Words for documents, each with a different stem.
const WORDS: [&str; 12] = [
    "apple", "bridge", "candle", "dragon", "engine", "forest", "guitar", "harbor", "island",
    "jacket", "kettle", "lantern",
];

/// Documents about something that only their words tell. The vectors of the stand-in model do not.
fn project(documents: usize) -> TestProject {
    let place = TestProject::with_stand_in();
    // The words of a query tell its document, and these settings hardly look at them.
    let file = std::fs::read_to_string(place.file()).unwrap();
    std::fs::write(
        place.file(),
        file + "search: { exact_terms: false, fusion: { method: convex, dense: 0.95 } }\n",
    )
    .unwrap();
    for at in 0..documents {
        let word = |n: usize| WORDS[(((at * 5 + n * 3 + 1) * 2_654_435_761) >> 11) % WORDS.len()];
        let words = (0..14).map(word).collect::<Vec<_>>().join(" ");
        place.write(&format!("d{at}.md"), format!("# Part {at}\n\n{words} topic{at}x.\n"));
    }
    place.run();
    place
}

fn judgements(place: &TestProject, documents: usize) {
    let lines = (0..documents).fold(String::new(), |mut lines, at| {
        let line =
            format!(r#"{{"query": "topic{at}x of a bridge", "relevant": {{"d{at}.md": 1}}}}"#);
        writeln!(lines, "{line}").unwrap();
        lines
    });
    std::fs::write(place.path().join("judged.jsonl"), lines).unwrap();
}

/// The text after a unified diff, as `patch` applies it.
fn patched(before: &str, diff: &str) -> String {
    let old: Vec<&str> = before.lines().collect();
    let (mut new, mut at) = (Vec::new(), 0);
    for line in diff.lines().skip(2) {
        if let Some(hunk) = line.strip_prefix("@@ -") {
            let start = hunk.split([',', ' ']).next().unwrap().parse::<usize>().unwrap() - 1;
            new.extend(&old[at..start]);
            at = start;
            continue;
        }
        let (mark, rest) = line.split_at(1);
        if mark != "+" {
            assert_eq!(rest, old[at], "{diff}");
            at += 1;
        }
        if mark != "-" {
            new.push(rest);
        }
    }
    new.extend(&old[at..]);
    new.join("\n") + "\n"
}

#[test]
fn a_proposal_can_be_applied_by_hand() {
    let place = project(120);
    judgements(&place, 120);
    let before = std::fs::read_to_string(place.file()).unwrap();
    let asked = ["tune", "pipeline.yaml", "--judgements", "judged.jsonl"];
    let ran = place.semantik(&asked);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("proposal against today"), "{}", ran.stdout);
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), before, "nothing is applied");

    let ran = place.semantik(&[&asked[..], &["--json"]].concat());
    let told = ran.json();
    assert_eq!(text(&told["outcome"]), "gain", "{told}");
    let mean = |row: usize| told["settings"][row]["measures"]["ndcg@10"]["mean"].as_f64().unwrap();
    assert!((0..3).all(|row| mean(3) >= mean(row)), "{told}");

    let after = patched(&before, &text(&told["diff"]));
    assert_ne!(after, before);
    std::fs::write(place.file(), after).unwrap();
    assert_eq!(place.semantik(&["check", "pipeline.yaml"]).code, 0);
    place.run();

    // The measured gain is there after the change.
    let eval = ["eval", "pipeline.yaml", "--judgements", "judged.jsonl", "--mode", "hybrid"];
    let min = format!("ndcg@10={}", mean(3) - 0.1);
    let ran = place.semantik(&[&eval[..], &["--min", &min]].concat());
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn few_questions_propose_nothing() {
    let place = project(10);
    let ran = place.semantik(&["tune", "pipeline.yaml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("too few questions to prove anything"), "{}", ran.stdout);
}
