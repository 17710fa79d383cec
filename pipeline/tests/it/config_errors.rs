//! Messages about invalid pipeline files.

use insta::assert_snapshot;

use crate::support::{compile, compile_file};

/// The only function that uses the API.
fn check(yaml: &str) -> String {
    compile_file(yaml).map_or_else(|findings| findings.to_string(), |plan| plan.to_string())
}

fn check_nodes(nodes: &str) -> String {
    compile(nodes).map_or_else(|findings| findings.to_string(), |plan| plan.to_string())
}

#[test]
fn a_good_file_prints_its_graph() {
    let yaml = "\
version: 1
name: good
collection: good
description: all that may be said
owner: somebody
edge_bytes: 4096
stores:
  postgres: postgres://semantik:${SET}@db/semantik
  vectors: { qdrant: \"${UNSET:-http://localhost:6334}\", api_key: \"${SET}\" }
  data: ./data
nodes:
  - { id: store, uses: keep, from: [left, right], with: { name: x } }
  - { id: left,  uses: work, from: scan, workers: 4, when: { mime_type: text/html, size: { max: 10 } } }
  - { id: right, uses: work, from: [scan] }
  - { id: scan,  uses: memory }
schedule: { cron: \"0 2 * * *\", timezone: Europe/Berlin, operation: append, overlap: skip }
";
    assert_snapshot!(check(yaml));
}

#[test]
fn six_faults_are_six_findings() {
    let yaml = "\
version: 1
name: wrong
collection: wrong
stroes: {}
nodes:
  - id: scan
    uses: memory
    with: { per_batch: 0 }
  - id: once
    uses: once
    from: scan
    workers: 3
  - id: name
    uses: wrok
    from: scan
  - id: again
    uses: work
    from: scan
    with: { sede: 3 }
  - id: store
    uses: keep
    from: onec
    with: { name: x }
";
    assert_snapshot!(check(yaml));
}

#[test]
fn faults_of_syntax() {
    assert_snapshot!("unclosed", check("version: 1\nnodes: [ { id: a }\n"));
    assert_snapshot!("twice", check("version: 1\nversion: 1\n"));
    assert_snapshot!("empty", check(""));
}

#[test]
fn faults_of_form() {
    assert_snapshot!(check(
        "\
version: 2
name: ''
collection: 7
stores:
  postgres: mysql://x
  vectors: { qdrnt: \"http://localhost:6334\" }
nodes:
  - { id: 1x, uses: memory, workers: many }
  - { uses: memory, form: x }
schedule: { cron: '0 2 * * *', overlap: skipp }
"
    ));
}

#[test]
fn variables_are_read_in_stores_and_must_be_set() {
    assert_snapshot!(check(
        "\
version: 1
name: ${SET}
collection: x
stores:
  postgres: postgres://me:${SECRET}@db/x
  vectors: { qdrant: \"http://${HOST\" }
nodes:
  - { id: scan, uses: memory }
"
    ));
}

#[test]
fn faults_of_the_graph() {
    assert_snapshot!(check_nodes(
        "
  - { id: scan,  uses: memory, from: work }
  - { id: work,  uses: work, from: [a, scan] }
  - { id: a,     uses: work, from: b }
  - { id: b,     uses: work, from: [c, c] }
  - { id: c,     uses: work, from: a }
  - { id: alone, uses: work }
  - { id: late,  uses: work, from: store }
  - { id: store, uses: keep, from: work, with: { name: x } }
  - { id: store, uses: keep, from: work }
"
    ));
}

#[test]
fn conditions_are_checked_against_the_columns() {
    assert_snapshot!(check_nodes(
        "
  - { id: scan,  uses: memory }
  - { id: a, uses: keep, from: scan, with: { name: a }, when: { mime: text/html } }
  - { id: b, uses: keep, from: scan, with: { name: b }, when: { size: 3 } }
  - { id: c, uses: keep, from: scan, with: { name: c }, when: { uri: '[' , bytes: x } }
"
    ));
}

#[test]
fn secrets_do_not_show() {
    let yaml = "\
version: 1
name: x
collection: x
stores: { postgres: \"postgres://me:hunter2@db/x\", vectors: { qdrant: \"http://h\", api_key: 'hunter2' } }
nodes: [ { id: scan, uses: memory } ]
";
    let spec = pipeline::PipelineSpec::from_yaml("x.yaml".as_ref(), yaml, &|_| None).unwrap();
    assert!(!format!("{:?}", spec.file).contains("hunter2"));
    let from_env = yaml.replace("hunter2", "${PASSWORD}");
    let env = |_: &str| Some("hunter2".to_owned());
    let spec = pipeline::PipelineSpec::from_yaml("x.yaml".as_ref(), &from_env, &env).unwrap();
    assert!(!format!("{:?}", spec.file).contains("hunter2"));
    assert_eq!(spec.file.name, "x");
    // All kinds of invalid files, with the secret in the file or in a variable.
    let wrong = [
        ("nodes: [", "nodez: ["),
        ("memory }", "memry }"),
        ("postgres: \"postgres://", "postgres: \"mysql://"),
        ("qdrant:", "qdrnt:"),
    ];
    for (right, wrong) in wrong {
        for yaml in [yaml, &from_env] {
            let yaml = yaml.replace(right, wrong);
            let spec = pipeline::PipelineSpec::from_yaml("x.yaml".as_ref(), &yaml, &env);
            let plan = spec.and_then(|spec| {
                pipeline::Plan::compile(&spec, &crate::support::registry(), &pipeline::NoModels)
            });
            let findings = plan.err().unwrap().to_string();
            assert!(!findings.contains("hunter2"), "{findings}");
        }
    }
}

/// Secrets in wrong places, or in a file that cannot be parsed.
#[test]
fn secrets_do_not_show_where_they_do_not_belong() {
    for stores in [
        "stores: { postgress: \"postgres://me:hunter2@db/x\" }",
        "stores: { vectors: { qdrant: \"http://h\", apikey: hunter2 } }",
        "stores: { vectors: { qdrant: \"http://h\", api_key: 1234567 } }",
        "stores: { postgres: { url: \"postgres://me:hunter2@db/x\" } }",
        "stores: { postgres: \"postgres://db/x?password=hunter2\", x: 1 }",
        "stores: { postgres: \"postgres://me:${UNSET:-hunter2}@db/x\", x: 1 }",
        "stores: { postgres: \"postgres://me:${A}hunter2${B}@db/x\" }",
        "stores: { vectors: { qdrant: \"https://me:hunter2@h\", x: 1 } }",
        "stores: { postgres: \"postgres://me:hunter2@db/x\", vectors: [ }",
        "stores:\n  vectors:\n    qdrant: http://h\n    api_key: |\n      hunter2\n    x: 1",
        "stroes: { postgres: \"postgres://me:hunter2@db/x\" }",
        "stroes: { vectors: { api_key: hunter2, qdrant: [ } }",
    ] {
        let yaml = format!(
            "version: 1\nname: x\ncollection: x\n{stores}\nnodes: [ {{ id: a, uses: memory }} ]\n"
        );
        let findings = compile_file(&yaml).err().unwrap().to_string();
        assert!(
            !findings.contains("hunter2") && !findings.contains("1234567"),
            "{stores}\n{findings}"
        );
    }
}

#[test]
fn odd_files_are_told_in_words() {
    let nodes = |nodes: &str| format!("version: 1\nname: x\ncollection: x\nnodes: {nodes}\n");
    let said: Vec<String> = [
        nodes("{}"),
        nodes("[3]"),
        nodes("[ { id: a, uses: memory, with: 3 } ]"),
        nodes("[ { id: a, uses: memory, with: } ]"),
        nodes("[ { id: a, uses: memory, when: { size: { max: 1 } } }, { id: k, uses: keep, from: a, with: { name: x } } ]"),
        nodes("[ { id: a, uses: memory }, { id: k, uses: keep, from: [], with: { name: x } } ]"),
        nodes("[ { id: a, uses: memory }, { id: k, uses: keep, from: a, with: { name: x }, when: { uri: [], size: { min: 9, max: 1 } } } ]"),
        nodes("[ { id: ä, uses: memory } ]"),
        "a: 1\n---\nb: 2\n".to_owned(),
        "version: 1\n\tname: x\n".to_owned(),
    ]
    .iter()
    .map(|yaml| check(yaml))
    .collect();
    assert_snapshot!(said.join("\n"));
}

#[test]
fn the_fingerprint_tells_what_rows_depend_on() {
    let print = |nodes: &str| compile(nodes).unwrap().fingerprint();
    let base = print(
        "
  - { id: scan, uses: memory, with: { docs: [a] } }
  - { id: work, uses: work, from: scan }
  - { id: keep, uses: keep, from: work, with: { name: x } }
",
    );
    let same = print(
        "
  - { id: other-name, uses: memory, with: { docs: [b, c], per_batch: 7 } }
  - { id: keep, uses: keep, from: work, with: { name: elsewhere } }
  - { id: work, uses: work, from: other-name, workers: 9, with: { seed: 0 } }
",
    );
    assert_eq!(base, same, "names, order, workers, sources and sinks do not matter");
    let seeded = print(
        "
  - { id: scan, uses: memory, with: { docs: [a] } }
  - { id: work, uses: work, from: scan, with: { seed: 1 } }
  - { id: keep, uses: keep, from: work, with: { name: x } }
",
    );
    assert_ne!(base, seeded, "an option matters");
    let longer = print(
        "
  - { id: scan, uses: memory, with: { docs: [a] } }
  - { id: once, uses: once, from: scan }
  - { id: work, uses: work, from: once }
  - { id: keep, uses: keep, from: work, with: { name: x } }
",
    );
    assert_ne!(base, longer, "a node matters");
}
