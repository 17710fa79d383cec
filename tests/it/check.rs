//! Findings of `check`: pipeline files that do not match the available nodes and models.

use insta::assert_snapshot;

use crate::support::{TestProject, model};

/// Exit code and output of `check` for a pipeline file with these nodes.
fn check(nodes: &str) -> String {
    let place = TestProject::with("model: 'stand-in:16'", "");
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

/// `check` of two branches; `embeds` are the nodes after the common ones.
fn check_branches(embeds: &str) -> String {
    check(&format!(
        "
  - {{ id: scan, uses: scan, with: {{ paths: [corpus] }} }}
  - {{ id: hash, uses: hash, from: scan }}
  - {{ id: extract, uses: extract, from: hash }}
  - {{ id: short, uses: chunk, from: extract, with: {{ size: 64, overlap: 8 }} }}
  - {{ id: long, uses: chunk, from: extract, with: {{ size: 128, overlap: 8 }} }}
{embeds}"
    ))
}

#[test]
fn two_models_into_one_sink() {
    assert_snapshot!(check_branches(
        "
  - { id: one, uses: embed, from: short, with: { model: minilm } }
  - { id: two, uses: embed, from: long, with: { model: 'stand-in:384' } }
  - { id: upsert, uses: upsert, from: [one, two] }
"
    ));
}

#[test]
fn two_models_by_two_sinks_and_through_another_node() {
    assert_snapshot!(check_branches(
        "
  - { id: one, uses: embed, from: short, with: { model: 'stand-in:16' } }
  - { id: two, uses: embed, from: long, with: { model: 'stand-in:32', dim: 16 } }
  - { id: again, uses: dedup, from: two }
  - { id: first, uses: upsert, from: one }
  - { id: second, uses: upsert, from: again }
"
    ));
}

#[test]
fn one_model_with_two_sets_of_options() {
    assert_snapshot!(check_branches(
        "
  - { id: one, uses: embed, from: short, with: { model: minilm } }
  - { id: two, uses: embed, from: long, with: { model: minilm, dim: 128 } }
  - { id: three, uses: embed, from: long, with: { model: minilm, sparse: none } }
  - { id: four, uses: embed, from: long, with: { model: minilm, dtype: int8 } }
  - { id: upsert, uses: upsert, from: [one, two, three, four] }
"
    ));
}

#[test]
fn one_collection_with_two_sets_of_options() {
    assert_snapshot!(check_branches(
        "
  - { id: embed, uses: embed, from: [short, long], with: { model: minilm } }
  - { id: first, uses: upsert, from: embed }
  - { id: second, uses: upsert, from: embed, with: { quantization: float32, hnsw_m: 32 } }
"
    ));
}

#[test]
fn embedding_what_is_embedded() {
    assert_snapshot!(check_branches(
        "
  - { id: one, uses: embed, from: [short, long], with: { model: minilm } }
  - { id: two, uses: embed, from: one, with: { model: 'stand-in:16' } }
  - { id: upsert, uses: upsert, from: two }
"
    ));
}

#[test]
fn one_model_in_two_nodes_and_another_one_for_an_export() {
    assert_snapshot!(check_branches(
        "
  - { id: export, uses: embed, from: long, with: { model: 'stand-in:16' } }
  - { id: file, uses: parquet, from: export, with: { path: out } }
  - { id: one, uses: embed, from: short, with: { model: minilm, window: 10 } }
  - { id: two, uses: embed, from: more, with: { model: minilm, device: cpu } }
  - { id: more, uses: chunk, from: extract, with: { size: 128, overlap: 8 } }
  - { id: upsert, uses: upsert, from: [one, two] }
"
    ));
}
