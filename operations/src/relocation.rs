//! Updates the points of moved documents: their location, and the terms of their path in sparse
//! vectors. Nothing is embedded. Names no store: the tests run it in memory.

use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use pipeline::{
    BoxError, DocumentLocation, Lifecycle, Passage, PassageField, Relocation, SparseEncoder,
    StoreError, Vectors, point_id,
};
use uuid::Uuid;

/// Documents per transaction in which relocations are recorded.
const BATCH_SIZE: u32 = 1_000;

/// Maximum number of documents that are updated concurrently.
const MAX_IN_FLIGHT: usize = 8;

/// Points that are read and written at once.
const POINTS_PER_CALL: u32 = 256;

/// Updates the points of moved documents. They are marked as unreliable first, so that a document
/// that moves back before the next run is not taken for an unmoved one, and an interrupted update
/// is repeated. `sparse_encoder` is that of the vectors; `None` if they have no sparse vectors.
pub(crate) async fn relocate(
    metadata: &dyn Lifecycle,
    vectors: &dyn Vectors,
    sparse_encoder: Option<&dyn SparseEncoder>,
) -> Result<(), BoxError> {
    let mut after = Uuid::nil();
    loop {
        let moved = metadata.pending_relocations(after, BATCH_SIZE).await?;
        let Some(last) = moved.last() else { return Ok(()) };
        after = last.document;
        let ids: Vec<_> = moved.iter().map(|it| it.document).collect();
        metadata.mark_relocating(&ids).await?;
        let places: Vec<_> = moved.iter().map(|it| (it.document, current_location(it))).collect();
        let changes: Vec<_> = places
            .iter()
            .map(|(document, place)| update_points(vectors, sparse_encoder, *document, place))
            .collect();
        stream::iter(changes).buffer_unordered(MAX_IN_FLIGHT).try_collect::<()>().await?;
        vectors.flush().await?;
        metadata.mark_relocated(&places).await?;
    }
}

/// The current location of a document. A title derived from the file name follows the new name.
fn current_location(moved: &Relocation) -> DocumentLocation {
    let before =
        Path::new(&moved.before).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let named_after_file = moved.title.is_some() && before == moved.title;
    DocumentLocation {
        uri: moved.uri.clone(),
        source: moved.source.clone().unwrap_or_default(),
        title: if named_after_file { pipeline::uri::stem(&moved.uri) } else { None },
        modified_at: moved.mtime.map(|at| at.timestamp_micros()),
    }
}

async fn update_points(
    vectors: &dyn Vectors,
    sparse_encoder: Option<&dyn SparseEncoder>,
    document: Uuid,
    place: &DocumentLocation,
) -> Result<(), StoreError> {
    vectors.update_location(document, place).await?;
    let is_read = |encoder: &&dyn SparseEncoder| {
        let reads_title = place.title.is_some() && encoder.reads(PassageField::Title);
        encoder.reads(PassageField::Path) || reads_title
    };
    match sparse_encoder.filter(is_read) {
        Some(encoder) => encode_again(vectors, encoder, document).await,
        None => Ok(()),
    }
}

/// Encodes the stored passages of a document again. Their dense vectors are written as they are.
async fn encode_again(
    vectors: &dyn Vectors,
    encoder: &dyn SparseEncoder,
    document: Uuid,
) -> Result<(), StoreError> {
    let mut from = 0_u32;
    loop {
        let chunks = from..from.saturating_add(POINTS_PER_CALL);
        from = chunks.end;
        let ids: Vec<Uuid> = chunks.map(|chunk| point_id(document, chunk)).collect();
        let mut points = vectors.fetch(&ids).await?;
        if points.is_empty() {
            return Ok(());
        }
        for point in &mut points {
            point.sparse = Some(encoder.encode_document(&Passage::of_payload(&point.payload)));
        }
        vectors.upsert(points).await?;
    }
}
