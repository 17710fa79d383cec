//! A revision of a model as the hub describes it, and the check of downloaded content.

use std::io;
use std::path::Path;

use fs_err as fs;
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::is_hex_hash;
use crate::fingerprint::to_hex;

/// The hub's response for a revision.
#[derive(Deserialize)]
pub(super) struct RevisionInfo {
    pub(super) sha: String,
    pub(super) siblings: Vec<RemoteFile>,
}

/// A file of a model in the hub's response. Some hubs omit sizes and hashes.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RemoteFile {
    pub(super) rfilename: String,
    pub(super) size: Option<u64>,
    /// SHA-1 of git's blob object.
    pub(super) blob_id: Option<String>,
    pub(super) lfs: Option<LfsInfo>,
}

/// Content that is stored outside git.
#[derive(Clone, Deserialize)]
pub(super) struct LfsInfo {
    pub(super) sha256: String,
}

impl RemoteFile {
    /// Hash of the content; `None` if the hub sent no valid one.
    pub(super) fn hash(&self) -> Option<&str> {
        let hash = self.lfs.as_ref().map(|large| &*large.sha256).or(self.blob_id.as_deref());
        hash.filter(|hash| is_hex_hash(hash))
    }
}

/// Compares size and checksum with the hub's; `None` if they match or the hub sent none.
pub(super) fn verify_content(
    content: &Path,
    file: &RemoteFile,
) -> io::Result<Option<&'static str>> {
    let length = fs::metadata(content)?.len();
    if file.size.is_some_and(|size| size != length) {
        return Ok(Some("wrong length"));
    }
    let (wanted, found) = match (&file.lfs, &file.blob_id) {
        (Some(LfsInfo { sha256 }), _) => (sha256, file_digest(Sha256::new(), content)?),
        (None, Some(blob_id)) => {
            let head = Sha1::new_with_prefix(format!("blob {length}\0"));
            (blob_id, file_digest(head, content)?)
        }
        (None, None) => return Ok(None),
    };
    Ok((!found.eq_ignore_ascii_case(wanted)).then_some("wrong checksum"))
}

/// Hash of a file in hexadecimal digits.
pub(super) fn file_digest<D: Digest + io::Write>(mut hash: D, path: &Path) -> io::Result<String> {
    io::copy(&mut fs::File::open(path)?, &mut hash)?;
    Ok(to_hex(&hash.finalize()))
}
