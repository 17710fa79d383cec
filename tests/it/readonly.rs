//! A read-only database and a database with an older schema: reading commands still work, and only
//! commands that may migrate do so. Also `migrate down`, which lists the data that it removes and
//! asks for confirmation.

use crate::support::{TestProject, text};

/// Commands that only read, for the collection of `pipeline.yaml` with the document `a.txt`.
const READ_VERBS: [&[&str]; 15] = [
    &["search", "pipeline.yaml", "first"],
    &["status", "pipeline.yaml"],
    &["verify", "pipeline.yaml"],
    &["documents", "list", "pipeline.yaml"],
    &["documents", "show", "pipeline.yaml", "corpus/a.txt"],
    &["why", "pipeline.yaml", "corpus/a.txt"],
    &["sources", "list", "pipeline.yaml"],
    &["operations", "list", "pipeline.yaml"],
    &["collections", "list", "pipeline.yaml"],
    &["collections", "show", "pipeline.yaml"],
    &["collections", "audit", "pipeline.yaml"],
    &["users", "list", "pipeline.yaml"],
    &["schedule", "list", "pipeline.yaml"],
    &["migrate", "status", "pipeline.yaml"],
    &["plan", "pipeline.yaml"],
];

fn filled() -> TestProject {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "the first document");
    place.write("b.txt", "the second document");
    place.run();
    place
}

fn read_only(place: &TestProject, is: &str) {
    let name = place.value("SELECT current_database()");
    place.execute(&format!(
        "BEGIN READ WRITE; ALTER DATABASE {name} SET default_transaction_read_only = {is}; COMMIT"
    ));
}

#[test]
fn read_verbs_work_on_a_read_only_database() {
    let place = filled();
    read_only(&place, "on");
    for verb in READ_VERBS {
        let ran = place.semantik(verb);
        assert_eq!(ran.code, 0, "{verb:?}: {}", ran.stderr);
    }
    place.write("c.txt", "a third one");
    for verb in [
        &["run", "pipeline.yaml"][..],
        &["documents", "delete", "pipeline.yaml", "corpus/a.txt", "--yes"],
        &["collections", "delete", "pipeline.yaml", "--yes"],
    ] {
        let ran = place.semantik(verb);
        assert_eq!(ran.code, 1, "{verb:?}");
        assert!(ran.stderr.contains("the database is read-only"), "{verb:?}: {}", ran.stderr);
    }
    read_only(&place, "off");
    assert_eq!(
        place.run()["documents"]["stored"],
        1,
        "the document must still be stored by the next run"
    );
}

#[test]
fn an_older_schema_is_said_by_who_reads_and_mended_by_who_writes() {
    let place = filled();
    let down = |steps: &str| {
        let ran = place.semantik(&["migrate", "down", "pipeline.yaml", "--steps", steps, "--yes"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    };
    let applied = || place.value("SELECT count(*) FROM _sqlx_migrations").parse::<usize>().unwrap();
    let all = applied();
    let last_two = "SELECT min(version) FROM (SELECT version FROM _sqlx_migrations ORDER BY version DESC LIMIT 2) v";
    let first = place.value(last_two);
    down("2");
    for verb in READ_VERBS.iter().filter(|verb| verb[0] != "migrate") {
        let ran = place.semantik(verb);
        assert_eq!(ran.code, 1, "{verb:?}");
        let wanted = format!("the database is older and needs migrations {first} (");
        assert!(ran.stderr.contains(&wanted), "{verb:?}: {}", ran.stderr);
        let help = "run `semantik migrate up pipeline.yaml`";
        assert!(ran.stderr.contains(help), "{verb:?}: {}", ran.stderr);
    }
    assert_eq!(applied(), all - 2, "reading commands must not migrate");

    // Writing commands migrate automatically, unless the pipeline file says `migrate: manual`.
    let text = std::fs::read_to_string(place.file()).unwrap();
    place.edit_pipeline("stores: { postgres:", "stores: { migrate: manual, postgres:");
    let ran = place.semantik(&["run", "pipeline.yaml"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("run `semantik migrate up pipeline.yaml`"), "{}", ran.stderr);
    assert_eq!(applied(), all - 2);
    std::fs::write(place.file(), &text).unwrap();
    assert_eq!(place.run()["documents"]["unchanged"], 2);
    assert_eq!(applied(), all);

    // A new database gets its schema in both cases.
    let place = TestProject::with("model: 'stand-in:16'", "stores: { migrate: manual }");
    place.write("a.txt", "a document");
    assert_eq!(place.run()["documents"]["stored"], 1);
}

#[test]
fn a_newer_schema_is_left_alone_by_everybody() {
    let place = filled();
    place.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of the future', TRUE, '', 0)",
    );
    for verb in READ_VERBS.iter().chain([&&["run", "pipeline.yaml"][..]]) {
        if verb[0] == "migrate" {
            continue;
        }
        let ran = place.semantik(verb);
        assert_eq!(ran.code, 1, "{verb:?}");
        assert!(ran.stderr.contains("does not know; use a newer one"), "{verb:?}: {}", ran.stderr);
    }
}

#[test]
fn migrations_are_taken_back_when_somebody_says_so_and_knows_what_goes() {
    let place = filled();
    let url = place.url();
    // The target must be an explicit argument, not an environment variable.
    let mut command = crate::support::command(&["migrate", "down", "--yes"]);
    let ran = crate::support::ran(
        command.env("DATABASE_URL", url).current_dir(place.path()).output().unwrap(),
    );
    assert_eq!(ran.code, 64, "{}", ran.stderr);

    let everything = ["migrate", "down", "pipeline.yaml", "--steps", "99"];
    let asked = place.semantik(&everything);
    assert_eq!(asked.code, 1);
    let named = format!("the database `{}` at ", place.value("SELECT current_database()"));
    for words in [
        named.as_str(),
        "as `semantik`",
        "0002 collections",
        "the table collections with 1 row\n",
        "the table documents with 2 rows\n",
        "the table users with 1 row\n",
        "the table api_keys with 0 rows\n",
        "the collection `test` with 2 documents",
        "pass --yes to confirm",
    ] {
        assert!(asked.stderr.contains(words), "`{words}` is missing in {}", asked.stderr);
    }
    assert_eq!(
        place.value("SELECT count(*) FROM documents"),
        "2",
        "nothing may be removed without --yes"
    );

    let vectors = place.vectors_of("test");
    assert!(vectors.exists());
    let ran = place.semantik(&[&everything[..], &["--yes"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let remove = format!("rm -r '{}'", vectors.display());
    assert!(ran.stderr.contains(&remove), "`{remove}` is missing in {}", ran.stderr);
}

#[test]
fn a_collection_that_is_deleted_leaves_its_operations_and_its_audit_log() {
    let place = filled();
    let named = |verb: &[&str]| {
        let ran = place.semantik(&[&verb[..2], &["pipeline.yaml"], &verb[2..]].concat());
        assert_eq!(ran.code, 0, "{verb:?}: {}", ran.stderr);
        ran
    };
    named(&["documents", "delete", "corpus/a.txt", "--yes"]);
    named(&["documents", "undelete", "corpus/a.txt", "--yes"]);
    named(&["sources", "delete", &format!("file://{}", place.corpus().display()), "--yes"]);
    place.run();
    place.semantik(&["reindex", "pipeline.yaml"]);
    place.semantik(&["rollback", "pipeline.yaml"]);
    named(&["collections", "delete", "--yes"]);

    let operations = named(&["operations", "list", "--json"]).json();
    let kinds: Vec<String> =
        operations.as_array().unwrap().iter().rev().map(|it| text(&it["type"])).collect();
    let wanted = [
        "index",
        "delete",
        "append",
        "append",
        "remove_source",
        "append",
        "reindex",
        "reindex",
        "delete",
    ];
    assert_eq!(kinds, wanted, "{operations:#}");
    for operation in operations.as_array().unwrap() {
        assert_eq!(operation["status"], "completed", "{operation:#}");
        let shown = named(&["operations", "show", &text(&operation["id"]), "--json"]).json();
        let metrics = shown["metrics"].as_object().unwrap();
        assert!(metrics.contains_key("seconds") && metrics.len() > 1, "{shown:#}");
    }
    let log = named(&["collections", "audit", "--json"]).json();
    let actions: Vec<String> =
        log.as_array().unwrap().iter().map(|it| text(&it["action"])).collect();
    for action in
        ["collection_created", "documents_deleted", "source_removed", "collection_deleted"]
    {
        assert!(actions.contains(&action.to_owned()), "{action}: {actions:?}");
    }
    let deleted = named(&["collections", "list", "--deleted", "--json"]).json();
    assert_eq!(deleted[0]["name"], "test");

    // A new collection with the same name has its own operations.
    place.run();
    let list = |verb: &[&str]| named(verb).json().as_array().unwrap().len();
    assert_eq!(list(&["operations", "list", "--json"]), 1);
    assert_eq!(list(&["operations", "list", "--json", "--deleted"]), wanted.len() + 1);
}
