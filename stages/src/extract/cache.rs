//! The cache of extracted documents: content extracted with the same options is not extracted
//! again.
//!
//! The key contains everything that the result depends on: options of the stage, its version with
//! that of the format, content hash, media type, and for a compressed file the extension of the
//! inner name, which helps to detect the type of its content. Titles derived from the file name are
//! not cached. Refusals are not cached; such documents are tried again. Plain text is not cached:
//! it is extracted at tens of megabytes per second, and the same space saves a thousand times as
//! much time when it holds vectors.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use pipeline::column::{CONTENT_HASH, MIME_TYPE, URI};
use pipeline::{BoxError, Cache, CacheKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zstd::bulk::Compressor;

use crate::extract::document::Document;
use crate::extract::formats::{by_media_type, total_version};
use crate::extract::gzip::{content_path, is_gzip};

/// Part of every key; the number is increased when the stored form changes.
const KEY_KIND: &str = "document 1";

/// The fastest regular level of zstd; it compresses text to a third.
const ZSTD_LEVEL: i32 = 1;

/// Number of documents per write to the cache. A batch usually has several times as many, so most
/// are written while the worker extracts the rest.
const AT_ONCE: usize = 64;

/// The cached form of a document, as compressed JSON.
#[derive(Serialize, Deserialize)]
struct CachedDocument<'a> {
    mime_type: Cow<'a, str>,
    document: Cow<'a, Document>,
}

/// Access to the cache for one set of options.
pub(crate) struct ExtractionCache {
    cache: Arc<dyn Cache>,
    version: u32,
    identity: String,
    /// Reused, because creating its tables takes longer than compressing a small document.
    compressor: Compressor<'static>,
}

/// Cached documents of one batch, and new ones to store.
pub(crate) struct BatchCache<'a> {
    cache: Option<&'a mut ExtractionCache>,
    /// One key per row; `None` for rows that are not cached.
    keys: Vec<Option<CacheKey>>,
    found: Vec<Option<Vec<u8>>>,
    added: Vec<(CacheKey, Vec<u8>)>,
}

impl ExtractionCache {
    /// `version` is that of the stage without those of its formats, `identity` that of its
    /// configuration.
    ///
    /// # Errors
    /// If zstd has no memory for its tables.
    pub(crate) fn new(memo: &Arc<dyn Cache>, version: u32, identity: &Value) -> io::Result<Self> {
        let (identity, compressor) = (identity.to_string(), Compressor::new(ZSTD_LEVEL)?);
        Ok(Self { cache: Arc::clone(memo), version, identity, compressor })
    }

    fn key(&self, path: &Path, mime_type: &str, hash: &[u8]) -> Option<CacheKey> {
        let format = by_media_type(mime_type);
        if format.is_some_and(|format| !format.is_cached) {
            return None;
        }
        // The format of compressed content is not known before it is unpacked.
        let version = self.version + format.map_or_else(total_version, |format| format.version);
        let options = format!("{version} {}", self.identity);
        let extension =
            path.extension().filter(|_| is_gzip(mime_type)).unwrap_or_default().as_encoded_bytes();
        let parts = [options.as_bytes(), hash, mime_type.as_bytes(), extension];
        Some(CacheKey::new(KEY_KIND, &parts))
    }
}

impl<'a> BatchCache<'a> {
    /// Looks up the documents of a batch. Without a cache or content hashes, nothing is found.
    pub(crate) fn look_up(
        memory: Option<&'a mut ExtractionCache>,
        rows: &RecordBatch,
    ) -> Result<Self, BoxError> {
        let mut found = vec![None; rows.num_rows()];
        let (Some(memory), Ok(hashes)) = (memory, CONTENT_HASH.of(rows)) else {
            let keys = vec![None; rows.num_rows()];
            return Ok(Self { cache: None, keys, found, added: Vec::new() });
        };
        let (uris, mime_types) = (URI.of(rows)?, MIME_TYPE.of(rows)?);
        let keys: Vec<Option<CacheKey>> = (0..rows.num_rows())
            .map(|row| {
                let mime_type = mime_types.value(row);
                memory.key(&content_path(uris.value(row), mime_type), mime_type, hashes.value(row))
            })
            .collect();
        let asked: Vec<usize> = (0..keys.len()).filter(|&row| keys[row].is_some()).collect();
        let wanted: Vec<CacheKey> = keys.iter().copied().flatten().collect();
        if !wanted.is_empty() {
            for (row, value) in asked.into_iter().zip(memory.cache.get(&wanted)) {
                found[row] = value;
            }
        }
        Ok(Self { cache: Some(memory), keys, found, added: Vec::new() })
    }

    /// The cached document of a row with the media type of its content; `None` if missing or
    /// invalid.
    pub(crate) fn take(&mut self, row: usize) -> Option<(String, Document)> {
        let json = zstd::decode_all(self.found[row].take()?.as_slice()).ok()?;
        let CachedDocument { mime_type, document } = serde_json::from_slice(&json).ok()?;
        Some((mime_type.into_owned(), document.into_owned()))
    }

    /// Records the extracted document of a row. Each [`AT_ONCE`] records are written.
    pub(crate) fn add(&mut self, row: usize, mime_type: &str, document: &Document) {
        let (Some(key), Some(memory)) = (self.keys[row], &mut self.cache) else { return };
        let stored = CachedDocument {
            mime_type: Cow::Borrowed(mime_type),
            document: Cow::Borrowed(document),
        };
        // Neither step fails in memory; after a failure, the document would only be extracted
        // again.
        let packed = serde_json::to_vec(&stored)
            .map_err(io::Error::other)
            .and_then(|json| memory.compressor.compress(&json));
        if let Ok(mut packed) = packed {
            // The compressor reserves space for incompressible text.
            packed.shrink_to_fit();
            self.added.push((key, packed));
        }
        if self.added.len() >= AT_ONCE {
            self.write();
        }
    }

    /// Writes the documents recorded since the last call to the cache.
    pub(crate) fn write(&mut self) {
        if let Some(memory) = self.cache.as_ref().filter(|_| !self.added.is_empty()) {
            memory.cache.put(&self.added);
            self.added.clear();
        }
    }
}
