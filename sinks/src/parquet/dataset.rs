//! The folder of a dataset, which readers can read at any moment while it changes.
//!
//! Files come in pairs, `documents/part-N.parquet` and `chunks/part-N.parquet`; a document and its
//! chunks are in the same pair, and a document exists if its row in `documents` does. A file is
//! written under a temporary name, synced and renamed. For new documents, the chunks are written
//! first. For known documents, the old row is removed first, then the old chunks, then they are
//! added like new ones. So a kill leaves each document complete or absent, and at worst chunks
//! without a document, which the next opening removes: those of a pair without a documents file,
//! and those of pairs listed in the file `.rewriting`.
//!
//! Memory use is one window plus sixteen bytes per document of the dataset.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::basic::Compression;
use ::parquet::file::properties::WriterProperties;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use fs_err::File;
use pipeline::column::URI;
use pipeline::{BoxError, Remedy, StoreError};
use rustix::fs::{FlockOperation, flock};

use crate::parquet::tables;

/// File that lists the pairs whose documents are being replaced.
const REWRITE_JOURNAL: &str = ".rewriting";

/// Rows per batch while a file is copied.
const COPY_BATCH_ROWS: usize = 1024;

/// A dataset that is open for writing.
pub(super) struct Dataset {
    folder: PathBuf,
    properties: WriterProperties,
    /// Pair of each document, by a hash of its URI. After a hash collision, a pair is copied
    /// without need.
    parts: HashMap<u64, u32>,
    next: u32,
    /// Exclusive lock; held while the dataset is open.
    _lock: File,
}

#[derive(Clone, Copy)]
enum DatasetTable {
    Documents,
    Chunks,
}

impl DatasetTable {
    fn folder(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::Chunks => "chunks",
        }
    }
}

impl Dataset {
    /// Opens or creates the dataset, and repairs the state left by a killed writer.
    ///
    /// # Errors
    /// If another writer has it open, or a file cannot be read.
    pub(super) fn open(folder: &Path, compression: Compression) -> Result<Self, BoxError> {
        for table in [DatasetTable::Documents, DatasetTable::Chunks] {
            fs_err::create_dir_all(folder.join(table.folder()))?;
        }
        let lock = File::create(folder.join(".lock"))?;
        flock(lock.file(), FlockOperation::NonBlockingLockExclusive).map_err(|_| StoreError {
            doing: "open the Parquet dataset",
            remedy: Remedy::Conflict,
            source: format!("{} is in use by another node or process", folder.display()).into(),
        })?;
        let mut dataset = Self {
            folder: folder.to_owned(),
            properties: WriterProperties::builder().set_compression(compression).build(),
            parts: HashMap::new(),
            next: 0,
            _lock: lock,
        };
        dataset.recover()?;
        for part in dataset.list(DatasetTable::Documents)? {
            dataset.next = dataset.next.max(part + 1);
            for uri in dataset.uris(part)? {
                dataset.parts.insert(uri_hash(&uri), part);
            }
        }
        Ok(dataset)
    }

    /// Root folder of the dataset.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes these documents, replacing earlier versions with the same URI.
    pub(super) fn upsert(&mut self, rows: &RecordBatch) -> Result<(), BoxError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let rows = tables::keep_last(rows)?;
        let uris = tables::uris(&rows)?;
        let old: BTreeSet<u32> =
            uris.iter().filter_map(|uri| self.parts.get(&uri_hash(uri)).copied()).collect();
        if !old.is_empty() {
            self.write_journal(&old)?;
            for part in &old {
                self.copy_rows(DatasetTable::Documents, *part, &uris, false)?;
                self.copy_rows(DatasetTable::Chunks, *part, &uris, false)?;
            }
        }
        let part = self.next;
        self.next += 1;
        let (documents, chunks) = (tables::document_rows(&rows), tables::chunk_rows(&rows)?);
        self.replace(DatasetTable::Chunks, part, &chunks.schema(), [Ok(chunks)])?;
        self.replace(DatasetTable::Documents, part, &documents.schema(), [Ok(documents)])?;
        if !old.is_empty() {
            fs_err::remove_file(self.folder.join(REWRITE_JOURNAL))?;
        }
        self.parts.extend(uris.iter().map(|uri| (uri_hash(uri), part)));
        Ok(())
    }

    /// Removes incomplete files and chunks without documents.
    fn recover(&self) -> Result<(), BoxError> {
        for table in [DatasetTable::Documents, DatasetTable::Chunks] {
            for entry in fs_err::read_dir(self.folder.join(table.folder()))? {
                let path = entry?.path();
                if path.extension() == Some(OsStr::new("tmp")) {
                    fs_err::remove_file(path)?;
                }
            }
        }
        let documents = self.list(DatasetTable::Documents)?;
        for part in self.list(DatasetTable::Chunks)?.difference(&documents) {
            fs_err::remove_file(self.path(DatasetTable::Chunks, *part))?;
        }
        let announced = self.folder.join(REWRITE_JOURNAL);
        if !announced.exists() {
            return Ok(());
        }
        let parts = fs_err::read_to_string(&announced)?;
        for part in parts.lines().filter_map(|line| line.parse().ok()) {
            if documents.contains(&part) {
                self.copy_rows(DatasetTable::Chunks, part, &self.uris(part)?, true)?;
            }
        }
        fs_err::remove_file(announced)?;
        Ok(())
    }

    /// Durably lists the pairs that are about to change in `.rewriting`.
    fn write_journal(&self, parts: &BTreeSet<u32>) -> io::Result<()> {
        let aside = self.folder.join(".rewriting.tmp");
        let mut file = File::create(&aside)?;
        for part in parts {
            writeln!(file, "{part}")?;
        }
        file.sync_all()?;
        fs_err::rename(aside, self.folder.join(REWRITE_JOURNAL))?;
        File::open(&self.folder)?.sync_all()
    }

    /// Rewrites a file with only (`keep`) or without the rows of `among`; deletes a documents file
    /// without rows, and then its chunks file.
    fn copy_rows(
        &self,
        table: DatasetTable,
        part: u32,
        among: &HashSet<String>,
        keep: bool,
    ) -> Result<(), BoxError> {
        let path = self.path(table, part);
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path)?.into_file())?;
        let schema = SchemaRef::clone(reader.schema());
        let batches = reader.with_batch_size(COPY_BATCH_ROWS).build()?;
        let kept = batches.map(|rows| tables::filter_by_document(&rows?, among, keep));
        let rows = self.replace(table, part, &schema, kept)?;
        // A pair always has both files; the chunks file can be empty, for documents without chunks.
        if rows == 0 && matches!(table, DatasetTable::Documents) {
            fs_err::remove_file(&path)?;
        }
        if matches!(table, DatasetTable::Chunks)
            && !self.path(DatasetTable::Documents, part).exists()
        {
            fs_err::remove_file(&path)?;
        }
        Ok(())
    }

    /// Writes a file under a temporary name, syncs it and renames it. Returns its number of rows.
    fn replace(
        &self,
        table: DatasetTable,
        part: u32,
        schema: &SchemaRef,
        batches: impl IntoIterator<Item = Result<RecordBatch, BoxError>>,
    ) -> Result<usize, BoxError> {
        let path = self.path(table, part);
        let aside = path.with_file_name(format!(".part-{part:08}.tmp"));
        let file = File::create(&aside)?;
        let properties = self.properties.clone();
        let mut writer = ArrowWriter::try_new(file, SchemaRef::clone(schema), Some(properties))?;
        let mut rows = 0;
        for batch in batches {
            let batch = batch?;
            rows += batch.num_rows();
            writer.write(&batch)?;
        }
        let file = writer.into_inner()?;
        file.sync_all()?;
        fs_err::rename(aside, path)?;
        File::open(self.folder.join(table.folder()))?.sync_all()?;
        Ok(rows)
    }

    /// URIs of the documents of a pair.
    fn uris(&self, part: u32) -> Result<HashSet<String>, BoxError> {
        let file = File::open(self.path(DatasetTable::Documents, part))?.into_file();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
        let only_uri = ProjectionMask::columns(reader.parquet_schema(), [URI.name()]);
        let mut uris = HashSet::new();
        for rows in reader.with_projection(only_uri).build()? {
            uris.extend(tables::uris(&rows?)?);
        }
        Ok(uris)
    }

    fn list(&self, table: DatasetTable) -> io::Result<BTreeSet<u32>> {
        let mut parts = BTreeSet::new();
        for entry in fs_err::read_dir(self.folder.join(table.folder()))? {
            let name = entry?.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_prefix("part-"))
                .and_then(|name| name.strip_suffix(".parquet"));
            parts.extend(number.and_then(|number| number.parse::<u32>().ok()));
        }
        Ok(parts)
    }

    fn path(&self, table: DatasetTable, part: u32) -> PathBuf {
        self.folder.join(table.folder()).join(format!("part-{part:08}.parquet"))
    }
}

fn uri_hash(uri: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    uri.hash(&mut hasher);
    hasher.finish()
}
