//! Operations: changes of a collection, from the request to the end. The command, the worker and
//! the server all use this crate.
//!
//! An [`Operator`] executes an [`OperationRequest`](pipeline::OperationRequest): it delegates the
//! operation, or leases the collection, executes the operation and records its end. Each operation
//! has its own file in `operation/`. The program passes its node types, models and environment as a
//! [`Composition`].

mod cancellation;
mod check;
mod composition;
mod context;
mod delegate;
mod dry_run;
mod export;
mod generations;
mod loaded_pipeline;
mod model_downloads;
mod operation;
mod operation_metrics;
mod operator;
mod pipeline_files;
mod queue;
mod relocation;
mod result;
mod runtime;
pub mod scheduler;
mod search_target;
mod shards;
mod stores;
mod sync;
mod text;
mod verify;
mod vocabulary;
mod webhooks;
mod worker;

pub use self::composition::{Composition, Models, UnreadableFile};
pub use self::context::{NoCollection, collection_facts};
pub use self::dry_run::{ChangeCause, DryRunReport, Tally, dry_run};
pub use self::export::Export;
pub use self::loaded_pipeline::LoadedPipeline;
pub use self::model_downloads::{fetch_on_thread, missing_models};
pub use self::operator::{Interrupted, Operator};
pub use self::pipeline_files::PipelineFiles;
pub use self::queue::enqueue;
pub use self::result::{GenerationRef, GenerationSwap, ModelTime, OperationResult};
pub use self::runtime::Runtime;
pub use self::search_target::{build_target, search_settings};
pub use self::shards::Shards;
pub use self::stores::{
    Database, GenerationVectors, IfMissing, generation_settings, has_model_of, new_collection,
    resolve_model, store_name,
};
pub use self::text::{format_count, left_out_summary, shown};
pub use self::verify::{DocumentFault, VerifyReport};
pub use self::worker::{Worker, WorkerConfig};
