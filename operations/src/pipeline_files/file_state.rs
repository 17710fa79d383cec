//! The state of one pipeline file: its last valid version, its error and its missing models.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline::BoxError;

use crate::composition::Composition;
use crate::loaded_pipeline::LoadedPipeline;
use crate::model_downloads;

/// The state of one file.
#[derive(Default)]
pub(super) struct FileState {
    /// Size, times and inode; an unchanged stamp means an unchanged file.
    pub(super) stamp: Option<[i64; 6]>,
    /// The content that was read last; `None` if the file could not be read.
    pub(super) text: Option<Vec<u8>>,
    pub(super) loaded: Option<Arc<LoadedPipeline>>,
    pub(super) fault: Option<String>,
    /// Hub models that the file needs and that are not downloaded yet.
    pub(super) missing: Vec<PathBuf>,
    /// `true` if the file does not exist; a file that was named on the command line stays in use.
    pub(super) is_removed: bool,
}

impl FileState {
    pub(super) fn load(&mut self, path: &Path, composition: &Composition) {
        match LoadedPipeline::read(path, composition) {
            Ok(loaded) => {
                if self.loaded.is_some() {
                    tracing::info!(file = %path.display(), "reloaded a changed pipeline file");
                }
                self.loaded = Some(Arc::new(loaded));
                self.missing.clear();
                self.set_fault(None);
            }
            Err(error) => {
                self.missing = composition
                    .read_spec(path)
                    .map(|spec| model_downloads::missing_models(composition, &spec))
                    .unwrap_or_default();
                self.set_fault(Some(error_text(&error)));
            }
        }
    }

    /// Records the error of the file, and logs a new one.
    pub(super) fn set_fault(&mut self, fault: Option<String>) {
        if let Some(fault) = &fault
            && self.fault.as_ref() != Some(fault)
        {
            let goes_on =
                if self.loaded.is_some() { "; its last valid version stays in use" } else { "" };
            tracing::error!(fault, "invalid pipeline file{goes_on}");
        }
        self.fault = fault;
    }
}

pub(super) fn error_text(error: &BoxError) -> String {
    pipeline::error_chain(error.as_ref())
}

pub(super) fn file_stamp(path: &Path) -> Option<[i64; 6]> {
    let it = fs_err::metadata(path).ok()?;
    let (size, inode) = (it.size().cast_signed(), it.ino().cast_signed());
    Some([size, it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec(), inode])
}
