//! A corpus of every format end to end: the right passages are found, and a second run does no
//! work.

use crate::support::TestProject;

const NETWORK: &str = "# Network\n\nThe router assigns addresses by DHCP. Every host asks it for a lease when it \
boots, and renews the lease before it expires.\n\n## Firewall\n\nIncoming connections are dropped unless a rule \
allows them.\n";
const BREAD: &str = "<html lang=en><head><title>Sourdough bread</title></head><body><h1>Sourdough</h1><p>Feed the \
starter with flour and water the evening before. Knead the dough until it is elastic, and let it rise \
overnight.</p></body></html>";
const STARS: &str = "A red giant is a star in a late phase of its life. Its hydrogen is used up in the core, so it \
burns in a shell, and the star swells to a hundred times its size.\n";

fn corpus(place: &TestProject) {
    place.write("network.md", NETWORK);
    place.write("kitchen/bread.html", BREAD);
    place.write("stars.txt", STARS);
    for (name, file) in [("letter.docx", "letter.docx"), ("report.pdf", "report.pdf")] {
        let data = format!("{}/tests/data/{file}", crate::support::ROOT);
        place.write(name, std::fs::read(data).unwrap());
    }
}

#[test]
fn a_folder_is_indexed_and_answers() {
    let place = TestProject::new();
    corpus(&place);
    let report = place.run();
    assert_eq!(report["documents"]["stored"], 5, "{report:#}");
    assert!(report["tokens"].as_u64().unwrap() > 100);

    for (question, answer) in [
        ("how does a computer get its IP address", "network.md"),
        ("baking with a starter", "kitchen/bread.html"),
        ("what becomes of a star when its fuel runs out", "stars.txt"),
        ("who owes rent for the flat", "letter.docx"),
        ("how many whales were counted", "report.pdf"),
    ] {
        let hits = place.search(question, 3);
        let uri = hits[0]["uri"].as_str().unwrap();
        assert!(uri.ends_with(answer), "{question}: {hits:#?}");
        for key in ["score", "uri", "title", "chunk_index", "text"] {
            assert!(hits[0].get(key).is_some(), "{key} is missing");
        }
    }
    let hits = place.search("baking with a starter", 1);
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0]["title"], "Sourdough bread");
    let hits = place.search("dropped connections", 1);
    assert_eq!(hits[0]["headings"], "Network", "{hits:#?}");

    // Without changes, nothing is read, embedded or written.
    let again = place.run();
    assert_eq!(again["documents"]["unchanged"], 5);
    assert_eq!(again["documents"]["stored"], 0);
    assert_eq!(again["tokens"], 0);

    let status = place.semantik(&["status", "pipeline.yaml", "--json"]).json();
    assert_eq!(status["status"], "ready");
    assert_eq!(status["document_count"], 5);
    assert_eq!(status["vector_count"], report["chunks"]);
}

#[test]
fn what_changes_is_seen_and_nothing_else_is_done() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "the first document about apples");
    place.write("b.txt", "the second document about bananas");
    place.write("c.txt", "the third document about cherries");
    assert_eq!(place.run()["documents"]["stored"], 3);

    // An edit that keeps size and modification time.
    let path = place.corpus().join("a.txt");
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    place.write("a.txt", "the first document about plums ");
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
    // A copy, a rename, a touch, a new one.
    std::fs::copy(place.corpus().join("b.txt"), place.corpus().join("copy of b.txt")).unwrap();
    std::fs::rename(place.corpus().join("c.txt"), place.corpus().join("renamed.txt")).unwrap();
    std::fs::File::options()
        .write(true)
        .open(place.corpus().join("b.txt"))
        .unwrap()
        .set_modified(std::time::SystemTime::now())
        .unwrap();
    place.write("d.txt", "the fourth document about dates");

    let report = place.run();
    assert_eq!(report["documents"]["stored"], 2, "the edit and the new one: {report:#}");
    assert_eq!(report["documents"]["duplicate"], 2, "the copy and the rename: {report:#}");
    assert_eq!(report["documents"]["unchanged"], 1, "the touched one: {report:#}");
    let contents: Vec<String> =
        place.index().chunks.into_iter().map(|chunk| chunk.content).collect();
    assert!(contents.iter().any(|text| text.contains("plums")), "{contents:?}");
    assert!(!contents.iter().any(|text| text.contains("apples")), "{contents:?}");
    assert_eq!(contents.len(), 4, "{contents:?}");
}

#[test]
fn a_changed_setting_is_a_changed_document() {
    let place = TestProject::with_stand_in();
    let words: Vec<String> = (0..300).map(|n| format!("word{n}")).collect();
    place.write("long.txt", words.join(" "));
    let first = place.run();
    place.write_pipeline("model: 'stand-in:16'", "", "size: 128, overlap: 8");
    let second = place.run();
    assert_eq!(second["documents"]["stored"], 1);
    assert!(second["chunks"].as_u64() < first["chunks"].as_u64());
    let index = place.index();
    assert_eq!(
        index.chunks.len() as u64,
        second["chunks"].as_u64().unwrap(),
        "surplus chunks are removed"
    );
    assert_eq!(place.run()["documents"]["unchanged"], 1);
}

#[test]
fn two_runs_at_once_do_not_mix() {
    let place = TestProject::with_stand_in();
    for n in 0..200 {
        place.write(&format!("{n}.txt"), format!("document number {n} ").repeat(50));
    }
    let first = place.start(&["run", "pipeline.yaml", "--json"]);
    let second = place.start(&["run", "pipeline.yaml", "--json"]);
    let ends = [first, second].map(|child| crate::support::ran(child.wait_with_output().unwrap()));
    assert!(ends.iter().any(|ran| ran.code == 0), "{}\n{}", ends[0].stderr, ends[1].stderr);
    for ran in ends.iter().filter(|ran| ran.code != 0) {
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("in use") || ran.stderr.contains("works on"), "{}", ran.stderr);
    }
    assert_eq!(place.run()["documents"]["unchanged"], 200);
    let index = place.index();
    assert_eq!(index.documents.len(), 200);
    index.assert_consistent();
}
