//! Messages about mistyped commands, and the deprecated spelling `--config FILE`.

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
        "serve pipeline.yaml --listen 8080",
        "serve pipeline.yaml --listen localhost:99",
        "worker pipeline.yaml --metrics :9100",
        "run",
        "run --config",
        "run --config pipeline.yaml --config other.yaml",
        "search",
        "search pipeline.yaml",
        "why corpus/a.txt",
        "collections list",
        "users add --email anna@example.org",
        "top",
        "top pipeline.yaml --server http://127.0.0.1:1",
        "sources delete pipeline.yaml",
    ] {
        let args: Vec<&str> = typed.split(' ').collect();
        all += &format!("== semantik {typed}\n{}\n", stderr_of(&place, &args, &[]));
    }
    assert_snapshot!(all);
}

#[test]
fn the_deprecated_spelling_has_the_same_result_and_a_notice() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a text about a harbour");
    place.run();
    for (old, new) in [
        ("status --json --config pipeline.yaml", "status pipeline.yaml --json"),
        ("check --config=pipeline.yaml", "check pipeline.yaml"),
        ("schedule next --config pipeline.yaml", "schedule next pipeline.yaml"),
        ("search --config pipeline.yaml --json harbour", "search pipeline.yaml --json harbour"),
        ("search harbour.yaml --config pipeline.yaml", "search pipeline.yaml harbour.yaml"),
        ("why corpus/a.txt --config pipeline.yaml", "why pipeline.yaml corpus/a.txt"),
        ("documents list --config pipeline.yaml", "documents list pipeline.yaml"),
        (
            "documents show corpus/a.txt --config pipeline.yaml",
            "documents show pipeline.yaml corpus/a.txt",
        ),
        ("migrate status --config pipeline.yaml", "migrate status pipeline.yaml"),
    ] {
        let [old_run, new_run] =
            [old, new].map(|typed| place.semantik(&typed.split(' ').collect::<Vec<_>>()));
        assert_eq!((old_run.code, &old_run.stdout), (new_run.code, &new_run.stdout), "{old}");
        let is_notice = |line: &&str| line.contains("`--config FILE` is deprecated");
        let notices: Vec<&str> = old_run.stderr.lines().filter(is_notice).collect();
        let [notice] = notices[..] else { panic!("{old}: {}", old_run.stderr) };
        let (verb, _) = new.split_once(" pipeline.yaml").unwrap();
        assert!(notice.contains(&format!("`semantik {verb} pipeline.yaml")), "{notice}");
        assert!(!new_run.stderr.lines().any(|line| is_notice(&line)), "{}", new_run.stderr);
    }
}
