//! Checksums of the files of a shard, by which damage is noticed.
//!
//! When a shard that was written to is closed, `sealed.json` records the length and the CRC-32 of each of its files. From
//! the moment at which it is opened for writing until then, the file `unsealed` says that files are being changed. So
//!
//! - of a shard that was closed, every file must be as it was recorded;
//! - of one that is open, or whose process was killed, the files must be that Edge never changes: those of a segment that
//!   takes no more points, without the bit masks of what was deleted and the versions of points. The others are made up
//!   for by what is checked of each point (`Inventory::inspect`).
//!
//! The record is not needed to read a shard: one that an earlier version wrote has none, and gets it when it is closed
//! the next time.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crc32fast::Hasher;
use rustix::fs::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};

/// The record: the CRC-32 of what follows, in hexadecimal, a line break, and JSON.
const RECORD: &str = "sealed.json";

/// Is there while files are being changed.
const UNSEALED: &str = "unsealed";

/// Files up to this length are read whenever a shard is opened: configurations, and states of segments.
const SMALL: u64 = 64 << 10;

/// Files up to this length have no holes once they are sealed. On tmpfs even reading a hole takes room.
pub(super) const FILLED: u64 = 4 << 20;

/// Files that Edge never changes once their segment is closed. What is not named here counts as changing.
static FIXED: &[&str] = &[
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

/// A file of a shard that is not as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedFile {
    /// Its path below the folder of the shard.
    pub file: String,
    /// What is wrong with it.
    pub fault: FileFault,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFault {
    /// It is not there.
    Missing,
    /// It is shorter or longer.
    Length,
    /// It has other bytes.
    Content,
    /// It cannot be read.
    Unreadable,
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "is missing",
            Self::Length => "has another length than recorded",
            Self::Content => "has other bytes than recorded",
            Self::Unreadable => "cannot be read",
        })
    }
}

impl fmt::Display for DamagedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.file, self.fault)
    }
}

/// How much is read to find damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Lengths, and the bytes of small files.
    Small,
    /// These, and the bytes of the open segment, which are few.
    Reading,
    /// These, and those of the log: what Edge changes would be recorded anew as it is.
    Changing,
    /// The bytes of all files.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sealed {
    bytes: u64,
    crc32: u32,
    /// Whether it never changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    fixed: bool,
}

type Record = BTreeMap<String, Sealed>;

/// Notes that files are about to be changed.
pub(super) fn unseal(folder: &Path) -> io::Result<()> {
    let note = folder.join(UNSEALED);
    if note.exists() {
        return Ok(());
    }
    pipeline::private::create(&note)?.sync_all()?;
    fs_err::File::open(folder)?.sync_all()
}

/// Whether files are being changed, or were by a process that was killed.
pub(super) fn is_unsealed(folder: &Path) -> bool {
    folder.join(UNSEALED).exists()
}

/// Records the files of a shard that was closed.
pub(super) fn seal(folder: &Path) -> io::Result<()> {
    // One that cannot be read is written anew.
    let before = read(folder).unwrap_or_default().unwrap_or_default();
    // Edge makes files as the umask says.
    pipeline::private::everything_below(folder)?;
    let mut record = Record::new();
    let mut buffer = vec![0; BLOCK];
    for (name, bytes) in files(folder)? {
        let fixed = is_fixed(folder, &name);
        let known = before.get(&name).filter(|it| fixed && it.fixed && it.bytes == bytes);
        let sealed = match known {
            Some(known) => *known,
            None => {
                let path = folder.join(&name);
                fill(&path, bytes);
                Sealed { bytes, crc32: checksum(&path, &mut buffer)?, fixed }
            }
        };
        record.insert(name, sealed);
    }
    write(folder, &record)?;
    match fs_err::remove_file(folder.join(UNSEALED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The files that are not as they were recorded.
pub(super) fn damage(folder: &Path, depth: Depth) -> Vec<DamagedFile> {
    let damaged = |file: &str, fault| DamagedFile { file: file.to_owned(), fault };
    let record = match read(folder) {
        Ok(Some(record)) => record,
        Ok(None) => return Vec::new(),
        Err(_) => return vec![damaged(RECORD, FileFault::Content)],
    };
    let is_unsealed = is_unsealed(folder);
    let mut buffer = vec![0; BLOCK];
    let mut found = Vec::new();
    for (name, sealed) in &record {
        // What is being changed need not be as it was; and segments go, whole, when others take their place.
        if is_unsealed && !(sealed.fixed && segment_of(folder, name).is_some_and(|it| it.exists()))
        {
            continue;
        }
        let path = folder.join(name);
        let is_read = match depth {
            Depth::Small => sealed.bytes <= SMALL,
            Depth::Reading => sealed.bytes <= SMALL || !(sealed.fixed || name.starts_with("wal/")),
            Depth::Changing => sealed.bytes <= SMALL || !sealed.fixed,
            Depth::All => true,
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

/// Whether a small file has holes, which reading it may have to fill.
pub(super) fn has_holes(folder: &Path) -> io::Result<bool> {
    let mut files = files(folder)?.into_iter();
    Ok(files.any(|(name, bytes)| {
        let taken = fs_err::metadata(folder.join(name)).map_or(0, |it| it.blocks() * 512);
        bytes <= FILLED && taken < bytes
    }))
}

/// Gives a small file all of its room. It is no fault where the file system cannot.
fn fill(path: &Path, bytes: u64) {
    let has_holes = fs_err::metadata(path).is_ok_and(|it| it.blocks() * 512 < bytes);
    if bytes <= FILLED
        && has_holes
        && let Ok(file) = fs_err::OpenOptions::new().write(true).open(path)
        && let Err(error) = fallocate(file.file(), FallocateFlags::empty(), 0, bytes)
    {
        tracing::debug!(file = %path.display(), %error, "holes of a file were not filled");
    }
}

/// The record of a shard, if it has one.
fn read(folder: &Path) -> io::Result<Option<Record>> {
    let text = match fs_err::read_to_string(folder.join(RECORD)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let (sum, json) = text.split_once('\n').unwrap_or_default();
    if u32::from_str_radix(sum, 16).ok() != Some(crc32fast::hash(json.as_bytes())) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Some(serde_json::from_str(json)?))
}

/// Puts a record in place, whole.
fn write(folder: &Path, record: &Record) -> io::Result<()> {
    let json = serde_json::to_string(record)?;
    let aside = folder.join("sealed.new");
    let mut file = pipeline::private::create(&aside)?;
    write!(file, "{:08x}\n{json}", crc32fast::hash(json.as_bytes()))?;
    file.sync_all()?;
    fs_err::rename(&aside, folder.join(RECORD))?;
    fs_err::File::open(folder)?.sync_all()
}

/// The files of the store with their lengths: configuration, log and segments. Others are ours, or being made.
fn files(folder: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for name in ["edge_config.json", "payload_index.json"] {
        if let Ok(it) = fs_err::metadata(folder.join(name)) {
            found.push((name.to_owned(), it.len()));
        }
    }
    for name in ["wal", "segments"] {
        if folder.join(name).is_dir() {
            below(folder, name, &mut found)?;
        }
    }
    Ok(found)
}

fn below(folder: &Path, name: &str, found: &mut Vec<(String, u64)>) -> io::Result<()> {
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
            below(folder, &name, found)?;
        } else {
            found.push((name, it.len()));
        }
    }
    Ok(())
}

/// The segment that a file belongs to.
fn segment_of(folder: &Path, name: &str) -> Option<std::path::PathBuf> {
    let (segment, _) = name.strip_prefix("segments/")?.split_once('/')?;
    Some(folder.join("segments").join(segment))
}

/// Whether Edge never changes a file: one of a segment that takes no more points, which has other files to find its
/// points by than one that does.
fn is_fixed(folder: &Path, name: &str) -> bool {
    let is_closed =
        segment_of(folder, name).is_some_and(|it| it.join("id_tracker.mappings").exists());
    let Some(file) = name.rsplit('/').next() else { return false };
    is_closed && (FIXED.contains(&file) || (file.starts_with("page_") && file.ends_with(".dat")))
}

/// Bytes that are read at once.
const BLOCK: usize = 1 << 20;

/// CRC-32 of a file. Holes are not read, and count as the zeros that they are.
fn checksum(path: &Path, buffer: &mut [u8]) -> io::Result<u32> {
    let mut file = fs_err::File::open(path)?;
    let end = file.metadata()?.len();
    let mut hash = Hasher::new();
    let mut zeros = Hasher::new();
    zeros.update(&vec![0; BLOCK]);
    let mut at = 0;
    while at < end {
        let data = next_data(&file, at).unwrap_or(end);
        while at + BLOCK as u64 <= data {
            hash.combine(&zeros);
            at += BLOCK as u64;
        }
        if at >= end {
            break;
        }
        let length = (end - at).min(BLOCK as u64);
        let piece = &mut buffer[..usize::try_from(length).expect("at most a block")];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(piece)?;
        hash.update(piece);
        at += length;
    }
    Ok(hash.finalize())
}

/// Where the next bytes are that are no hole; `None` where there are no more, or the file system does not say.
pub(super) fn next_data(file: &fs_err::File, from: u64) -> Option<u64> {
    match rustix::fs::seek(file.file(), rustix::fs::SeekFrom::Data(from)) {
        Ok(at) => Some(at),
        Err(rustix::io::Errno::NXIO) => None,
        // All of it is data then.
        Err(_) => Some(from),
    }
}
