//! libtorch in process: a Hugging Face folder becomes a tokenizer and an embedder.
//!
//! [`EmbeddingEngine`] is the entry point. `folder` parses a folder, `tokenizer` and `cuts` turn
//! text into ids, `batcher` groups ids into batches, and the threads of `worker` run them through
//! the model (`model`). `remembering` returns cached vectors instead of embedding a text again. A
//! model is an architecture (`architecture`, one file each) built from the shared `layers` and
//! `attention`, followed by a `head` that the folder's `modules` define. A folder can also belong
//! to a model of the Hugging Face hub (`hub`) that [`fetch`] has downloaded; an engine downloads
//! nothing.
//!
//! This is the only crate that uses `tch`; it depends on no stage and no store. It falls back
//! silently on nothing: an unsupported model or device is an error that lists the supported ones.

mod architecture;
mod attention;
mod batcher;
mod bert;
mod budget;
mod cached_embedder;
mod cross_encoder;
mod dense;
mod device;
mod engine;
mod fingerprint;
mod folder;
mod folder_files;
mod head;
mod hub;
mod layers;
mod linear;
mod matmul_backend;
mod model;
mod model_threads;
mod modernbert;
mod modules;
mod mpnet;
mod nomic;
mod pair_tokenizer;
mod probe;
mod prompts;
mod qwen3;
mod reranker;
mod roberta;
mod short_name;
mod split_points;
mod stand_in;
mod tokenizer;
mod truncate;
mod weights;

pub use engine::EmbeddingEngine;
pub use folder::{is_available_locally, model_folder};
pub use hub::{FetchProgress, fetch, fetch_latest};
pub use stand_in::is_stand_in;
