//! `dedup`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use pipeline::column::{CONTENT_HASH, KNOWN_HASH, URI};
use pipeline::test_util::reasons;
use pipeline::{ContentHash, Resources};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{empty_resources, files, hashes, run, stage, with_column};

fn rows(contents: &[(u8, Option<u8>)]) -> RecordBatch {
    let names: Vec<String> = (0..contents.len()).map(|index| format!("{index:03}")).collect();
    let given: Vec<_> =
        names.iter().map(|name| (name.as_str(), "text/plain", b"x".as_slice())).collect();
    let content: Vec<_> = contents.iter().map(|(content, _)| Some(*content)).collect();
    let known: Vec<_> = contents.iter().map(|(_, known)| *known).collect();
    let rows = with_column(&files(&given), KNOWN_HASH.field(), hashes(&known));
    with_column(&rows, CONTENT_HASH.field(), hashes(&content))
}

fn resources_with(known: &[u8]) -> Resources {
    let known = known.iter().map(|byte| ContentHash([*byte; 32])).collect();
    Resources { known_hashes: Arc::new(known), ..empty_resources() }
}

fn names(rows: &RecordBatch) -> Vec<&str> {
    let uris = URI.of(rows).unwrap();
    uris.iter().map(|uri| uri.unwrap().rsplit('/').next().unwrap()).collect()
}

#[test]
fn tells_touched_copied_and_new_apart() {
    let rows = rows(&[
        (1, Some(1)), // touched: stored, unchanged
        (1, None),    // a copy of a stored document
        (1, Some(2)), // edited into a copy of a stored document
        (5, None),    // new
        (5, None),    // a copy of a new one
        (6, Some(6)), // stored with other settings
        (1, Some(1)), // a second location, touched
    ]);
    let out = run(&*stage("dedup", json!({})), &resources_with(&[1, 2]), rows);
    assert_eq!(names(&out.rows), ["003", "005"]);
    insta::assert_debug_snapshot!(reasons(&out.rejected), @r#"
    [
        (
            "000",
            "unchanged: is already stored, and only attributes of its file have changed",
        ),
        (
            "001",
            "duplicate: has the same content as another document",
        ),
        (
            "002",
            "duplicate: has the same content as another document",
        ),
        (
            "004",
            "duplicate: has the same content as another document",
        ),
        (
            "006",
            "unchanged: is already stored, and only attributes of its file have changed",
        ),
    ]
    "#);
}

proptest! {
    #[test]
    fn each_content_passes_once_and_nothing_is_lost(
        contents in proptest::collection::vec((0_u8..6, proptest::option::of(0_u8..6)), 0..40),
        known in proptest::collection::vec(0_u8..6, 0..3),
        cut in 0_usize..40,
    ) {
        let rows = rows(&contents);
        let with = resources_with(&known);
        let mut stage = stage("dedup", json!({})).build(&with).unwrap();
        let cut = cut.min(rows.num_rows());
        let first = stage.process(rows.slice(0, cut)).unwrap();
        let second = stage.process(rows.slice(cut, rows.num_rows() - cut)).unwrap();

        let passed: Vec<&[u8]> = [&first, &second]
            .iter()
            .flat_map(|out| CONTENT_HASH.of(&out.rows).unwrap().iter().flatten())
            .collect();
        let mut distinct = passed.clone();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), passed.len());
        prop_assert!(passed.iter().all(|hash| !known.contains(&hash[0])));
        let expected = contents.iter().map(|(content, _)| *content).filter(|c| !known.contains(c));
        prop_assert_eq!(passed.len(), expected.collect::<std::collections::HashSet<_>>().len());
        prop_assert_eq!(passed.len() + first.rejected.len() + second.rejected.len(), contents.len());
    }
}
