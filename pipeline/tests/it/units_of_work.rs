//! What a unit of work takes in and gives out survives the way to another process as text.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, LargeBinaryArray, RecordBatch, StringArray};
use chrono::DateTime;
use pipeline::{
    ContentHash, DocumentCounts, DocumentError, EarlierRejection, Fingerprint, Location,
    NodeReport, Outcome, RejectReason, Rejection, RejectionReport, RunReport, SourceTotals, ipc,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn location() -> impl Strategy<Value = Location> {
    let times = (option::of(any::<i64>()), option::of(any::<i64>()), option::of(any::<u64>()));
    (".*", ".*", any::<u64>(), times).prop_map(|(uri, source, size, (mtime, ctime, inode))| {
        Location { uri, source, size, mtime, ctime, inode }
    })
}

fn document_error() -> impl Strategy<Value = DocumentError> {
    prop_oneof![
        ".*".prop_map(|cause| DocumentError::Unreadable { cause }),
        (".*", ".*").prop_map(|(format, cause)| {
            DocumentError::Corrupt { format: format.into(), cause }
        }),
        Just(DocumentError::Encrypted),
        ".*".prop_map(|limit| DocumentError::LimitExceeded { limit }),
    ]
}

fn reason() -> impl Strategy<Value = RejectReason> {
    let since = option::of(
        (0_i64..4_000_000_000).prop_map(|at| DateTime::from_timestamp(at, 123_456_789).unwrap()),
    );
    prop_oneof![
        Just(RejectReason::Unchanged),
        Just(RejectReason::MetadataChanged),
        Just(RejectReason::Duplicate),
        Just(RejectReason::Empty),
        any::<(u64, u64)>().prop_map(|(images, pages)| RejectReason::ImagesOnly { images, pages }),
        any::<(u64, u64)>().prop_map(|(size, limit)| RejectReason::TooLarge { size, limit }),
        ".*".prop_map(|mime_type| RejectReason::Unsupported { mime_type }),
        Just(RejectReason::Unrouted),
        document_error().prop_map(RejectReason::Failed),
        ".*".prop_map(|message| RejectReason::Withheld { message }),
        (".*", ".*", ".*", since).prop_map(|(node, reason, message, since)| {
            RejectReason::PreviouslyRejected { node, reason, message, since }
        }),
    ]
}

fn rejection() -> impl Strategy<Value = Rejection> {
    (location(), option::of(any::<[u8; 32]>()), reason()).prop_map(|(location, hash, reason)| {
        Rejection { location, content_hash: hash.map(ContentHash), reason }
    })
}

fn rows() -> impl Strategy<Value = RecordBatch> {
    vec((".*", option::of(vec(any::<u8>(), 0..20))), 0..8).prop_map(|rows| {
        let uris = StringArray::from_iter_values(rows.iter().map(|row| &row.0));
        let bytes = LargeBinaryArray::from_iter(rows.iter().map(|row| row.1.as_ref()));
        let columns: [(&str, ArrayRef); 2] = [("uri", Arc::new(uris)), ("bytes", Arc::new(bytes))];
        RecordBatch::try_from_iter(columns).unwrap()
    })
}

fn report() -> impl Strategy<Value = RunReport> {
    let counts = any::<[u64; 6]>().prop_map(|[seen, stored, unchanged, duplicate, out, cut]| {
        DocumentCounts { seen, stored, unchanged, duplicate, set_aside: out, interrupted: cut }
    });
    let node = (".*", any::<[u64; 4]>(), -1e9..1e9_f64).prop_map(|(id, counts, seconds)| {
        let [rows_in, rows_out, batches, bytes_in] = counts;
        NodeReport {
            uses: id.clone(),
            id,
            rows_in,
            rows_out,
            batches,
            bytes_in,
            busy_seconds: seconds,
            starved_seconds: 0.5,
            blocked_seconds: 0.25,
        }
    });
    let out = (".*", any::<bool>()).prop_map(|(uri, is_known)| RejectionReport {
        message: uri.clone(),
        uri,
        known: is_known.then(EarlierRejection::default),
        ..RejectionReport::default()
    });
    let roots = (vec(".*", 0..3), vec(".*", 0..3));
    (counts, vec(node, 0..3), vec(out, 0..3), roots, any::<[u64; 5]>(), any::<bool>()).prop_map(
        |(documents, nodes, set_aside, (exhausted_roots, empty_roots), numbers, stopped)| {
            let [chunks, tokens, tokens_reused, deleted, newly_failed] = numbers;
            RunReport {
                pipeline: "p".to_owned(),
                documents,
                reasons: BTreeMap::from([("failed".to_owned(), newly_failed)]),
                newly_failed,
                left_out: BTreeMap::from([("include".to_owned(), deleted)]),
                chunks,
                tokens,
                seconds: 0.125,
                tokens_reused,
                deleted,
                stopped,
                exhausted_roots,
                empty_roots,
                nodes,
                set_aside,
            }
        },
    )
}

/// The value on the other side.
fn sent<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

proptest! {
    #[test]
    fn locations_and_rejections_arrive_as_they_were(document in rejection()) {
        prop_assert_eq!(&sent(&document.location), &document.location);
        prop_assert_eq!(sent(&document), document);
    }

    #[test]
    fn outcomes_arrive_as_they_were(
        rows in rows(),
        rejected in vec(rejection(), 0..3),
        start in any::<prop::sample::Index>(),
    ) {
        // A slice of a batch shares the arrays of the whole.
        let start = if rows.num_rows() == 0 { 0 } else { start.index(rows.num_rows()) };
        let rows = rows.slice(start, rows.num_rows() - start);
        let outcome = Outcome { rows: rows.clone(), rejected: rejected.clone() };
        let arrived = sent(&outcome);
        prop_assert_eq!(&arrived.rows, &rows);
        prop_assert_eq!(arrived.rejected, rejected);
        let stream = ipc::encode(&rows).unwrap();
        prop_assert_eq!(ipc::decode(&stream).unwrap(), rows);
    }

    #[test]
    fn reports_arrive_as_they_were(report in report()) {
        prop_assert_eq!(sent(&report), report);
    }

    #[test]
    fn hashes_are_text_of_64_digits(bytes in any::<[u8; 32]>()) {
        prop_assert_eq!(sent(&Fingerprint(bytes)), Fingerprint(bytes));
        let text = serde_json::to_value(ContentHash(bytes)).unwrap();
        prop_assert_eq!(text, serde_json::Value::from(ContentHash(bytes).to_string()));
    }
}

#[test]
fn damaged_units_are_errors() {
    for text in ["\"00\"", "7", "\"zz\"", &format!("\"{}\"", "é".repeat(32))] {
        assert!(serde_json::from_str::<ContentHash>(text).is_err(), "{text}");
    }
    let empty = RecordBatch::try_from_iter([(
        "uri",
        Arc::new(StringArray::from(Vec::<&str>::new())) as ArrayRef,
    )])
    .unwrap();
    let mut stream = ipc::encode(&empty).unwrap();
    assert_eq!(ipc::decode(&stream).unwrap().column(0).len(), 0);
    stream.truncate(stream.len() / 2);
    assert!(ipc::decode(&stream).is_err());
    assert!(ipc::decode(&[]).is_err());
    let totals = SourceTotals { empty_roots: vec!["a".to_owned()], excluded: BTreeMap::new() };
    assert_eq!(sent(&totals), totals);
}
