//! `hash`.

use pipeline::Rejection;
use pipeline::column::CONTENT_HASH;
use pipeline::{ContentHash, RejectReason};
use serde_json::json;

use crate::support::{empty_resources, files, run, stage};

#[test]
fn is_the_sha_256_of_the_content() {
    let rows = files(&[("a", "text/plain", b"abc"), ("empty", "text/plain", b"")]);
    let out = run(&*stage("hash", json!({})), &empty_resources(), rows);
    let hashes = CONTENT_HASH.of(&out.rows).unwrap();
    let hex = |row| ContentHash::try_from(hashes.value(row)).unwrap().to_string();
    // FIPS 180-2, appendix B.1, and the digest of nothing.
    assert_eq!(hex(0), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(hex(1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let set_aside = Rejection::from_row(&out.rows, 0, RejectReason::Empty).unwrap();
    assert_eq!(set_aside.content_hash.unwrap().to_string(), hex(0));
}
