//! Lists of documents: the pages of every order and filter return each document once, in order, and
//! every query is read from its index.

use metadata::{DocumentList, DocumentSelection, DocumentSort, DocumentStatus, ListedDocument};
use uuid::Uuid;

use crate::support::Database;

/// Rows of two collections: names that differ in case, letters of many scripts, ties in every key,
/// one name longer than the compared part, and one that starts with the greatest character.
const ROWS: &str = "
    INSERT INTO documents (id, collection_id, file_path, file_name, file_size, content_hash, status, set_aside,
                           error_message, deleted_at, updated_at)
    SELECT gen_random_uuid(), c.id, '/corpus/' || it.name, it.name, n % 7, sha256(n::text::bytea), it.status::document_status,
           CASE WHEN it.status = 'failed' THEN jsonb_build_object('node', 'extract', 'reason', it.reason) END,
           CASE WHEN it.status = 'failed' THEN it.reason || ' ' || n % 3 END,
           CASE WHEN it.status = 'deleted' THEN now() END,
           timestamptz '2026-01-01' + n % 5 * interval '1 microsecond'
    FROM collections c, generate_series(1, 200) n,
         LATERAL (SELECT (ARRAY['pending', 'processing', 'completed', 'completed', 'failed', 'deleted'])[n % 6 + 1] AS status,
                         (ARRAY['failed', 'empty', 'unsupported'])[n / 6 % 3 + 1] AS reason,
                         (ARRAY['a', 'B', 'b', 'É', 'é', 'ж', '東', U&'\\+10FFFF', '_', repeat('x', 300)])[n % 10 + 1]
                             || n % 3 AS name) it;
    UPDATE documents SET set_aside = set_aside - 'reason' WHERE status = 'failed' AND file_size = 6;";

async fn filled() -> (Database, Uuid) {
    let database = Database::new().await;
    let collection = database.collection("one").await;
    database.collection("two").await;
    sqlx::raw_sql(ROWS).execute(&database.sql).await.unwrap();
    (database, collection.id)
}

/// The sort key, compared by Rust and not by the database.
fn order_of(it: &ListedDocument, sort: DocumentSort) -> (String, i64, Uuid) {
    let text = match sort {
        DocumentSort::Id => String::new(),
        DocumentSort::Name => it.file_name.to_ascii_lowercase().chars().take(200).collect(),
        DocumentSort::Size => return (String::new(), it.file_size, it.id),
        DocumentSort::Updated => return (String::new(), it.updated_at.timestamp_micros(), it.id),
        DocumentSort::Status => return (String::new(), it.status as i64, it.id),
    };
    (text, 0, it.id)
}

#[tokio::test]
async fn pages_of_every_order_give_every_document_once() {
    let (database, collection) = filled().await;
    let documents = database.postgres.documents();
    let selections = [
        (DocumentSelection::All, "TRUE"),
        (DocumentSelection::Status(DocumentStatus::Completed), "status = 'completed'"),
        (DocumentSelection::Status(DocumentStatus::Failed), "status = 'failed'"),
        (
            DocumentSelection::Reason("unsupported".to_owned()),
            "status = 'failed' AND set_aside ->> 'reason' = 'unsupported'",
        ),
        (DocumentSelection::Reason("none of them".to_owned()), "FALSE"),
    ];
    let sorts = [
        DocumentSort::Id,
        DocumentSort::Name,
        DocumentSort::Size,
        DocumentSort::Updated,
        DocumentSort::Status,
    ];
    for (selection, condition) in selections {
        let sql = format!("SELECT id FROM documents WHERE collection_id = $1 AND {condition}");
        let mut expected: Vec<Uuid> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(collection)
            .fetch_all(&database.sql)
            .await
            .unwrap();
        expected.sort();
        for sort in sorts {
            for is_descending in [false, true] {
                let what = format!("{selection:?} by {sort:?}, descending: {is_descending}");
                let mut list =
                    DocumentList { selection: selection.clone(), sort, is_descending, after: None };
                let mut all: Vec<ListedDocument> = Vec::new();
                loop {
                    let page = documents.page(collection, &list, 7).await.unwrap();
                    let Some(last) = page.last() else { break };
                    list.after = Some((last.key(sort), last.id));
                    all.extend(page);
                    assert!(all.len() <= expected.len(), "{what}: a page is repeated");
                }
                let ordered = all.is_sorted_by(|a, b| {
                    let (a, b) = (order_of(a, sort), order_of(b, sort));
                    if is_descending { a > b } else { a < b }
                });
                assert!(
                    ordered,
                    "{what}: {:?}",
                    all.iter().map(|it| &it.file_name).collect::<Vec<_>>()
                );
                let mut ids: Vec<Uuid> = all.iter().map(|it| it.id).collect();
                ids.sort();
                assert_eq!(ids, expected, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn documents_are_counted_by_the_reason_for_which_they_were_set_aside() {
    let (database, collection) = filled().await;
    let counts = database.postgres.documents().rejection_counts(collection).await.unwrap();
    let failed = sqlx::query_scalar::<_, i64>(
        "SELECT count(*) FROM documents WHERE collection_id = $1 AND status = 'failed'",
    );
    let failed = failed.bind(collection).fetch_one(&database.sql).await.unwrap();
    let (sums, messages): (Vec<_>, Vec<_>) = counts.iter().partition(|it| it.message.is_none());
    assert_eq!(sums.iter().map(|it| it.count).sum::<i64>(), failed);
    assert_eq!(messages.iter().map(|it| it.count).sum::<i64>(), failed);
    assert!(sums.is_sorted_by(|a, b| a.count >= b.count), "{sums:?}");
    let mut reasons: Vec<&str> = sums.iter().map(|it| it.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["empty", "failed", "unsupported"]);
    for sum in sums {
        let of = messages.iter().filter(|it| it.reason == sum.reason);
        assert_eq!(of.map(|it| it.count).sum::<i64>(), sum.count, "{}", sum.reason);
    }
}
