//! Damaged files of embedded vectors: the messages of the verbs, and `verify --repair`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{CommandOutput, TestProject};

const FILE: &str = "pipeline.yaml";

/// A place whose shard has an HNSW graph and an appendable segment.
fn place() -> TestProject {
    let place = TestProject::with_stand_in();
    place.edit_pipeline("window: 64", "window: 64, indexing_threshold: 2");
    let words = |number: usize| {
        let words = (0..90).map(|at| format!("w{}", (number * 7919 + at * 104_729) % 997));
        format!("document {number} {}", words.collect::<Vec<_>>().join(" "))
    };
    for number in 0..80 {
        place.write(&format!("{number}.txt"), words(number));
    }
    place.run();
    for number in 80..84 {
        place.write(&format!("{number}.txt"), words(number));
    }
    place.run();
    place
}

/// URI and text of the hits of a search, best first.
fn answer(place: &TestProject) -> Vec<(Value, Value)> {
    let hits = place.search("w17 w23", 20).into_iter();
    hits.map(|hit| (hit["uri"].clone(), hit["text"].clone())).collect()
}

/// All files below a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn verify(place: &TestProject, flags: &[&str]) -> CommandOutput {
    place.semantik(&[&["verify", FILE], flags].concat())
}

fn no_panic(ran: &CommandOutput) {
    assert!(!ran.stderr.contains("RUST_BACKTRACE"), "{}", ran.stderr);
    assert!((0..=2).contains(&ran.code), "exit code {}: {}", ran.code, ran.stderr);
}

#[test]
fn damage_is_noticed_and_repaired() {
    let place = place();
    let (whole, found) = (place.index(), answer(&place));
    for (number, ending) in [
        "page_0.dat",
        "segment.json",
        "inverted_index.dat",
        "matrix.dat",
        "id_tracker.mappings",
        "version.info",
        "values_to_points.bin",
        "links_compressed.bin",
    ]
    .into_iter()
    .enumerate()
    {
        let shard = place.vectors_of("test");
        // Overwriting a file of zeros with zeros would not damage it.
        let holds = |path: &PathBuf| std::fs::read(path).unwrap().iter().any(|byte| *byte != 0);
        let named = files(&shard).into_iter().filter(|path| path.ends_with(ending) && holds(path));
        let named: Vec<_> = named.collect();
        // A shard without terms has no inverted index.
        let Some(path) = named.get(number % named.len().max(1)) else { continue };
        let bytes = std::fs::read(path).unwrap();
        match number % 3 {
            0 => std::fs::write(path, vec![0; bytes.len()]).unwrap(),
            1 => std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
            _ => std::fs::remove_file(path).unwrap(),
        }
        let noticed = verify(&place, &[]);
        assert_eq!(noticed.code, 1, "{ending}: {}", noticed.stdout);
        assert!(noticed.stdout.contains(ending), "{}", noticed.stdout);
        assert!(noticed.stderr.contains("--repair"), "{}", noticed.stderr);
        no_panic(&place.semantik(&["search", FILE, "w17"]));
        let repaired = verify(&place, &["--repair", "--json"]);
        assert_eq!(repaired.code, 0, "{ending}: {}{}", repaired.stdout, repaired.stderr);
        assert_eq!(repaired.json()["repaired"], true);
        assert_eq!(verify(&place, &[]).code, 0);
        assert_eq!(answer(&place), found);
    }
    place.index().assert_equal_to(&whole);
}

#[test]
fn a_shard_that_cannot_be_opened_ends_no_verb_badly() {
    let place = place();
    let found = answer(&place);
    let shard = place.vectors_of("test");
    // Shards of earlier versions have no seal, so the store itself detects the damage.
    std::fs::remove_file(shard.join("sealed.json")).unwrap();
    for path in files(&shard).iter().filter(|path| path.ends_with("links_compressed.bin")) {
        let length = std::fs::metadata(path).unwrap().len();
        std::fs::write(path, vec![0; usize::try_from(length).unwrap()]).unwrap();
    }
    // A run without changes does not open the vectors.
    assert_eq!(place.semantik(&["run", FILE]).code, 0);
    place.write("new.txt", "a new document");
    for args in
        [&["search", FILE, "w17"][..], &["verify", FILE], &["run", FILE], &["rollback", FILE]]
    {
        let refused = place.semantik(args);
        no_panic(&refused);
        assert_eq!(refused.code, 1, "{args:?}: {}", refused.stderr);
        if args[0] != "rollback" {
            let said = refused.stderr + &refused.stdout;
            assert!(said.contains("verify FILE --repair"), "{args:?}: {said}");
            assert!(said.contains(&shard.file_name().unwrap().display().to_string()), "{said}");
        }
    }
    for args in [&["plan", FILE][..], &["status", FILE], &["why", FILE, "corpus/1.txt"]] {
        assert_eq!(place.semantik(args).code, 0, "{args:?}");
    }
    std::fs::remove_file(place.corpus().join("new.txt")).unwrap();
    let repaired = verify(&place, &["--repair"]);
    assert_eq!(repaired.code, 0, "{}{}", repaired.stdout, repaired.stderr);
    assert_eq!(verify(&place, &[]).code, 0);
    assert_eq!(answer(&place), found);
    place.run();
}
