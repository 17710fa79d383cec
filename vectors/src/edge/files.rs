//! The files of a shard: their list, holes and checksums.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crc32fast::Hasher;
use rustix::fs::{FallocateFlags, fallocate};

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

/// Returns true if a small file has holes, which reading may fill.
pub(super) fn has_holes(folder: &Path) -> io::Result<bool> {
    let mut files = store_files(folder)?.into_iter();
    Ok(files.any(|(name, bytes)| {
        let taken = fs_err::metadata(folder.join(name)).map_or(0, |it| it.blocks() * 512);
        bytes <= MAX_FILLED_BYTES && taken < bytes
    }))
}

/// Allocates the holes of a small file. A file system that cannot do this is not an error.
pub(super) fn fill_holes(path: &Path, bytes: u64) {
    let has_holes = fs_err::metadata(path).is_ok_and(|it| it.blocks() * 512 < bytes);
    if bytes <= MAX_FILLED_BYTES
        && has_holes
        && let Ok(file) = fs_err::OpenOptions::new().write(true).open(path)
        && let Err(error) = fallocate(file.file(), FallocateFlags::empty(), 0, bytes)
    {
        tracing::debug!(file = %path.display(), %error, "cannot fill the holes of a file");
    }
}

/// Files of Edge with their lengths: configuration, log and segments. Skips the record
/// and temporary files.
pub(super) fn store_files(folder: &Path) -> io::Result<Vec<(String, u64)>> {
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
pub(super) fn segment_of(folder: &Path, name: &str) -> Option<std::path::PathBuf> {
    let (segment, _) = name.strip_prefix("segments/")?.split_once('/')?;
    Some(folder.join("segments").join(segment))
}

/// Returns true if Edge never changes a file: one of a closed segment, which is recognised by its
/// id tracker.
pub(super) fn is_immutable(folder: &Path, name: &str) -> bool {
    let is_closed =
        segment_of(folder, name).is_some_and(|it| it.join("id_tracker.mappings").exists());
    let Some(file) = name.rsplit('/').next() else { return false };
    is_closed
        && (IMMUTABLE_FILES.contains(&file)
            || (file.starts_with("page_") && file.ends_with(".dat")))
}

/// Bytes read at a time.
pub(super) const BLOCK_BYTES: usize = 1 << 20;

/// CRC-32 of a file. Holes are not read; they count as zeros.
pub(super) fn checksum(path: &Path, buffer: &mut [u8]) -> io::Result<u32> {
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
