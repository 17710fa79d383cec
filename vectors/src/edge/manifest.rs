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
use std::fmt;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crc32fast::Hasher;
use rustix::fs::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};

/// The record: the CRC-32 of the JSON in hexadecimal, a line break, and the JSON.
const MANIFEST_FILE: &str = "sealed.json";

/// Marker file that exists while files are being changed.
const UNSEALED_MARKER: &str = "unsealed";

/// Files up to this length are read whenever a shard is opened: configurations and segment states.
const SMALL_FILE_BYTES: u64 = 64 << 10;

/// Files up to this length have no holes once they are sealed. On tmpfs even reading a hole
/// allocates space.
pub(super) const MAX_FILLED_BYTES: u64 = 4 << 20;

/// Files that Edge never changes once their segment is closed. All others count as changing.
static IMMUTABLE_FILES: &[&str] = &[
    "matrix.dat",
    "id_tracker.mappings",
    "graph.bin",
    "links.bin",
    "links_compressed.bin",
    "links_comp_vec.bin",
    "hnsw_config.json",
    "inverted_index.dat",
    "inverted_index_config.json",
    "quantized.data",
    "quantized.meta.json",
    "quantized.config.json",
    "point_to_values.bin",
    "values_to_points.bin",
    "data.bin",
    "postings.dat",
    "vocab.dat",
    "point_to_tokens_count.dat",
    "version.info",
];

/// A file of a shard that differs from its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedFile {
    /// Path relative to the folder of the shard.
    pub file: String,
    /// Kind of the difference.
    pub fault: FileFault,
}

/// Difference of a file from its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFault {
    /// The file does not exist.
    Missing,
    /// The file is shorter or longer than recorded.
    Length,
    /// The file has the recorded length but another CRC-32.
    Content,
    /// The file cannot be read.
    Unreadable,
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "is missing",
            Self::Length => "differs from its recorded length",
            Self::Content => "differs from its recorded checksum",
            Self::Unreadable => "cannot be read",
        })
    }
}

impl fmt::Display for DamagedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.file, self.fault)
    }
}

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

/// Returns true if a small file has holes, which reading may fill.
pub(super) fn has_holes(folder: &Path) -> io::Result<bool> {
    let mut files = store_files(folder)?.into_iter();
    Ok(files.any(|(name, bytes)| {
        let taken = fs_err::metadata(folder.join(name)).map_or(0, |it| it.blocks() * 512);
        bytes <= MAX_FILLED_BYTES && taken < bytes
    }))
}

/// Allocates the holes of a small file. A file system that cannot do this is not an error.
fn fill_holes(path: &Path, bytes: u64) {
    let has_holes = fs_err::metadata(path).is_ok_and(|it| it.blocks() * 512 < bytes);
    if bytes <= MAX_FILLED_BYTES
        && has_holes
        && let Ok(file) = fs_err::OpenOptions::new().write(true).open(path)
        && let Err(error) = fallocate(file.file(), FallocateFlags::empty(), 0, bytes)
    {
        tracing::debug!(file = %path.display(), %error, "cannot fill the holes of a file");
    }
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

/// Files of Edge with their lengths: configuration, log and segments. Skips the files of this
/// module and temporary ones.
fn store_files(folder: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for name in ["edge_config.json", "payload_index.json"] {
        if let Ok(it) = fs_err::metadata(folder.join(name)) {
            found.push((name.to_owned(), it.len()));
        }
    }
    for name in ["wal", "segments"] {
        if folder.join(name).is_dir() {
            collect_files(folder, name, &mut found)?;
        }
    }
    Ok(found)
}

fn collect_files(folder: &Path, name: &str, found: &mut Vec<(String, u64)>) -> io::Result<()> {
    for entry in fs_err::read_dir(folder.join(name))? {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str() else { continue };
        let it = entry.metadata()?;
        // Edge renames a segment before it deletes it.
        let is_going = it.is_dir() && file_name.ends_with(".deleted");
        if is_going || file_name.starts_with("tmp-") || file_name.ends_with(".tmp") {
            continue;
        }
        let name = format!("{name}/{file_name}");
        if it.is_dir() {
            collect_files(folder, &name, found)?;
        } else {
            found.push((name, it.len()));
        }
    }
    Ok(())
}

/// The folder of the segment that contains the file.
fn segment_of(folder: &Path, name: &str) -> Option<std::path::PathBuf> {
    let (segment, _) = name.strip_prefix("segments/")?.split_once('/')?;
    Some(folder.join("segments").join(segment))
}

/// Returns true if Edge never changes a file: one of a closed segment, which is recognised by its
/// id tracker.
fn is_immutable(folder: &Path, name: &str) -> bool {
    let is_closed =
        segment_of(folder, name).is_some_and(|it| it.join("id_tracker.mappings").exists());
    let Some(file) = name.rsplit('/').next() else { return false };
    is_closed
        && (IMMUTABLE_FILES.contains(&file)
            || (file.starts_with("page_") && file.ends_with(".dat")))
}

/// Bytes read at a time.
const BLOCK_BYTES: usize = 1 << 20;

/// CRC-32 of a file. Holes are not read; they count as zeros.
fn checksum(path: &Path, buffer: &mut [u8]) -> io::Result<u32> {
    let mut file = fs_err::File::open(path)?;
    let end = file.metadata()?.len();
    let mut hash = Hasher::new();
    let mut zeros = Hasher::new();
    zeros.update(&vec![0; BLOCK_BYTES]);
    let mut at = 0;
    while at < end {
        let data = next_data(&file, at).unwrap_or(end);
        while at + BLOCK_BYTES as u64 <= data {
            hash.combine(&zeros);
            at += BLOCK_BYTES as u64;
        }
        if at >= end {
            break;
        }
        let length = (end - at).min(BLOCK_BYTES as u64);
        let piece = &mut buffer[..usize::try_from(length).expect("at most a block")];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(piece)?;
        hash.update(piece);
        at += length;
    }
    Ok(hash.finalize())
}

/// Offset of the next data at or after `from`, skipping holes; `None` if only a hole follows.
/// `from` if the file system does not report holes.
pub(super) fn next_data(file: &fs_err::File, from: u64) -> Option<u64> {
    match rustix::fs::seek(file.file(), rustix::fs::SeekFrom::Data(from)) {
        Ok(at) => Some(at),
        Err(rustix::io::Errno::NXIO) => None,
        // The file system does not report holes, so everything counts as data.
        Err(_) => Some(from),
    }
}
