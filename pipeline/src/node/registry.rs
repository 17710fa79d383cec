//! The registry of node types: each has a name, a schema of its options and a parser.

use std::path::{Path, PathBuf};

use schemars::SchemaGenerator;
use serde_json::Value;

use crate::node::sink::SinkConfig;
use crate::node::source::SourceConfig;
use crate::node::stage::StageConfig;

/// A node with its parsed options.
pub enum NodeKind {
    /// Produces batches of documents.
    Source(Box<dyn SourceConfig>),
    /// Maps one batch to one batch.
    Stage(Box<dyn StageConfig>),
    /// Writes batches and has no output.
    Sink(Box<dyn SinkConfig>),
}

/// Limit on the workers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parallelism {
    /// Any number of workers: the node keeps no state between batches.
    Any,
    /// One worker: the node keeps state between batches or uses an exclusive resource.
    Single,
}

/// A node type in the registry.
///
/// ```
/// use pipeline::{NodeDef, NodeKind, Parallelism, Registry, options_schema};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
/// # use std::sync::Arc;
/// # use arrow::datatypes::{Schema, SchemaRef};
/// # use pipeline::{BoxError, Resources, SchemaError, Stage, StageConfig};
///
/// /// Options of `limit`.
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct LimitOptions {
///     /// Maximum number of documents.
///     #[schemars(range(min = 1))]
///     documents: u64,
/// }
/// # impl StageConfig for LimitOptions {
/// #     fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
/// #         Ok(Arc::new(input.clone()))
/// #     }
/// #     fn build(&self, _: &Resources) -> Result<Box<dyn Stage>, BoxError> {
/// #         Err("not built in this example".into())
/// #     }
/// #     fn identity(&self) -> serde_json::Value {
/// #         serde_json::to_value(self).unwrap()
/// #     }
/// # }
///
/// static NODES: &[NodeDef] = &[NodeDef {
///     name: "limit",
///     summary: "Passes the first documents on",
///     version: 1,
///     parallelism: Parallelism::Single,
///     schema: options_schema::<LimitOptions>,
///     parse: |with, _| {
///         let options: LimitOptions = serde_json::from_value(with)?;
///         Ok(NodeKind::Stage(Box::new(options)))
///     },
/// }];
///
/// let registry = Registry::new(&[NODES]);
/// let limit = registry.get("limit").unwrap();
/// let options = serde_json::json!({ "documents": 10 });
/// assert!(matches!((limit.parse)(options, "/etc/semantik".as_ref())?, NodeKind::Stage(_)));
/// assert!((limit.parse)(serde_json::json!({ "document": 10 }), "/".as_ref()).is_err());
/// # Ok::<_, serde_json::Error>(())
/// ```
pub struct NodeDef {
    /// Name of the type in `uses:`.
    pub name: &'static str,
    /// Description in one sentence, without a full stop.
    pub summary: &'static str,
    /// Incremented when the same options and input give another output than before.
    pub version: u32,
    /// Limit on the workers of the node.
    pub parallelism: Parallelism,
    /// JSON Schema of the options ([`options_schema`] of the options struct).
    pub schema: fn(&mut SchemaGenerator) -> schemars::Schema,
    /// Parses the options, which are valid against the schema; relative paths in them are relative
    /// to the folder.
    pub parse: fn(Value, &Path) -> Result<NodeKind, serde_json::Error>,
}

/// JSON Schema of an options struct, for [`NodeDef::schema`].
pub fn options_schema<T: schemars::JsonSchema>(
    generator: &mut SchemaGenerator,
) -> schemars::Schema {
    generator.subschema_for::<T>()
}

/// All node types that a pipeline file may use.
///
/// ```
/// use pipeline::{NodeDef, NodeKind, Parallelism, Registry};
/// # use serde::de::Error as _;
/// # const fn def(name: &'static str) -> NodeDef {
/// #     NodeDef {
/// #         name,
/// #         summary: "does nothing",
/// #         version: 1,
/// #         parallelism: Parallelism::Any,
/// #         schema: pipeline::options_schema::<()>,
/// #         parse: |_, _| Err(serde_json::Error::custom("not parsed in this example")),
/// #     }
/// # }
/// static SOURCES: &[NodeDef] = &[def("scan")];
/// static STAGES: &[NodeDef] = &[def("hash"), def("chunk")];
///
/// let registry = Registry::new(&[SOURCES, STAGES]);
/// let names: Vec<&str> = registry.iter().map(|def| def.name).collect();
/// assert_eq!(names, ["chunk", "hash", "scan"]);
/// assert!(registry.get("embed").is_none());
/// ```
pub struct Registry(Vec<&'static NodeDef>);

impl Registry {
    /// Merges the tables of several crates, sorted by name. A program outside this workspace adds
    /// its own: `Registry::new(&[sources::NODES, stages::NODES, sinks::NODES, NODES])`.
    pub fn new(tables: &[&'static [NodeDef]]) -> Self {
        let mut defs: Vec<_> = tables.iter().copied().flatten().collect();
        defs.sort_by_key(|def| def.name);
        Self(defs)
    }

    /// The node type of this name; `None` if it is unknown.
    pub fn get(&self, name: &str) -> Option<&'static NodeDef> {
        self.0.iter().copied().find(|def| def.name == name)
    }

    /// All node types, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &'static NodeDef> + '_ {
        self.0.iter().copied()
    }
}

/// Resolves a path option: a relative path is relative to the folder of the pipeline file.
///
/// ```
/// use std::path::Path;
///
/// use pipeline::resolve_path;
///
/// let base = Path::new("/etc/semantik");
/// assert_eq!(resolve_path(base, Path::new("./out")), Path::new("/etc/semantik/out"));
/// assert_eq!(resolve_path(base, Path::new("/srv/out")), Path::new("/srv/out"));
/// ```
pub fn resolve_path(base: &Path, path: &Path) -> PathBuf {
    let joined = base.join(path);
    // Removes `.` components and keeps `..`.
    joined.components().collect()
}
