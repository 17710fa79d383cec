//! Checksums of the files of a shard, for the detection of damage.
//!
//! When a shard that was written to is closed, `sealed.json` records the length and CRC-32 of each
//! of its files. The file `unsealed` exists from the opening for writing until then and marks that
//! files are being changed. Therefore:
//!
//! - In a closed shard, every file must match its record.
//! - In an open shard, or one whose process was killed, the files that Edge never changes must
//!   match: those of a segment that accepts no more points, except the bit masks of deleted points
//!   and the versions of points. The checks of each point (`Inventory::inspect`) cover the others.
//!
//! The record is not needed to read a shard. A shard of an earlier version has none and gets one
//! when it is closed next.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::edge::damaged_file::{DamagedFile, FileFault};
use crate::edge::files::{
    BLOCK_BYTES, checksum, fill_holes, is_immutable, segment_of, store_files,
};

/// The record: the CRC-32 of the JSON in hexadecimal, a line break, and the JSON.
const MANIFEST_FILE: &str = "sealed.json";

/// Marker file that exists while files are being changed.
const UNSEALED_MARKER: &str = "unsealed";

/// Files up to this length are read whenever a shard is opened: configurations and segment states.
const SMALL_FILE_BYTES: u64 = 64 << 10;

/// Which files are read to find damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckDepth {
    /// The lengths of all files, and the content of small ones.
    SmallFiles,
    /// In addition the content of the open segment, which is small.
    BeforeReading,
    /// In addition the content of the log: the next record would hide damage in files that Edge
    /// changes.
    BeforeWriting,
    /// The content of all files.
    AllFiles,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ManifestEntry {
    bytes: u64,
    crc32: u32,
    /// `true` if Edge never changes the file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    fixed: bool,
}

type Manifest = BTreeMap<String, ManifestEntry>;

/// Creates the marker [`UNSEALED_MARKER`] before files are changed.
pub(super) fn unseal(folder: &Path) -> io::Result<()> {
    let note = folder.join(UNSEALED_MARKER);
    if note.exists() {
        return Ok(());
    }
    pipeline::private_files::create_private_file(&note)?.sync_all()?;
    fs_err::File::open(folder)?.sync_all()
}

/// Returns true while files are being changed, and after a process that changed them was killed.
pub(super) fn is_unsealed(folder: &Path) -> bool {
    folder.join(UNSEALED_MARKER).exists()
}

/// Records the files of a shard that was closed.
pub(super) fn seal(folder: &Path) -> io::Result<()> {
    // An unreadable record is replaced.
    let before = read_manifest(folder).unwrap_or_default().unwrap_or_default();
    // Edge creates files with the mode of the umask.
    pipeline::private_files::restrict_contents(folder)?;
    let mut record = Manifest::new();
    let mut buffer = vec![0; BLOCK_BYTES];
    for (name, bytes) in store_files(folder)? {
        let fixed = is_immutable(folder, &name);
        let known = before.get(&name).filter(|it| fixed && it.fixed && it.bytes == bytes);
        let sealed = match known {
            Some(known) => *known,
            None => {
                let path = folder.join(&name);
                fill_holes(&path, bytes);
                ManifestEntry { bytes, crc32: checksum(&path, &mut buffer)?, fixed }
            }
        };
        record.insert(name, sealed);
    }
    write_manifest(folder, &record)?;
    match fs_err::remove_file(folder.join(UNSEALED_MARKER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Files that differ from their record; files that may be changing are skipped.
pub(super) fn damaged_files(folder: &Path, depth: CheckDepth) -> Vec<DamagedFile> {
    let damaged = |file: &str, fault| DamagedFile { file: file.to_owned(), fault };
    let record = match read_manifest(folder) {
        Ok(Some(record)) => record,
        Ok(None) => return Vec::new(),
        Err(_) => return vec![damaged(MANIFEST_FILE, FileFault::Content)],
    };
    let is_unsealed = is_unsealed(folder);
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut found = Vec::new();
    for (name, sealed) in &record {
        // Files that are being changed may differ, and a merged segment is deleted as a whole.
        if is_unsealed && !(sealed.fixed && segment_of(folder, name).is_some_and(|it| it.exists()))
        {
            continue;
        }
        let path = folder.join(name);
        let is_read = match depth {
            CheckDepth::SmallFiles => sealed.bytes <= SMALL_FILE_BYTES,
            CheckDepth::BeforeReading => {
                sealed.bytes <= SMALL_FILE_BYTES || !(sealed.fixed || name.starts_with("wal/"))
            }
            CheckDepth::BeforeWriting => sealed.bytes <= SMALL_FILE_BYTES || !sealed.fixed,
            CheckDepth::AllFiles => true,
        };
        let fault = match fs_err::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(FileFault::Missing),
            Err(_) => Some(FileFault::Unreadable),
            Ok(it) if it.len() != sealed.bytes => Some(FileFault::Length),
            Ok(_) if !is_read => None,
            Ok(_) => match checksum(&path, &mut buffer) {
                Ok(crc32) => (crc32 != sealed.crc32).then_some(FileFault::Content),
                Err(_) => Some(FileFault::Unreadable),
            },
        };
        found.extend(fault.map(|fault| damaged(name, fault)));
    }
    found
}

/// The record of a shard; `None` for a shard of an earlier version.
fn read_manifest(folder: &Path) -> io::Result<Option<Manifest>> {
    let text = match fs_err::read_to_string(folder.join(MANIFEST_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let (sum, json) = text.split_once('\n').unwrap_or_default();
    if u32::from_str_radix(sum, 16).ok() != Some(crc32fast::hash(json.as_bytes())) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Some(serde_json::from_str(json)?))
}

/// Replaces the record atomically.
fn write_manifest(folder: &Path, record: &Manifest) -> io::Result<()> {
    let json = serde_json::to_string(record)?;
    let aside = folder.join("sealed.new");
    let mut file = pipeline::private_files::create_private_file(&aside)?;
    write!(file, "{:08x}\n{json}", crc32fast::hash(json.as_bytes()))?;
    file.sync_all()?;
    fs_err::rename(&aside, folder.join(MANIFEST_FILE))?;
    fs_err::File::open(folder)?.sync_all()
}
