//! Messages about mistyped commands, and both ways to name the pipeline file.

use insta::assert_snapshot;

use super::stderr_of;
use crate::support::TestProject;

#[test]
fn a_command_that_was_mistyped() {
    let place = TestProject::with("model: 'stand-in:16'", "");
    let mut all = String::new();
    for typed in [
        "serach pipeline.yaml x",
        "index pipeline.yaml",
        "documents index",
        "docs",
        "statsu pipeline.yaml",
        "serve --config pipeline.yaml --listen 8080",
        "serve --config pipeline.yaml --listen localhost:99",
        "worker pipeline.yaml --metrics :9100",
        "run",
        "run --config",
        "search pipeline.yaml",
    ] {
        let args: Vec<&str> = typed.split(' ').collect();
        all += &format!("== semantik {typed}\n{}\n", stderr_of(&place, &args, &[]));
    }
    assert_snapshot!(all);
}

#[test]
fn a_file_is_named_in_both_ways() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a text about a harbour");
    place.run();
    for (one, other) in [
        ("status pipeline.yaml --json", "status --json --config pipeline.yaml"),
        ("check pipeline.yaml", "check --config=pipeline.yaml"),
        ("schedule next pipeline.yaml", "schedule next --config pipeline.yaml"),
        ("search --config pipeline.yaml --json harbour", "search pipeline.yaml --json harbour"),
        ("why corpus/a.txt --config pipeline.yaml", "why pipeline.yaml corpus/a.txt"),
        ("documents list --config pipeline.yaml", "documents list pipeline.yaml"),
        ("migrate status --config pipeline.yaml", "migrate status pipeline.yaml"),
    ] {
        let [one, other] = [one, other].map(|typed| {
            let ran = place.semantik(&typed.split(' ').collect::<Vec<_>>());
            (ran.code, ran.stdout)
        });
        assert_eq!(one, other);
    }
}
