//! The three kinds of node, what they receive, and the registry of node types.

mod batch_policy;
mod registry;
mod resources;
mod sink;
mod source;
mod stage;

pub use self::batch_policy::BatchPolicy;
pub use self::registry::{NodeDef, NodeKind, Parallelism, Registry, options_schema, resolve_path};
pub use self::resources::Resources;
pub use self::sink::{Sink, SinkConfig};
pub use self::source::{
    Source, SourceConfig, SourceDecision, SourceTotals, SourceWarning, SplitSource,
};
pub use self::stage::{IncompatibleOption, ModelUse, Stage, StageConfig};
