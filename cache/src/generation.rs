//! One generation of the cache: a SQLite file with a maximum size.
//!
//! SQLite can be shared by several processes, survives a kill at any moment, limits its file size,
//! and reports a corrupt file as an error. In addition, each value has a checksum over key and
//! value; a value with a wrong checksum counts as absent.
//!
//! Only SQLite may open these files: on Unix, closing any other handle would release the locks of
//! this process.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use pipeline::CacheKey;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, TransactionBehavior};

/// Page size in bytes: five vectors of 384 floats, with little waste for other common dimensions.
const PAGE_BYTES: u64 = 8192;

/// Pages in the write-ahead log at which SQLite checkpoints it.
const LOG_PAGES: u64 = 2048;

/// How long a call waits for another process to finish writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Version of the value format in a row.
const FORMAT_VERSION: u8 = 1;

const HEADER_BYTES: usize = 5;

/// Errors of a generation.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    /// The file has its maximum size, or, if it is new and empty, the disk is full.
    #[error("no space left on the disk")]
    Full,
    /// The file is corrupt.
    #[error("corrupt file: {0}")]
    Corrupt(String),
    /// I/O error.
    #[error(transparent)]
    Failed(pipeline::BoxError),
}

impl From<std::io::Error> for CacheError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<rusqlite::Error> for CacheError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            // Besides the plain codes: a missing table is `NotFound`; a file with a damaged header
            // or that was deleted while open is `ReadOnly`; a column of the wrong type has no
            // SQLite code.
            Some(
                ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ReadOnly
                | ErrorCode::Unknown,
            )
            | None => Self::Corrupt(error.to_string()),
            Some(_) => Self::Failed(error.into()),
        }
    }
}

/// An open generation.
pub(super) struct CacheGeneration {
    /// Younger generations have greater numbers.
    pub(super) number: u64,
    db: Connection,
    /// Maximum number of pages.
    max_pages: u64,
}

impl CacheGeneration {
    /// The number of a generation from its file name; `None` for other files.
    pub(super) fn number_of(name: &OsStr) -> Option<u64> {
        name.to_str()?.strip_suffix(".sqlite")?.parse().ok().filter(|number| *number > 0)
    }

    /// Creates the file of a generation unless it exists.
    pub(super) fn create(folder: &Path, number: u64) -> Result<(), CacheError> {
        // Created under a temporary name and linked, so that other processes see only a complete
        // file.
        let aside = folder.join(format!("{}.new", uuid::Uuid::new_v4()));
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // SQLite applies the mode of this file to its log, too.
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside);
        drop(made?);
        let db = Connection::open_with_flags(&aside, flags)?;
        db.pragma_update(None, "page_size", signed(PAGE_BYTES))?;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.execute_batch("CREATE TABLE memo (key BLOB NOT NULL UNIQUE, value BLOB NOT NULL)")?;
        db.close().map_err(|(_, error)| error)?;
        let placed = fs::hard_link(&aside, path(folder, number));
        fs::remove_file(&aside)?;
        match placed {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Opens a generation; `None` if it does not exist. `most` is its maximum size in bytes.
    pub(super) fn open(folder: &Path, number: u64, most: u64) -> Result<Option<Self>, CacheError> {
        let path = path(folder, number);
        if !path.exists() {
            return Ok(None);
        }
        let pages = (most / PAGE_BYTES).max(8);
        let log_pages = LOG_PAGES.min(pages / 16).max(1);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = match Connection::open_with_flags(&path, flags) {
            // Another process has just deleted it.
            Err(_) if !path.exists() => return Ok(None),
            opened => opened?,
        };
        db.busy_timeout(BUSY_TIMEOUT)?;
        // Written data is in the page cache: a kill loses nothing. A crash of the machine can
        // corrupt the file, which is detected and costs the cache; syncing would slow down every
        // run.
        db.pragma_update(None, "synchronous", "off")?;
        db.pragma_update(None, "max_page_count", signed(pages))?;
        db.pragma_update(None, "wal_autocheckpoint", signed(log_pages))?;
        db.pragma_update(None, "journal_size_limit", signed(log_pages * PAGE_BYTES))?;
        Ok(Some(Self { number, db, max_pages: pages }))
    }

    /// Deletes the files of a generation; a process that has them open can still read them.
    pub(super) fn delete(folder: &Path, number: u64) -> Result<(), CacheError> {
        let file = path(folder, number);
        // The main file is deleted last, so that after a kill the next deletion finds the rest.
        for file in [suffixed(&file, "-wal"), suffixed(&file, "-shm"), file] {
            match fs::remove_file(file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error.into());
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// `true` if the file exceeds its limit because the limit was lowered.
    pub(super) fn exceeds_limit(&self) -> Result<bool, CacheError> {
        let pages: i64 = self.db.pragma_query_value(None, "page_count", |row| row.get(0))?;
        Ok(pages > signed(self.max_pages))
    }

    /// The values of these keys, in their order; `None` if absent or damaged.
    pub(super) fn get(&self, keys: &[CacheKey]) -> Result<Vec<Option<Vec<u8>>>, CacheError> {
        // One transaction, because a thousand separate queries would each take and release the
        // locks.
        let reading = self.db.unchecked_transaction()?;
        let mut find = reading.prepare("SELECT value FROM memo WHERE key = ?1")?;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let value = find
                .query_row([key.0.as_slice()], |row| Ok(decode(key, row.get_ref(0)?.as_blob()?)))
                .optional()?;
            values.push(value.flatten());
        }
        Ok(values)
    }

    /// Adds all of these values in one transaction.
    pub(super) fn put(&mut self, entries: &[(CacheKey, Vec<u8>)]) -> Result<(), CacheError> {
        if entries.is_empty() {
            return Ok(());
        }
        let writing = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut insert = writing.prepare(
            "INSERT INTO memo (key, value) VALUES (?1, ?2) \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
        )?;
        for (key, value) in entries {
            insert.execute((key.0.as_slice(), encode(key, value)))?;
        }
        drop(insert);
        Ok(writing.commit()?)
    }
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number}.sqlite"))
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Stored format: version, checksum, value.
fn encode(key: &CacheKey, value: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(HEADER_BYTES + value.len());
    packed.push(FORMAT_VERSION);
    packed.extend_from_slice(&checksum(key, value).to_le_bytes());
    packed.extend_from_slice(value);
    packed
}

/// The value; `None` if the version or checksum does not match.
fn decode(key: &CacheKey, packed: &[u8]) -> Option<Vec<u8>> {
    let (head, value) = packed.split_at_checked(HEADER_BYTES)?;
    let sum = checksum(key, value).to_le_bytes();
    (head[0] == FORMAT_VERSION && head[1..] == sum).then(|| value.to_vec())
}

/// CRC-32 over key and value.
fn checksum(key: &CacheKey, value: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&key.0);
    hash.update(value);
    hash.finalize()
}

/// Converts to SQLite's signed integers.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
