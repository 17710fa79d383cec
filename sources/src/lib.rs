//! Sources of documents. A new source is a file `src/<name>.rs` and two lines here.

pub mod mime;
pub mod real_path;
mod scan;

use pipeline::NodeDef;

/// All sources, sorted by name.
///
/// ```
/// use pipeline::test_util::no_resources;
/// use pipeline::{BoxError, NodeKind};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let folder = tempfile::tempdir()?;
/// fs_err::write(folder.path().join("guide.md"), "# Guide")?;
/// fs_err::write(folder.path().join("photo.jpg"), "")?;
///
/// let scan = sources::NODES.iter().find(|def| def.name == "scan").unwrap();
/// let options = serde_json::json!({ "paths": ["."], "include": ["**/*.md"] });
/// let NodeKind::Source(config) = (scan.parse)(options, folder.path())? else { unreachable!() };
/// let mut source = config.build(&no_resources())?;
/// let batch = source.next_batch().await?.unwrap();
/// assert_eq!((batch.rows.num_rows(), batch.rejected.len()), (1, 0));
/// assert!(source.next_batch().await?.is_none());
/// assert_eq!(source.totals().excluded["globs"], 1);
/// # Ok(())
/// # }
/// ```
pub static NODES: &[NodeDef] = &[scan::NODE];
