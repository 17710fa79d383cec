//! Embedded stores and servers give the same documents, chunks and top hits for the same pipeline
//! file.

use std::collections::BTreeSet;

use crate::support::{TestProject, model};

#[test]
fn an_embedded_postgres_and_a_server_agree() {
    assert_same_results("embedded");
}

/// Compares embedded stores with a Postgres server, reached by URL, and these vectors.
pub(crate) fn assert_same_results(vectors: &str) {
    let embed = format!("model: {}", model().display());
    let embedded = TestProject::with(&embed, "");
    let server = TestProject::with_embedding(&embed);
    let stores = format!("stores: {{ vectors: {vectors} }}");
    server.write_pipeline(&embed, &stores, "size: 64, overlap: 8");

    let adr = std::path::Path::new(crate::support::ROOT).join("docs/adr");
    let mut reports = Vec::new();
    for place in [&embedded, &server] {
        for entry in std::fs::read_dir(&adr).unwrap() {
            let path = entry.unwrap().path();
            place.write(path.file_name().unwrap().to_str().unwrap(), std::fs::read(&path).unwrap());
        }
        reports.push(place.run());
    }
    for key in ["documents", "chunks", "tokens"] {
        assert_eq!(reports[0][key], reports[1][key], "{key}");
    }
    for question in ["which store is the truth", "how is a PDF read", "why is a row a document"] {
        let hits = |place: &TestProject| -> Vec<(String, u64, f64)> {
            let hits = place.search(question, 5).into_iter();
            hits.map(|hit| {
                let uri = hit["uri"].as_str().unwrap();
                let name = uri.rsplit('/').next().unwrap().to_owned();
                (name, hit["chunk_index"].as_u64().unwrap(), hit["score"].as_f64().unwrap())
            })
            .collect()
        };
        let (ours, theirs) = (hits(&embedded), hits(&server));
        assert_eq!(ours.len(), theirs.len());
        for (a, b) in ours.iter().zip(&theirs) {
            assert!((a.2 - b.2).abs() < 1e-3, "{question}: {a:?} {b:?}");
        }
        // Hits with equal scores are ordered by id, and ids differ between the places.
        let last = ours[ours.len() - 1].2;
        let better = |hits: &[(String, u64, f64)]| -> BTreeSet<(String, u64)> {
            let better = hits.iter().filter(|(.., score)| *score > last + 1e-3);
            better.map(|(name, chunk, _)| (name.clone(), *chunk)).collect()
        };
        assert_eq!(better(&ours), better(&theirs), "{question}");
    }
}
