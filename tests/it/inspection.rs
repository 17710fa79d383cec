//! Reports of the command compared with the facts: `plan` with the following run, `why`, `verify`
//! after changes that bypass the command, and the lists.

use std::path::Path;

use insta::assert_snapshot;
use pipeline::{Point, VectorIndex as _, VectorStore as _, point_id};
use serde_json::Value;
use vectors::EdgeStore;

use crate::support::TestProject;

const FILE: &str = "pipeline.yaml";

/// Masks text that differs between runs.
fn redacted(place: &TestProject, text: &str) -> String {
    let folder = place.path().display().to_string();
    let text = text.replace(&folder, "[folder]");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let (mask, length) = match (is_id(rest), is_time(rest)) {
            (Some(length), _) => ("[id]", length),
            (None, Some(length)) => ("[time]", length),
            (None, None) => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
        };
        out.push_str(mask);
        rest = &rest[length..];
    }
    // The width of a table depends on the masked text.
    let squeezed = out.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words
            .join(" ")
            .replace(['─', '═'], "")
            .replace(['┌', '┐', '└', '┘', '╞', '╡', '╪', '┬', '┴'], "")
    });
    squeezed.filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

fn is_id(text: &str) -> Option<usize> {
    text.get(..36).filter(|id| id.parse::<uuid::Uuid>().is_ok()).map(str::len)
}

/// `2026-11-24 12:00:00 UTC`, or only the date.
fn is_time(text: &str) -> Option<usize> {
    let shape = |shape: &str| {
        text.get(..shape.len()).filter(|it| {
            it.bytes()
                .zip(shape.bytes())
                .all(|(a, b)| if b == b'0' { a.is_ascii_digit() } else { a == b })
        })
    };
    shape("0000-00-00 00:00:00 UTC").or_else(|| shape("0000-00-00")).map(str::len)
}

fn plan(place: &TestProject, flags: &[&str]) -> Value {
    let ran = place.semantik(&[&["plan", FILE, "--json"], flags].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.json()
}

fn why(place: &TestProject, document: &str) -> Value {
    let ran = place.semantik(&["why", FILE, document, "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.json()
}

fn stdout_of(place: &TestProject, args: &[&str]) -> String {
    let ran = place.semantik(args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    redacted(place, &ran.stdout)
}

/// Asserts that the run matches the plan.
fn assert_as_planned(plan: &Value, report: &Value) {
    let of = |key: &str| plan["documents"][key].as_u64().unwrap();
    let ran = |key: &str| report["documents"][key].as_u64().unwrap();
    assert_eq!(of("seen"), ran("seen"), "{plan:#}\n{report:#}");
    assert_eq!(
        plan["to_embed"]["documents"], report["documents"]["stored"],
        "{plan:#}\n{report:#}"
    );
    assert_eq!(plan["to_embed"]["chunks"], report["chunks"], "{plan:#}\n{report:#}");
    let tokens = ["tokens", "tokens_reused"].map(|key| report[key].as_u64().unwrap());
    assert_eq!(plan["to_embed"]["tokens"], tokens.iter().sum::<u64>(), "{plan:#}\n{report:#}");
    assert_eq!(of("unchanged") + of("touched"), ran("unchanged"), "{plan:#}\n{report:#}");
    let elsewhere = of("renamed") + of("copied") + of("duplicate");
    assert_eq!(elsewhere, ran("duplicate"), "{plan:#}\n{report:#}");
    assert_eq!(plan["set_aside"], report["reasons"], "{plan:#}\n{report:#}");
    assert_eq!(of("deleted"), report["deleted"].as_u64().unwrap(), "{plan:#}\n{report:#}");
}

fn verify(place: &TestProject, flags: &[&str]) -> (i32, Value) {
    let ran = place.semantik(&[&["verify", FILE, "--json"], flags].concat());
    assert!(matches!(ran.code, 0 | 1), "{}", ran.stderr);
    (ran.code, ran.json())
}

fn assert_clean(place: &TestProject) {
    let (code, json) = verify(place, &[]);
    assert_eq!((code, &json["consistent"]), (0, &Value::Bool(true)), "{json:#}");
}

fn text(number: usize) -> String {
    format!("this is the text of document number {number}, and of no other one")
}

#[test]
fn a_plan_is_what_the_run_then_does() {
    let place = TestProject::with_stand_in();
    for number in 0..8 {
        place.write(&format!("{number}.txt"), text(number));
    }
    place.write("empty.txt", "");
    let huge = place.corpus().join("huge.txt");
    std::fs::File::create(&huge).unwrap().set_len(9 << 20).unwrap();
    let first = plan(&place, &[]);
    assert_eq!(first["exists"], false);
    assert_eq!(first["documents"]["new"], 8);
    assert_eq!(first["estimate"]["seconds"], Value::Null);
    for folder in ["vectors", "memo"] {
        let made = place.path().join(".semantik").join(folder).exists();
        assert!(!made, "a plan must not create {folder}");
    }
    assert_eq!(plan(&place, &[])["exists"], false, "a plan must not create a collection");
    assert_as_planned(&first, &place.run());
    assert_clean(&place);

    // A deleted document, for a later step.
    std::fs::remove_file(place.corpus().join("7.txt")).unwrap();
    let gone = plan(&place, &[]);
    assert_eq!(gone["documents"]["deleted"], 1, "{gone:#}");
    assert_as_planned(&gone, &place.run());
    assert_clean(&place);

    // One document of each cause.
    let at = |name: &str| place.corpus().join(name);
    place.write("new.txt", text(100));
    place.write("1.txt", text(101));
    std::fs::File::options()
        .write(true)
        .open(at("2.txt"))
        .unwrap()
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    std::fs::rename(at("3.txt"), at("three.txt")).unwrap();
    std::fs::copy(at("4.txt"), at("four.txt")).unwrap();
    std::fs::remove_file(at("5.txt")).unwrap();
    place.write("7.txt", text(7));
    place.write("twin.txt", text(100));
    place.write("bad.docx", "this is no zip archive");
    place.write("huge.txt", text(102));
    let changed = plan(&place, &[]);
    let expected = [
        ("new", 1),
        ("edited", 1),
        ("restored", 1),
        ("touched", 1),
        ("unchanged", 3),
        ("renamed", 1),
        ("copied", 1),
        ("duplicate", 1),
        ("deleted", 1),
        ("set_aside", 2),
        ("settings_changed", 0),
        ("retried", 1),
        ("unfinished", 0),
    ];
    for (cause, number) in expected {
        assert_eq!(changed["documents"][cause], number, "{cause}: {changed:#}");
    }
    assert_eq!(changed["operation"], "append");
    assert!(changed["estimate"]["seconds"].as_f64().unwrap() > 0.0, "{changed:#}");
    assert_snapshot!("plan", without_estimate(&stdout_of(&place, &["plan", FILE])));
    assert_as_planned(&changed, &place.run());
    assert_clean(&place);
    let after = plan(&place, &[]);
    assert_eq!(after["to_embed"]["documents"], 0, "{after:#}");
    assert_as_planned(&after, &place.run());
}

fn without_estimate(text: &str) -> String {
    let cut = |line: &str| line.split("; about").next().unwrap().to_owned();
    text.lines().map(cut).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_plan_says_what_settings_and_deletions_would_do() {
    let place = TestProject::with_stand_in();
    for number in 0..30 {
        place.write(&format!("{number}.txt"), text(number));
    }
    place.run();

    // New settings process every document again; so do another model and another precision.
    place.write_pipeline("model: 'stand-in:16'", "", "size: 32, overlap: 4");
    let stale = plan(&place, &[]);
    assert_eq!(stale["documents"]["settings_changed"], 30, "{stale:#}");
    assert_eq!(stale["generation"]["new"], false);
    place.write_pipeline("model: 'stand-in:24'", "", "size: 32, overlap: 4");
    let rebuilt = plan(&place, &[]);
    assert_eq!(rebuilt["operation"], "reindex");
    assert_eq!(rebuilt["generation"]["new"], true);
    let because = rebuilt["generation"]["because"].to_string();
    assert!(because.contains("dimension was 16 and is now 24"), "{because}");
    assert_eq!(rebuilt["to_embed"]["documents"], 30, "{rebuilt:#}");
    let report = place.run();
    assert_eq!(rebuilt["to_embed"]["chunks"], report["chunks"]);
    assert_eq!(report["documents"]["stored"], 30, "{report:#}");

    // The file changes back to the version that was rolled back.
    let rolled = place.semantik(&["rollback", FILE]);
    assert_eq!(rolled.code, 0, "{}", rolled.stderr);
    let refused = plan(&place, &[]);
    assert!(refused["refused"].as_str().unwrap().contains("rolled back"), "{refused:#}");
    place.write_pipeline("model: 'stand-in:16'", "", "size: 64, overlap: 8");
    assert_as_planned(&plan(&place, &[]), &place.run());

    // Many documents are missing.
    for number in 0..25 {
        std::fs::remove_file(place.corpus().join(format!("{number}.txt"))).unwrap();
    }
    let gone = plan(&place, &[]);
    assert_eq!(gone["documents"]["deleted"], 25);
    let refused = gone["deletions"]["refused"].as_str().unwrap();
    assert!(refused.contains("25 of 30 documents"), "{refused}");
    let allowed = plan(&place, &["--allow-deletes"]);
    assert_eq!(allowed["deletions"]["refused"], Value::Null);
    assert_eq!(place.semantik(&["run", FILE]).code, 1);
    assert_eq!(place.semantik(&["run", FILE, "--allow-deletes"]).code, 0);
    assert_clean(&place);
}

#[test]
fn why_tells_the_story_of_a_document() {
    let place = TestProject::with_stand_in();
    place.write("in.txt", text(1));
    place.write("bad.docx", "this is no zip archive");
    place.write(".hidden/secret.txt", text(3));
    place.write("gone.txt", text(4));
    place.write("out.txt", text(5));
    std::fs::File::create(place.corpus().join("huge.txt")).unwrap().set_len(9 << 20).unwrap();
    std::fs::write(place.path().join("outside.txt"), text(6)).unwrap();
    let never = why(&place, "corpus/in.txt");
    assert_eq!(never["state"], "unknown");
    assert_eq!(never["next_run"], "stores it");
    place.run();
    std::fs::remove_file(place.corpus().join("gone.txt")).unwrap();
    let delete = place.semantik(&["documents", "delete", FILE, "corpus/out.txt", "--yes"]);
    assert_eq!(delete.code, 0, "{}", delete.stderr);
    place.run();
    place.write("new.txt", text(7));

    for (path, state, next) in [
        ("corpus/in.txt", "stored", "leaves it unchanged"),
        ("corpus/bad.docx", "set_aside", "skips it"),
        ("corpus/huge.txt", "set_aside", "skips it"),
        ("corpus/out.txt", "withheld", "skips it while"),
        ("corpus/gone.txt", "deleted", "does not find it"),
        ("corpus/new.txt", "unknown", "stores it"),
        ("corpus/.hidden/secret.txt", "unknown", "starts with a dot"),
        ("outside.txt", "unknown", "outside every source"),
        ("corpus/nothing.txt", "unknown", "does not find it"),
    ] {
        let told = why(&place, path);
        assert_eq!(told["state"], state, "{path}: {told:#}");
        assert!(told["next_run"].as_str().unwrap().contains(next), "{path}: {told:#}");
        assert!(!told["to_change"].as_array().unwrap().is_empty(), "{path}: {told:#}");
    }
    for (name, path) in [
        ("why_in", "corpus/in.txt"),
        ("why_set_aside", "corpus/bad.docx"),
        ("why_withheld", "corpus/out.txt"),
        ("why_deleted", "corpus/gone.txt"),
        ("why_hidden", "corpus/.hidden/secret.txt"),
    ] {
        assert_snapshot!(name, stdout_of(&place, &["why", FILE, path]));
    }
    place.write("in.txt", text(8));
    assert!(why(&place, "corpus/in.txt")["next_run"].as_str().unwrap().contains("has changed"));
    let id = why(&place, "corpus/in.txt")["document"]["id"].as_str().unwrap().to_owned();
    assert_eq!(why(&place, &id)["state"], "stored");
}

/// The shard of the live generation.
fn shard(place: &TestProject) -> EdgeStore {
    let shown = place.semantik(&["collections", "show", FILE, "--json"]).json();
    let name = shown["vectors"].as_str().unwrap();
    let folder = Path::new(".semantik/vectors").join(name);
    let config = pipeline::VectorsConfig::new(name, 16, pipeline::Quantization::Float16);
    EdgeStore::open(&place.path().join(folder), &config).unwrap()
}

/// Changes points, bypassing the command.
fn modify_shard<T>(place: &TestProject, what: impl AsyncFnOnce(&EdgeStore) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shard = shard(place);
    runtime.block_on(async {
        let done = what(&shard).await;
        shard.flush().await.unwrap();
        done
    })
}

#[test]
fn verify_finds_what_is_wrong_and_repairs_it() {
    let place = TestProject::with_stand_in();
    for number in 0..4 {
        place.write(&format!("{number}.txt"), text(number).repeat(20));
    }
    place.run();
    assert_clean(&place);
    let whole = place.index();

    let ids = modify_shard(&place, async |shard| {
        let mut points = shard.scroll(None, 1000).await.unwrap();
        points.sort_by(|a, b| a.payload.uri.cmp(&b.payload.uri));
        let mut documents: Vec<_> = points.iter().map(|point| point.payload.document).collect();
        documents.dedup();
        let like = |document, index| {
            let mut point: Point = points[0].clone();
            point.id = point_id(document, index);
            (point.payload.document, point.payload.chunk_index) = (document, index);
            point
        };
        // Faults: one document without its last chunk, one with an extra chunk, one with both, and
        // a point of an unknown document.
        let chunks = |document| points.iter().filter(|it| it.payload.document == document).count();
        let last = |document| u32::try_from(chunks(document)).unwrap() - 1;
        shard.truncate(documents[0], last(documents[0])).await.unwrap();
        shard.truncate(documents[2], last(documents[2])).await.unwrap();
        let stranger = uuid::Uuid::from_u128(7);
        let (one, both) = (documents[1], documents[2]);
        shard
            .upsert(vec![like(one, last(one) + 1), like(both, last(both) + 1), like(stranger, 0)])
            .await
            .unwrap();
        documents
    });
    let (code, found) = verify(&place, &[]);
    assert_eq!((code, &found["consistent"]), (1, &Value::Bool(false)), "{found:#}");
    let wrong = |kind: &str| -> Vec<String> {
        let some = found["wrong_points"][kind]["some"].as_array().unwrap().iter();
        let mut ids: Vec<_> = some.map(|it| it["document"].as_str().unwrap().to_owned()).collect();
        ids.sort_unstable();
        ids
    };
    let those = |some: &[usize]| {
        let mut some: Vec<_> = some.iter().map(|&index| ids[index].to_string()).collect();
        some.sort_unstable();
        some
    };
    assert_eq!(wrong("missing"), those(&[0, 2]), "{found:#}");
    assert_eq!(wrong("surplus"), those(&[1, 2]), "{found:#}");
    assert_eq!(wrong("of_unknown_documents"), [uuid::Uuid::from_u128(7).to_string()]);
    let ran = place.semantik(&["verify", FILE]);
    assert!(ran.stderr.contains("--repair"), "{}", ran.stderr);
    assert_snapshot!("verify", redacted(&place, &ran.stdout));

    let (code, repaired) = verify(&place, &["--repair"]);
    assert_eq!((code, &repaired["repaired"]), (0, &Value::Bool(true)), "{repaired:#}");
    assert_clean(&place);
    place.index().assert_equal_to(&whole);
    assert_eq!(stdout_of(&place, &["verify", FILE]).lines().last(), Some("the stores agree"));
}

#[test]
fn lists_show_what_there_is() {
    let place = TestProject::with_stand_in();
    for number in 0..5 {
        place.write(&format!("{number}.txt"), text(number));
    }
    place.write("bad.docx", "this is no zip archive");
    place.run();
    place.run();
    assert_snapshot!("collections", stdout_of(&place, &["collections", "list", FILE]));
    assert_snapshot!("collection", stdout_of(&place, &["collections", "show", FILE]));
    assert_snapshot!("sources", stdout_of(&place, &["sources", "list", FILE]));
    assert_snapshot!("operations", stdout_of(&place, &["operations", "list", FILE]));
    let failed = ["documents", "list", FILE, "--status", "failed"];
    assert_snapshot!("documents_failed", stdout_of(&place, &failed));

    // The pages together contain each document once.
    let (mut seen, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut args = vec!["documents", "list", FILE, "--json", "--limit", "4"];
        args.extend(after.iter().flat_map(|after| ["--after", after]));
        let page = place.semantik(&args).json();
        let ids: Vec<_> = page
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["id"].as_str().unwrap().to_owned())
            .collect();
        let Some(last) = ids.last().cloned() else { break };
        seen.extend(ids);
        after = Some(last);
    }
    assert_eq!(seen.len(), 6);
    assert!(seen.is_sorted());
    let shown = place.semantik(&["documents", "show", FILE, &seen[0], "--json"]).json();
    assert_eq!(shown["places"].as_array().unwrap().len(), 1);

    let operations = ["operations", "list", FILE, "--json"];
    let operations = place.semantik(&operations).json();
    let [append, index] = operations.as_array().unwrap().as_slice() else { panic!("{operations}") };
    assert_eq!((&append["type"], &index["type"]), (&"append".into(), &"index".into()));
    let id = index["id"].as_str().unwrap();
    let shown = place.semantik(&["operations", "show", FILE, id, "--json"]).json();
    assert_eq!(shown["metrics"]["documents_stored"], 5.0);
    let older = ["operations", "list", FILE, "--json", "--before"];
    let older = place.semantik(&[&older[..], &[append["id"].as_str().unwrap()]].concat()).json();
    assert_eq!(older.as_array().unwrap().len(), 1);

    // By other names than the complete id.
    let show = |name: &str| place.semantik(&["operations", "show", FILE, name, "--json"]);
    assert_eq!(show("latest").json()["id"], append["id"]);
    // Ids with a common prefix: the first eight digits equal those of the newest.
    let newest = append["id"].as_str().unwrap();
    let (short, twin) = (&newest[..8], "ffff-4fff-8fff-ffffffffffff");
    assert_eq!(show(short).json()["id"], append["id"]);
    assert_eq!(show(&newest[..18].to_uppercase()).json()["id"], append["id"]);
    place.execute(&format!(
        "INSERT INTO operations (id, collection_id, user_id, type, config)
         SELECT '{short}-{twin}', collection_id, user_id, type, '{{}}' FROM operations WHERE id = '{newest}'"
    ));
    let refused = show(short);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    for words in ["several ids", newest, twin] {
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
    }
    assert_eq!(show(&format!("{short}-{}", &twin[..6])).json()["status"], "pending");
    let cancel = ["operations", "cancel", FILE, "latest", "--json"];
    let cancelled = place.semantik(&cancel).json();
    assert_eq!(cancelled["id"], format!("{short}-{twin}"));
    let unknown = show("00000000-0000");
    assert_eq!(unknown.code, 1, "{}", unknown.stdout);
    assert!(
        unknown.stderr.contains("the collection has no operation `00000000-0000…`"),
        "{}",
        unknown.stderr
    );
    let mistyped = show("last");
    assert_eq!(mistyped.code, 64, "{}", mistyped.stderr);
    assert!(mistyped.stderr.contains("expected `latest`, an id"), "{}", mistyped.stderr);
}

#[test]
fn a_plan_shows_a_last_example_instead_of_counting_it() {
    let place = TestProject::with_stand_in();
    let examples = || {
        let said = place.semantik(&["plan", FILE]).stdout;
        let named = (0..9).filter(|n| said.contains(&format!("/{n}.txt"))).count();
        (named, said.lines().find(|line| line.contains("more")).map(str::to_owned))
    };
    for n in 0..6 {
        place.write(&format!("{n}.txt"), format!("the text of document {n}"));
    }
    assert_eq!(examples(), (6, None));
    place.write("6.txt", "the text of document 6");
    let (named, more) = examples();
    assert_eq!(named, 5);
    assert!(more.unwrap().contains("… and 2 more"));
}
