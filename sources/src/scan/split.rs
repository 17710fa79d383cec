//! `scan` in two parts: a source that lists the files to read, and a stage that reads them,
//! possibly in another process on the same file systems.
//!
//! A row of the listing has the location of a file and what the decision about it left to the
//! reader. The reader opens files as the source does, and accepts only the file that the walk
//! found.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, FixedSizeBinaryBuilder, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use async_trait::async_trait;
use pipeline::column::KNOWN_HASH;
use pipeline::{
    BoxError, ContentHash, DocumentError, Location, Outcome, RejectReason, Rejection, Resources,
    SchemaError, SchemaExt as _, Source, SourceConfig, SourceTotals, SplitSource, Stage,
    StageConfig,
};
use serde_json::Value;

use crate::scan::cause::io_cause;
use crate::scan::decide::{FileToRead, with_previous_failure};
use crate::scan::open::Root;
use crate::scan::read::{FileReader, NonFiles};
use crate::scan::{FileFinder, ScanOptions};
use pipeline::uri;

/// Device of the file during the walk.
const DEVICE: &str = "device";
/// [`FileToRead::withheld_message`].
const WITHHELD: &str = "withheld";
/// [`FileToRead::previous_failure`], as JSON.
const KNOWN_FAILURE: &str = "known_failure";

/// The two parts of a `scan` node.
pub(super) fn split(options: &ScanOptions) -> SplitSource {
    SplitSource {
        listing: Box::new(FileListing(options.clone())),
        reader: Box::new(ListedFiles(options.clone())),
    }
}

fn listing_schema() -> SchemaRef {
    let own = [
        KNOWN_HASH.field(),
        Field::new(DEVICE, DataType::UInt64, false),
        Field::new(WITHHELD, DataType::Utf8, true),
        Field::new(KNOWN_FAILURE, DataType::Utf8, true),
    ];
    Arc::new(Schema::new([Location::fields().as_slice(), &own].concat()))
}

struct FileListing(ScanOptions);

impl SourceConfig for FileListing {
    fn schema(&self) -> SchemaRef {
        listing_schema()
    }

    fn build(&self, with: &Resources) -> Result<Box<dyn Source>, BoxError> {
        let finder = FileFinder::open(&self.0, with)?;
        Ok(Box::new(FileLister { finder, batch_bytes: self.0.batch_bytes.0 }))
    }
}

struct FileLister {
    finder: FileFinder,
    /// Bytes of the files of a batch, so that a batch of the reader is as large as one of the
    /// source.
    batch_bytes: u64,
}

#[async_trait]
impl Source for FileLister {
    async fn next_batch(&mut self) -> Result<Option<Outcome>, BoxError> {
        let mut rejected = Vec::new();
        if !self.finder.look_up(&mut rejected).await? {
            return Ok(None);
        }
        let (mut files, mut bytes) = (Vec::new(), 0);
        while bytes < self.batch_bytes
            && let Some(file) = self.finder.pending.next()
        {
            bytes += file.location.size;
            files.push(file);
        }
        Ok(Some(Outcome { rows: list(&files)?, rejected }))
    }

    fn exhausted_roots(&self) -> Vec<String> {
        self.finder.roots.clone()
    }

    fn totals(&self) -> SourceTotals {
        self.finder.totals()
    }
}

/// One row per file.
fn list(files: &[FileToRead]) -> Result<RecordBatch, BoxError> {
    let locations = || files.iter().map(|file| &file.location);
    let times = |time: fn(&Location) -> Option<i64>| {
        TimestampMicrosecondArray::from_iter(locations().map(time)).with_timezone("UTC")
    };
    let mut known = FixedSizeBinaryBuilder::new(32);
    let mut failures = Vec::with_capacity(files.len());
    for file in files {
        match file.known_hash {
            Some(hash) => known.append_value(hash.0)?,
            None => known.append_null(),
        }
        failures.push(file.previous_failure.as_ref().map(serde_json::to_string).transpose()?);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(locations().map(|it| &it.uri))),
        Arc::new(StringArray::from_iter_values(locations().map(|it| &it.source))),
        Arc::new(UInt64Array::from_iter_values(locations().map(|it| it.size))),
        Arc::new(times(|it| it.mtime)),
        Arc::new(times(|it| it.ctime)),
        Arc::new(UInt64Array::from_iter(locations().map(|it| it.inode))),
        Arc::new(known.finish()),
        Arc::new(UInt64Array::from_iter_values(files.iter().map(|file| file.device))),
        Arc::new(StringArray::from_iter(files.iter().map(|file| file.withheld_message.as_ref()))),
        Arc::new(StringArray::from_iter(failures)),
    ];
    Ok(RecordBatch::try_new(listing_schema(), columns)?)
}

struct ListedFiles(ScanOptions);

impl StageConfig for ListedFiles {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        for field in listing_schema().fields() {
            input.require(field.as_ref().clone())?;
        }
        Ok(self.0.schema())
    }

    fn build(&self, _: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        let Self(options) = self;
        let (schema, max_size) = (options.schema(), options.max_size.0);
        Ok(Box::new(ListedFileReader {
            reader: FileReader { schema, max_size, non_files: NonFiles::SetAside },
            follow_symlinks: options.follow_symlinks,
            roots: HashMap::new(),
        }))
    }

    /// As for a source: the origin of a document does not change what is made of it.
    fn identity(&self) -> Value {
        Value::Null
    }
}

struct ListedFileReader {
    reader: FileReader,
    follow_symlinks: bool,
    /// The opened source roots by their URI.
    roots: HashMap<String, Arc<Root>>,
}

impl Stage for ListedFileReader {
    fn process(&mut self, rows: RecordBatch) -> Result<Outcome, BoxError> {
        let mut rejected = Vec::new();
        let mut files = Vec::with_capacity(rows.num_rows());
        let known = KNOWN_HASH.of(&rows)?;
        let column = |name: &str| rows.column_by_name(name).expect("a column of the listing");
        let devices = column(DEVICE).as_primitive::<UInt64Type>();
        let (withheld, failures) =
            (column(WITHHELD).as_string::<i32>(), column(KNOWN_FAILURE).as_string::<i32>());
        for row in 0..rows.num_rows() {
            let location = Location::from_row(&rows, row)?;
            let failure = failures.is_valid(row).then(|| failures.value(row));
            let previous_failure: Option<RejectReason> =
                failure.map(serde_json::from_str).transpose()?;
            let path = uri::to_path(&location.uri).ok_or("a listed URI is not that of a file")?;
            let root = match self.root(&location.source) {
                Ok(root) => root,
                Err(cause) => {
                    let reason = DocumentError::Unreadable { cause }.into();
                    let document = Rejection { location, content_hash: None, reason };
                    rejected.push(with_previous_failure(document, previous_failure.as_ref()));
                    continue;
                }
            };
            files.push(FileToRead {
                path,
                location,
                root,
                device: devices.value(row),
                known_hash: match known.is_valid(row) {
                    true => Some(ContentHash::try_from(known.value(row))?),
                    false => None,
                },
                withheld_message: withheld.is_valid(row).then(|| withheld.value(row).to_owned()),
                previous_failure,
            });
        }
        // The lister has limited the bytes.
        let rows = self.reader.read(&mut files.into_iter(), u64::MAX, &mut rejected)?;
        Ok(Outcome { rows, rejected })
    }
}

impl ListedFileReader {
    /// Opens a source root once; a failure is tried again for the next document.
    fn root(&mut self, source: &str) -> Result<Arc<Root>, String> {
        if let Some(root) = self.roots.get(source) {
            return Ok(Arc::clone(root));
        }
        let path = uri::to_path(source).ok_or_else(|| "its source is not a folder".to_owned())?;
        let root = Root::open(&path, self.follow_symlinks).map_err(|error| io_cause(&error))?;
        let root = Arc::new(root);
        self.roots.insert(source.to_owned(), Arc::clone(&root));
        Ok(root)
    }
}
