//! What a user reads when a pipeline file does not go with the nodes and models that there are.

use insta::assert_snapshot;

use crate::support::{Place, model};

/// What `check` says of the nodes below, on standard error, and its exit code.
fn check(nodes: &str) -> String {
    let place = Place::with_stand_in();
    std::os::unix::fs::symlink(model(), place.path().join("minilm")).unwrap();
    let yaml = format!("version: 1\nname: test\ncollection: test\nnodes:\n{nodes}");
    std::fs::write(place.file(), yaml).unwrap();
    let ran = place.semantik(&["check", "pipeline.yaml"]);
    let folder = place.path().display().to_string();
    format!("exit code {}\n{}{}", ran.code, ran.stdout, ran.stderr).replace(&folder, "…")
}

#[test]
fn six_faults_of_six_kinds() {
    assert_snapshot!(check(
        "
  - { id: scan, uses: scan, with: { paths: [corpus], max_sise: 3 } }
  - { id: hash, uses: hsah, from: scan }
  - { id: extract, uses: extract, from: scan, workers: 0 }
  - { id: chunk, uses: chunk, from: extract, with: { size: 512, overlap: 600 } }
  - { id: embed, uses: embed, from: chunk, with: { model: minilm, dim: 512 } }
  - { id: upsert, uses: upsert, from: [embed, scna] }
"
    ));
}

#[test]
fn a_chunk_longer_than_the_model_reads() {
    assert_snapshot!(check(
        "
  - { id: scan, uses: scan, with: { paths: [corpus] } }
  - { id: hash, uses: hash, from: scan }
  - { id: dedup, uses: dedup, from: hash }
  - { id: extract, uses: extract, from: dedup }
  - { id: chunk, uses: chunk, from: extract, with: { size: 512 } }
  - { id: embed, uses: embed, from: chunk, with: { model: minilm } }
  - { id: upsert, uses: upsert, from: embed }
"
    ));
}

#[test]
fn no_model_and_no_columns() {
    assert_snapshot!(check(
        "
  - { id: scan, uses: scan, with: { paths: [corpus] } }
  - { id: chunk, uses: chunk, from: scan }
  - { id: embed, uses: embed, from: chunk, with: { model: nowhere } }
  - { id: upsert, uses: upsert, from: scan }
"
    ));
}
