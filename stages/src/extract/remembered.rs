//! The cache of extracted documents: content extracted with the same options is not extracted
//! again.
//!
//! The key contains everything that the result depends on: version and options of the stage,
//! content hash, media type, and for a compressed file the extension of the inner name, which helps
//! to detect the type of its content. Titles derived from the file name are not cached. Refusals
//! are not cached; such documents are tried again. Plain text is not cached: it is extracted at
//! tens of megabytes per second, and the same space saves a thousand times as much time when it
//! holds vectors.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use pipeline::column::{CONTENT_HASH, MIME_TYPE, URI};
use pipeline::{BoxError, Memo, MemoKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zstd::bulk::Compressor;

use crate::extract::document::Document;
use crate::extract::read::{Format, is_gzip};
use crate::extract::{NODE, path_of};

/// Part of every key; the number is increased when the stored form changes.
const WHAT: &str = "document 1";

/// The fastest regular level of zstd; it compresses text to a third.
const LEVEL: i32 = 1;

/// Number of documents per write to the cache. A batch usually has several times as many, so most
/// are written while the worker extracts the rest.
const AT_ONCE: usize = 64;

/// The cached form of a document, as compressed JSON.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    mime_type: Cow<'a, str>,
    document: Cow<'a, Document>,
}

/// Access to the cache for one set of options.
pub(crate) struct Memory {
    memo: Arc<dyn Memo>,
    options: String,
    /// Reused, because creating its tables takes longer than compressing a small document.
    compressor: Compressor<'static>,
}

/// Cached documents of one batch, and new ones to store.
pub(crate) struct Remembered<'a> {
    memory: Option<&'a mut Memory>,
    /// One key per row; `None` for rows that are not cached.
    keys: Vec<Option<MemoKey>>,
    found: Vec<Option<Vec<u8>>>,
    new: Vec<(MemoKey, Vec<u8>)>,
}

impl Memory {
    /// `identity` is that of the stage configuration.
    ///
    /// # Errors
    /// If zstd has no memory for its tables.
    pub(crate) fn new(memo: &Arc<dyn Memo>, identity: &Value) -> io::Result<Self> {
        let options = format!("{} {identity}", NODE.version);
        Ok(Self { memo: Arc::clone(memo), options, compressor: Compressor::new(LEVEL)? })
    }

    fn key(&self, path: &Path, mime_type: &str, hash: &[u8]) -> Option<MemoKey> {
        if Format::of(mime_type) == Some(Format::Text) {
            return None;
        }
        let extension =
            path.extension().filter(|_| is_gzip(mime_type)).unwrap_or_default().as_encoded_bytes();
        let parts = [self.options.as_bytes(), hash, mime_type.as_bytes(), extension];
        Some(MemoKey::of(WHAT, &parts))
    }
}

impl<'a> Remembered<'a> {
    /// Looks up the documents of a batch. Without a cache or content hashes, nothing is found.
    pub(crate) fn look_up(
        memory: Option<&'a mut Memory>,
        rows: &RecordBatch,
    ) -> Result<Self, BoxError> {
        let mut found = vec![None; rows.num_rows()];
        let (Some(memory), Ok(hashes)) = (memory, CONTENT_HASH.of(rows)) else {
            let keys = vec![None; rows.num_rows()];
            return Ok(Self { memory: None, keys, found, new: Vec::new() });
        };
        let (uris, mime_types) = (URI.of(rows)?, MIME_TYPE.of(rows)?);
        let keys: Vec<Option<MemoKey>> = (0..rows.num_rows())
            .map(|row| {
                let mime_type = mime_types.value(row);
                memory.key(&path_of(uris.value(row), mime_type), mime_type, hashes.value(row))
            })
            .collect();
        let asked: Vec<usize> = (0..keys.len()).filter(|&row| keys[row].is_some()).collect();
        let wanted: Vec<MemoKey> = keys.iter().copied().flatten().collect();
        if !wanted.is_empty() {
            for (row, value) in asked.into_iter().zip(memory.memo.get(&wanted)) {
                found[row] = value;
            }
        }
        Ok(Self { memory: Some(memory), keys, found, new: Vec::new() })
    }

    /// The cached document of a row with the media type of its content; `None` if missing or
    /// invalid.
    pub(crate) fn take(&mut self, row: usize) -> Option<(String, Document)> {
        let json = zstd::decode_all(self.found[row].take()?.as_slice()).ok()?;
        let Stored { mime_type, document } = serde_json::from_slice(&json).ok()?;
        Some((mime_type.into_owned(), document.into_owned()))
    }

    /// Records the extracted document of a row. Each [`AT_ONCE`] records are written.
    pub(crate) fn note(&mut self, row: usize, mime_type: &str, document: &Document) {
        let (Some(key), Some(memory)) = (self.keys[row], &mut self.memory) else { return };
        let stored =
            Stored { mime_type: Cow::Borrowed(mime_type), document: Cow::Borrowed(document) };
        // Neither step fails in memory; after a failure, the document would only be extracted
        // again.
        let packed = serde_json::to_vec(&stored)
            .map_err(io::Error::other)
            .and_then(|json| memory.compressor.compress(&json));
        if let Ok(mut packed) = packed {
            // The compressor reserves space for incompressible text.
            packed.shrink_to_fit();
            self.new.push((key, packed));
        }
        if self.new.len() >= AT_ONCE {
            self.store();
        }
    }

    /// Writes the documents recorded since the last call to the cache.
    pub(crate) fn store(&mut self) {
        if let Some(memory) = self.memory.as_ref().filter(|_| !self.new.is_empty()) {
            memory.memo.put(&self.new);
            self.new.clear();
        }
    }
}
