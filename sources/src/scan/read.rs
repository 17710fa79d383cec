//! Reads files into a batch.

use std::io::{self, Read as _};
use std::sync::Arc;

use arrow::array::{
    FixedSizeBinaryBuilder, LargeBinaryArray, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::SchemaRef;
use pipeline::{BoxError, DocumentError, RejectReason, Rejection};
use sha2::{Digest as _, Sha256};

use crate::mime;
use crate::scan::cause::{CHANGED_WHILE_READ, io_cause};
use crate::scan::decide::{FileToRead, with_previous_failure};
use crate::scan::open::OpenResult;

/// Reads files into batches with one schema.
pub(crate) struct FileReader {
    pub(crate) schema: SchemaRef,
    pub(crate) max_size: u64,
    pub(crate) non_files: NonFiles,
}

/// Treatment of a path that became a FIFO or a device since the walk.
#[derive(Clone, Copy)]
pub(crate) enum NonFiles {
    /// No document, as in the next walk.
    Skip,
    /// A document that changed while it was read, because the listing counted it.
    SetAside,
}

impl FileReader {
    /// Reads the next files until the batch holds this many bytes. Unreadable files are added to
    /// `set_aside`.
    ///
    /// A row carries the size and times from before the read: after a concurrent write, the next
    /// run sees the difference and reads the file again.
    pub(crate) fn read(
        &self,
        files: &mut impl Iterator<Item = FileToRead>,
        batch_bytes: u64,
        set_aside: &mut Vec<Rejection>,
    ) -> Result<RecordBatch, BoxError> {
        let mut batch = BatchBuilder::default();
        while (batch.bytes.len() as u64) < batch_bytes
            && let Some(file) = files.next()
        {
            let start = batch.bytes.len();
            let read = read_file(&file, self.max_size, &mut batch.bytes).and_then(|is_document| {
                if is_document {
                    check_withheld(&file, &batch.bytes[start..])?;
                } else if matches!(self.non_files, NonFiles::SetAside) {
                    return Err(changed_while_read());
                }
                Ok(is_document)
            });
            match read {
                Ok(true) => batch.add(&file, start)?,
                Ok(false) => {}
                Err(why) => {
                    batch.bytes.truncate(start);
                    let content_hash = file.known_hash.filter(|_| file.withheld_message.is_some());
                    let document = Rejection { location: file.location, content_hash, reason: why };
                    set_aside.push(with_previous_failure(document, file.previous_failure.as_ref()));
                }
            }
        }
        batch.finish(&self.schema)
    }
}

/// Appends the content of a file; returns `false` and appends nothing if it is not a file any more.
fn read_file(file: &FileToRead, max_size: u64, bytes: &mut Vec<u8>) -> Result<bool, RejectReason> {
    let unreadable = |error: &io::Error| DocumentError::Unreadable { cause: io_cause(error) };
    let start = bytes.len();
    let opened = file.root.open_file(&file.path, file.device, &file.location);
    let opened = match opened.map_err(|error| unreadable(&error))? {
        OpenResult::File(opened) => opened,
        OpenResult::NotRegular => return Ok(false),
        OpenResult::Changed => return Err(changed_while_read()),
    };
    bytes.reserve(usize::try_from(file.location.size).unwrap_or(0) + 1);
    // One byte more than the limit, to detect a file that has grown beyond it since `stat`.
    let mut opened = opened.take(max_size.saturating_add(1));
    opened.read_to_end(bytes).map_err(|error| unreadable(&error))?;
    let size = (bytes.len() - start) as u64;
    if size > max_size {
        return Err(RejectReason::TooLarge { size, limit: max_size });
    }
    Ok(true)
}

fn changed_while_read() -> RejectReason {
    DocumentError::Unreadable { cause: CHANGED_WHILE_READ.to_owned() }.into()
}

/// Fails if a user deleted the document of this file and its content is unchanged, even if its
/// times changed.
fn check_withheld(file: &FileToRead, content: &[u8]) -> Result<(), RejectReason> {
    match &file.withheld_message {
        Some(message) if file.known_hash.is_some_and(|it| it.0[..] == *Sha256::digest(content)) => {
            Err(RejectReason::Withheld { message: message.clone() })
        }
        Some(_) | None => Ok(()),
    }
}

#[derive(Default)]
struct BatchBuilder {
    uris: StringBuilder,
    sources: StringBuilder,
    sizes: UInt64Builder,
    mtimes: TimestampMicrosecondBuilder,
    ctimes: TimestampMicrosecondBuilder,
    inodes: UInt64Builder,
    mime_types: StringBuilder,
    /// Concatenated contents.
    bytes: Vec<u8>,
    ends: Vec<i64>,
    known_hashes: Vec<Option<[u8; 32]>>,
}

impl BatchBuilder {
    /// Adds a row for a file whose content is `bytes[start..]`.
    fn add(&mut self, file: &FileToRead, start: usize) -> Result<(), BoxError> {
        self.uris.append_value(&file.location.uri);
        self.sources.append_value(&file.location.source);
        self.sizes.append_value(file.location.size);
        self.mtimes.append_option(file.location.mtime);
        self.ctimes.append_option(file.location.ctime);
        self.inodes.append_option(file.location.inode);
        self.mime_types.append_value(mime::detect(&file.path, &self.bytes[start..]));
        self.ends.push(i64::try_from(self.bytes.len())?);
        self.known_hashes.push(file.known_hash.map(|hash| hash.0));
        Ok(())
    }

    fn finish(mut self, schema: &SchemaRef) -> Result<RecordBatch, BoxError> {
        let mut offsets = vec![0];
        offsets.append(&mut self.ends);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let bytes = LargeBinaryArray::try_new(offsets, Buffer::from_vec(self.bytes), None)?;
        let mut known = FixedSizeBinaryBuilder::new(32);
        for hash in &self.known_hashes {
            match hash {
                Some(hash) => known.append_value(hash)?,
                None => known.append_null(),
            }
        }
        Ok(RecordBatch::try_new(
            Arc::clone(schema),
            vec![
                Arc::new(self.uris.finish()),
                Arc::new(self.sources.finish()),
                Arc::new(self.sizes.finish()),
                Arc::new(self.mtimes.finish().with_timezone("UTC")),
                Arc::new(self.ctimes.finish().with_timezone("UTC")),
                Arc::new(self.inodes.finish()),
                Arc::new(self.mime_types.finish()),
                Arc::new(bytes),
                Arc::new(known.finish()),
            ],
        )?)
    }
}
