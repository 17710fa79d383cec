//! A difference between a file and its record.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A file of a shard that differs from its record.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct DamagedFile {
    /// Path relative to the folder of the shard.
    pub file: String,
    /// Kind of the difference.
    pub fault: FileFault,
}

/// Difference of a file from its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
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
