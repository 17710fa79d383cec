//! The content of both stores of a place, read directly: documents, locations, chunks, vectors, and
//! inconsistencies.

use std::collections::BTreeMap;

use pipeline::VectorsConfig;
use pipeline::{Point, VectorIndex as _};
use serde_json::Value;
use vectors::EdgeStore;

use crate::support::{TestProject, text};

/// The content of the live generation of a collection.
#[derive(Debug)]
pub(crate) struct IndexContents {
    /// Content hash → state and number of chunks, without deleted documents.
    pub(crate) documents: BTreeMap<String, (String, i64)>,
    /// Path → content hash and state.
    pub(crate) locations: BTreeMap<String, (Option<String>, String)>,
    /// Sorted by document and index.
    pub(crate) chunks: Vec<Chunk>,
    /// Inconsistencies: orphans, leftovers, unfinished operations.
    pub(crate) faults: Vec<String>,
}

/// A point of the vector store.
#[derive(Debug)]
pub(crate) struct Chunk {
    document: String,
    index: u32,
    pub(crate) content: String,
    vector: Vec<f32>,
}

/// One query for all rows of a collection in the metadata store; `$1` is its id.
const ALL_ROWS: &str = "
    SELECT
      (SELECT json_build_object('name', vector_store_name, 'dim', dim, 'quantization', quantization,
                                'sparse', sparse IS NOT NULL)
       FROM generations WHERE collection_id = $1 AND status = 'live') AS live,
      (SELECT coalesce(json_agg(vector_store_name), '[]') FROM generations) AS vectors,
      (SELECT coalesce(json_agg(json_build_object('content', encode(content_hash, 'hex'), 'id', id,
              'status', status, 'chunks', chunk_count, 'reason', set_aside ->> 'reason')), '[]')
       FROM documents WHERE collection_id = $1 AND status <> 'deleted') AS documents,
      (SELECT coalesce(json_agg(json_build_object('content', encode(content_hash, 'hex'), 'uri', uri,
              'document', document_id, 'reason', set_aside ->> 'reason')), '[]')
       FROM document_locations WHERE collection_id = $1) AS locations,
      (SELECT coalesce(json_agg(fault), '[]') FROM (
          SELECT 'operation ' || id || ' is ' || status FROM operations
          WHERE collection_id = $1 AND status IN ('pending', 'processing')
        UNION ALL
          SELECT 'document ' || id || ' (' || status || ') has points to remove' FROM documents
          WHERE collection_id = $1 AND status IN ('deleted', 'failed') AND chunk_count > 0
        UNION ALL
          SELECT 'document ' || id || ' is ' || status FROM documents
          WHERE collection_id = $1 AND status IN ('pending', 'processing')
        UNION ALL
          SELECT 'document ' || d.id || ' has no location' FROM documents d
          WHERE d.collection_id = $1 AND d.status <> 'deleted'
            AND NOT EXISTS (SELECT FROM document_locations l WHERE l.document_id = d.id)
        UNION ALL
          SELECT l.uri || ' belongs to a document of other content' FROM document_locations l
          JOIN documents d ON d.id = l.document_id
          WHERE l.collection_id = $1 AND (l.content_hash <> d.content_hash OR d.status = 'deleted')
        UNION ALL
          SELECT 'points of document ' || document_id || ' are still being written' FROM document_writes
          WHERE collection_id = $1
        UNION ALL
          SELECT 'a generation is being built' FROM generations
          WHERE collection_id = $1 AND status = 'building'
        UNION ALL
          SELECT 'document ' || id || ' is left in building' FROM building.documents WHERE collection_id = $1
        UNION ALL
          SELECT l.uri || ' is left in building' FROM building.document_locations l WHERE collection_id = $1
        UNION ALL
          SELECT 'a write is left in building' FROM building.document_writes WHERE collection_id = $1
        UNION ALL
          SELECT 'document ' || id || ' is left in retired' FROM retired.documents
          WHERE collection_id = $1 AND generation_id NOT IN (SELECT id FROM generations WHERE status = 'retired')
        UNION ALL
          SELECT 'the collection is ' || status FROM collections WHERE id = $1 AND status = 'processing'
      ) AS f (fault)) AS faults";

impl TestProject {
    /// The content of the collection `test`.
    pub(crate) fn index(&self) -> IndexContents {
        let collection = self.value(
            "SELECT c.id FROM collections c JOIN users u ON u.id = c.owner_id
             WHERE c.name = 'test' AND u.username = 'local'",
        );
        self.index_of(&collection)
    }

    /// The content of a collection.
    pub(crate) fn index_of(&self, collection: &str) -> IndexContents {
        let rows = self.sql(&ALL_ROWS.replace("$1", &format!("'{collection}'")));
        let everything = &rows[0];
        let mut faults: Vec<String> =
            everything["faults"].as_array().unwrap().iter().map(text).collect();
        let mut documents = BTreeMap::new();
        let mut contents = BTreeMap::new();
        for document in everything["documents"].as_array().unwrap() {
            let chunks = document["chunks"].as_i64().unwrap();
            let content = text(&document["content"]);
            contents.insert(text(&document["id"]), (content.clone(), chunks));
            if documents.insert(content, (state(document), chunks)).is_some() {
                faults.push(format!("duplicate {document}"));
            }
        }
        let mut locations = BTreeMap::new();
        for location in everything["locations"].as_array().unwrap() {
            let content = location["content"].as_str().map(str::to_owned);
            let state = match (location["document"].as_str(), location["reason"].as_str()) {
                (_, Some(reason)) => reason.to_owned(),
                (Some(_), None) => "has a document".to_owned(),
                (None, None) => {
                    faults.push(format!("{location} has neither a document nor a reason"));
                    "pending".to_owned()
                }
            };
            locations.insert(self.name_of(&location["uri"]), (content, state));
        }
        let mut chunks = Vec::new();
        let mut held: BTreeMap<String, i64> = BTreeMap::new();
        for point in self.points(&everything["live"]) {
            let document = point.payload.document.to_string();
            *held.entry(document.clone()).or_default() += 1;
            match contents.get(&document) {
                None => faults.push(format!("point {} has no document", point.id)),
                Some((content, _)) => chunks.push(Chunk {
                    document: content.clone(),
                    index: point.payload.chunk_index,
                    content: point.payload.content,
                    vector: point.vector,
                }),
            }
        }
        for (id, (_, chunks)) in &contents {
            let held = held.get(id).copied().unwrap_or_default();
            if held != *chunks {
                faults.push(format!("document {id} has {chunks} chunks and {held} points"));
            }
        }
        faults.extend(self.unknown_vector_folders(&everything["vectors"]));
        chunks.sort_by(|a, b| (&a.document, a.index).cmp(&(&b.document, b.index)));
        IndexContents { documents, locations, chunks, faults }
    }

    fn points(&self, live: &Value) -> Vec<Point> {
        let name = text(&live["name"]);
        let folder = self.path().join(".semantik/vectors").join(&name);
        let quantization = serde_json::from_value(live["quantization"].clone()).unwrap();
        let dim = usize::try_from(live["dim"].as_u64().unwrap()).unwrap();
        let sparse = live["sparse"].as_bool().unwrap();
        let config = VectorsConfig { sparse, ..VectorsConfig::new(name, dim, quantization) };
        let edge = EdgeStore::open(&folder, &config).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut points: Vec<Point> = Vec::new();
            loop {
                let page = edge.scroll(points.last().map(|point| point.id), 500).await.unwrap();
                if page.is_empty() {
                    break;
                }
                points.extend(page);
            }
            assert_eq!(edge.count().await.unwrap(), points.len() as u64);
            points
        })
    }

    /// Folders of vectors without a generation.
    fn unknown_vector_folders(&self, known: &Value) -> Vec<String> {
        let known: Vec<String> = known.as_array().unwrap().iter().map(text).collect();
        let strange = self.vector_folders().into_iter().filter(|name| !known.contains(name));
        strange.map(|name| format!("the vectors {name} have no generation")).collect()
    }

    /// The folders of embedded vectors, sorted.
    pub(crate) fn vector_folders(&self) -> Vec<String> {
        let Ok(folders) = std::fs::read_dir(self.path().join(".semantik/vectors")) else {
            return Vec::new();
        };
        let mut names: Vec<String> =
            folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// The status, with its reason if any.
fn state(document: &Value) -> String {
    let status = text(&document["status"]);
    match document["reason"].as_str() {
        Some(reason) => format!("{status}: {reason}"),
        None => status,
    }
}

impl IndexContents {
    /// Asserts that the stores agree, without leftovers and unfinished operations.
    pub(crate) fn assert_consistent(&self) {
        assert!(self.faults.is_empty(), "{:#?}", self.faults);
    }

    /// Asserts that this index and that of another place are sound and equal in files, documents,
    /// chunk texts and vectors.
    pub(crate) fn assert_equal_to(&self, other: &Self) {
        self.assert_consistent();
        other.assert_consistent();
        assert_eq!(self.locations, other.locations);
        assert_eq!(self.documents, other.documents);
        let texts = |index: &Self| -> Vec<(String, u32, String)> {
            let chunks = index.chunks.iter();
            chunks.map(|it| (it.document.clone(), it.index, it.content.clone())).collect()
        };
        assert_eq!(texts(self), texts(other));
        for (a, b) in self.chunks.iter().zip(&other.chunks) {
            let dot: f32 = a.vector.iter().zip(&b.vector).map(|(a, b)| a * b).sum();
            let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
            let cosine = dot / norm(&a.vector) / norm(&b.vector);
            assert!(cosine > 0.9999, "the vectors of `{}` differ: {cosine}", a.content);
        }
    }
}
