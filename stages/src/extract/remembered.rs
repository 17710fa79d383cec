//! Documents that were extracted before: a content that was read with the same options is not read again.
//!
//! A document is remembered under everything that it depends on: the version and options of the stage,
//! the hash of the content, its media type, and for a compressed file the extension of the name inside,
//! which has a say in what is in it. A title that was taken from the file's name is not part of it.
//! Only what was read is remembered; what was refused is tried again. Plain text is not remembered: it
//! is read at tens of megabytes a second, and would take room that saves a thousand times as much for vectors.

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

/// Goes into every key; the number is raised when documents are stored in another form.
const WHAT: &str = "document 1";

/// zstd's fastest usual level: text shrinks to a third of its size.
const LEVEL: i32 = 1;

/// Documents that are stored in one call. A batch usually has several times as many, so most of them
/// are stored while the worker reads.
const AT_ONCE: usize = 64;

/// What is stored of a document, as compressed JSON.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    mime_type: Cow<'a, str>,
    document: Cow<'a, Document>,
}

/// What earlier runs have extracted with these options.
pub(crate) struct Memory {
    memo: Arc<dyn Memo>,
    options: String,
    /// Reused, since the tables of a new one cost more than the compression of a small document.
    compressor: Compressor<'static>,
}

/// What is remembered of the documents of one batch, and what is to be.
pub(crate) struct Remembered<'a> {
    memory: Option<&'a mut Memory>,
    /// For each row, where it can be remembered.
    keys: Vec<Option<MemoKey>>,
    found: Vec<Option<Vec<u8>>>,
    new: Vec<(MemoKey, Vec<u8>)>,
}

impl Memory {
    /// The memory of the stage with these options, as its `identity` gives them.
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
    /// Looks the documents of a batch up; finds none where there is no memory, or no content hash.
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

    /// The document of a row with the media type of what was read, if it is remembered.
    pub(crate) fn take(&mut self, row: usize) -> Option<(String, Document)> {
        let json = zstd::decode_all(self.found[row].take()?.as_slice()).ok()?;
        let Stored { mime_type, document } = serde_json::from_slice(&json).ok()?;
        Some((mime_type.into_owned(), document.into_owned()))
    }

    /// Notes what was extracted of a row, and stores the notes once there are enough for one call.
    pub(crate) fn note(&mut self, row: usize, mime_type: &str, document: &Document) {
        let (Some(key), Some(memory)) = (self.keys[row], &mut self.memory) else { return };
        let stored =
            Stored { mime_type: Cow::Borrowed(mime_type), document: Cow::Borrowed(document) };
        // Neither fails in memory; if one did, the document would be read again the next time.
        let packed = serde_json::to_vec(&stored)
            .map_err(io::Error::other)
            .and_then(|json| memory.compressor.compress(&json));
        if let Ok(mut packed) = packed {
            // The compressor reserves room for a text that does not compress.
            packed.shrink_to_fit();
            self.new.push((key, packed));
        }
        if self.new.len() >= AT_ONCE {
            self.store();
        }
    }

    /// Stores what was noted since the last call.
    pub(crate) fn store(&mut self) {
        if let Some(memory) = self.memory.as_ref().filter(|_| !self.new.is_empty()) {
            memory.memo.put(&self.new);
            self.new.clear();
        }
    }
}
