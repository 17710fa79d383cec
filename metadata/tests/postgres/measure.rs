//! Measurements to run manually: `cargo nextest run -p metadata --run-ignored only measure
//! --no-capture`.

use std::time::Instant;

use metadata::EmbeddedPostgres;
use pipeline::{ContentHash, IncomingDocument, MetadataStore as _, RejectReason, Rejection};

use crate::support::{Database, at, stored};

#[tokio::test]
#[ignore = "prints measurements"]
async fn measure_a_hundred_thousand_documents() {
    let database = Database::new().await;
    let (operation, metadata) = database.run().await;
    let all: Vec<IncomingDocument> = (0..100_000_u64)
        .map(|n| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            let uri =
                format!("file:///a/rather/usual/path/of/some/length/{}/document-{n}.html", n % 100);
            IncomingDocument { location: at(&uri), content_hash: ContentHash(hash) }
        })
        .collect();
    let time = |what: &str, since: Instant| {
        println!(
            "{what}: {:.1} µs for each document",
            since.elapsed().as_secs_f64() * 1e6 / 100_000.0
        );
    };

    let since = Instant::now();
    for batch in all.chunks(200) {
        let places = metadata.assign_ids(batch).await.unwrap();
        let documents: Vec<_> = batch
            .iter()
            .zip(places)
            .map(|(incoming, place)| {
                let mut document = stored("", 0, place.document, 3);
                document.incoming = incoming.clone();
                document
            })
            .collect();
        metadata.commit(&documents).await.unwrap();
    }
    time("identify and commit, 200 at a time", since);

    let since = Instant::now();
    for batch in all.chunks(1000) {
        let uris: Vec<_> = batch.iter().map(|one| one.location.uri.clone()).collect();
        let known = metadata.lookup_locations(&uris).await.unwrap();
        assert!(known.iter().all(Option::is_some));
    }
    time("locate, 1000 at a time", since);

    let since = Instant::now();
    for batch in all.chunks(1000) {
        let left: Vec<_> = batch
            .iter()
            .map(|one| {
                let location = one.location.clone();
                (
                    "scan".to_owned(),
                    Rejection { location, content_hash: None, reason: RejectReason::Unchanged },
                )
            })
            .collect();
        metadata.record_rejections(&left).await.unwrap();
    }
    time("record as unchanged, 1000 at a time", since);

    let since = Instant::now();
    assert_eq!(metadata.known_hashes().await.unwrap().len(), 100_000);
    time("known_hashes", since);
    let since = Instant::now();
    operation.finish(&metadata::OperationOutcome::Completed, &[]).await.unwrap();
    time("finish", since);
}

#[test]
#[ignore = "prints measurements"]
fn measure_the_private_cluster() {
    let folder = tempfile::tempdir().unwrap();
    for what in ["first start", "second start"] {
        let since = Instant::now();
        let cluster = EmbeddedPostgres::start(folder.path()).unwrap();
        println!("{what}: {} ms", since.elapsed().as_millis());
        let since = Instant::now();
        let joined = EmbeddedPostgres::start(folder.path()).unwrap();
        println!("joining: {:.1} ms", since.elapsed().as_secs_f64() * 1e3);
        drop(joined);
        let since = Instant::now();
        drop(cluster);
        println!("stop: {} ms", since.elapsed().as_millis());
    }
}
