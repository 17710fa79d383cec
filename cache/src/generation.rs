//! One generation of a memo: a SQLite file that grows to a fixed size.
//!
//! SQLite is shared by several processes, survives a kill at any moment, bounds the size of its file by
//! itself, and answers to a broken file with an error. Beyond what it checks, each value carries a
//! checksum over its key and itself; where that is wrong, the value is not there.
//!
//! The files are never opened by anything but SQLite: on Unix, closing one would give up the locks of
//! this process.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use pipeline::MemoKey;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, TransactionBehavior};

/// A page holds five vectors of 384 numbers, and wastes little of itself on any usual length.
const PAGE: u64 = 8192;

/// A log of this many pages is carried over into the file.
const LOG_PAGES: u64 = 2048;

/// How long another process may write before a call gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Raised by one when the form of a value in its row changes.
const FORM: u8 = 1;

const HEAD: usize = 5;

/// Why a generation did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It has its full size, or there is no room on the disk: a new one that is empty can only mean this.
    #[error("there is no room on the disk")]
    Full,
    /// It is not what it should be.
    #[error("it is corrupt: {0}")]
    Broken(String),
    /// The system said no.
    #[error(transparent)]
    Failed(pipeline::BoxError),
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            // Besides the plain ones: a table that is not there is unknown, a file whose head was
            // damaged or that was deleted meanwhile cannot be written, and a column of another type is no error of SQLite.
            Some(
                ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ReadOnly
                | ErrorCode::Unknown,
            )
            | None => Self::Broken(error.to_string()),
            Some(_) => Self::Failed(error.into()),
        }
    }
}

/// An open generation.
pub(super) struct Generation {
    /// A younger generation has a greater one.
    pub(super) number: u64,
    db: Connection,
    /// Most pages that it may have.
    pages: u64,
}

impl Generation {
    /// The number of a generation, from the name of its file.
    pub(super) fn number_of(name: &OsStr) -> Option<u64> {
        name.to_str()?.strip_suffix(".sqlite")?.parse().ok().filter(|number| *number > 0)
    }

    /// Makes the file of a generation, unless it is there.
    pub(super) fn make(folder: &Path, number: u64) -> Result<(), Trouble> {
        // It is made aside and then put into its place, where other processes find it whole.
        let aside = folder.join(format!("{}.new", uuid::Uuid::new_v4()));
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // SQLite gives the mode of this file to its log as well.
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside);
        drop(made?);
        let db = Connection::open_with_flags(&aside, flags)?;
        db.pragma_update(None, "page_size", signed(PAGE))?;
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

    /// Opens a generation, if there is one of this number.
    pub(super) fn open(folder: &Path, number: u64, most: u64) -> Result<Option<Self>, Trouble> {
        let path = path(folder, number);
        if !path.exists() {
            return Ok(None);
        }
        let pages = (most / PAGE).max(8);
        let log_pages = LOG_PAGES.min(pages / 16).max(1);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = match Connection::open_with_flags(&path, flags) {
            // It was deleted just now.
            Err(_) if !path.exists() => return Ok(None),
            opened => opened?,
        };
        db.busy_timeout(PATIENCE)?;
        // What was written is the system's: a kill loses nothing. A crash of the machine may damage the file,
        // which is found out and costs the memo; waiting for the disk would cost every run.
        db.pragma_update(None, "synchronous", "off")?;
        db.pragma_update(None, "max_page_count", signed(pages))?;
        db.pragma_update(None, "wal_autocheckpoint", signed(log_pages))?;
        db.pragma_update(None, "journal_size_limit", signed(log_pages * PAGE))?;
        Ok(Some(Self { number, db, pages }))
    }

    /// Deletes the files of a generation; a process that has them open keeps what it has.
    pub(super) fn delete(folder: &Path, number: u64) -> Result<(), Trouble> {
        let file = path(folder, number);
        // The file by which it is known goes last, so that a kill leaves nothing that nobody finds.
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

    /// Whether it has outgrown its limit, because the limit was a greater one once.
    pub(super) fn is_too_large(&self) -> Result<bool, Trouble> {
        let pages: i64 = self.db.pragma_query_value(None, "page_count", |row| row.get(0))?;
        Ok(pages > signed(self.pages))
    }

    /// The values of these keys, in their order.
    pub(super) fn get(&self, keys: &[MemoKey]) -> Result<Vec<Option<Vec<u8>>>, Trouble> {
        // One transaction, or each of a thousand questions would take its locks and give them back.
        let reading = self.db.unchecked_transaction()?;
        let mut find = reading.prepare("SELECT value FROM memo WHERE key = ?1")?;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let value = find
                .query_row([key.0.as_slice()], |row| Ok(unpack(key, row.get_ref(0)?.as_blob()?)))
                .optional()?;
            values.push(value.flatten());
        }
        Ok(values)
    }

    /// Adds all of these values, or none of them.
    pub(super) fn put(&mut self, entries: &[(MemoKey, Vec<u8>)]) -> Result<(), Trouble> {
        if entries.is_empty() {
            return Ok(());
        }
        let writing = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut insert = writing.prepare(
            "INSERT INTO memo (key, value) VALUES (?1, ?2) \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
        )?;
        for (key, value) in entries {
            insert.execute((key.0.as_slice(), pack(key, value)))?;
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

/// A value as it is stored: form, checksum, value.
fn pack(key: &MemoKey, value: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(HEAD + value.len());
    packed.push(FORM);
    packed.extend_from_slice(&checksum(key, value).to_le_bytes());
    packed.extend_from_slice(value);
    packed
}

/// The value, if it is what was stored under this key.
fn unpack(key: &MemoKey, packed: &[u8]) -> Option<Vec<u8>> {
    let (head, value) = packed.split_at_checked(HEAD)?;
    let sum = checksum(key, value).to_le_bytes();
    (head[0] == FORM && head[1..] == sum).then(|| value.to_vec())
}

/// CRC-32 over key and value.
fn checksum(key: &MemoKey, value: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&key.0);
    hash.update(value);
    hash.finalize()
}

/// SQLite's numbers are signed.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
