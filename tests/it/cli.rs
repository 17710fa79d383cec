//! Help, completions, graphs and schema migrations of the command.

use insta::assert_snapshot;

use crate::support::{TestProject, command, ran};

fn stdout_of(args: &[&str]) -> String {
    let ran = ran(command(args).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stdout
}

#[test]
fn help() {
    assert_snapshot!(stdout_of(&["--help"]));
    assert_snapshot!("help_run", stdout_of(&["run", "--help"]));
    assert_snapshot!("help_search", stdout_of(&["search", "--help"]));
    assert_eq!(stdout_of(&["help"]), stdout_of(&["--help"]));
}

#[test]
fn graphs() {
    let place = TestProject::with("model: 'stand-in:16'", "");
    assert_snapshot!("mermaid", place.semantik(&["graph", "pipeline.yaml"]).stdout);
    assert_snapshot!("dot", place.semantik(&["graph", "pipeline.yaml", "--format", "dot"]).stdout);
    assert_snapshot!("columns", place.semantik(&["check", "pipeline.yaml", "--columns"]).stdout);
}

#[test]
fn completions_name_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout_of(&["completions", shell]);
        assert!(script.contains("search") && script.contains("migrate"), "{shell}");
        assert!(!script.contains("--config"), "{shell}: the deprecated option is completed");
    }
    let zsh = stdout_of(&["completions", "zsh"]);
    let files: Vec<&str> = zsh.lines().filter(|line| line.contains(" -- Pipeline file")).collect();
    assert!(files.len() > 20 && files.iter().all(|line| line.contains(":_files'")), "{files:#?}");
}

#[test]
fn migrations_go_up_and_down() {
    let place = TestProject::with_stand_in();
    place.write("a.txt", "a document");
    place.run();
    let status = place.semantik(&["migrate", "status", "pipeline.yaml"]);
    assert_eq!(status.code, 0, "{}", status.stderr);
    assert!(!status.stdout.contains("not applied"), "{}", status.stdout);
    let down = place.semantik(&["migrate", "down", "pipeline.yaml", "--steps", "99", "--yes"]);
    assert_eq!(down.code, 0, "{}", down.stderr);
    assert!(down.stdout.contains("not applied"), "{}", down.stdout);
    let up = place.semantik(&["migrate", "up", "pipeline.yaml"]);
    assert_eq!(up.code, 0, "{}", up.stderr);
    assert_eq!(place.run()["documents"]["stored"], 1, "`migrate down` drops the metadata");
}

#[test]
fn a_search_before_a_run_says_what_to_do() {
    let place = TestProject::with_stand_in();
    let ran = place.semantik(&["search", "pipeline.yaml", "anything"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("run the pipeline first"), "{}", ran.stderr);
}
