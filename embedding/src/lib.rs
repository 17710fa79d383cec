//! libtorch in process: a Hugging Face folder becomes a tokenizer and an embedder.
//!
//! [`Engine`] is the way in. Behind it, a folder is understood (`folder`), text becomes ids (`tokenizer`,
//! `cuts`), ids become batches (`batcher`), and threads (`worker`) put them through the model (`model`); what was
//! embedded before is not embedded again (`remembering`). A model is an architecture (`architecture`, one file
//! for each) made of shared `layers` and `attention`, with a `head` behind it as the folder's `modules` say. A folder may be
//! that of a model of the Hugging Face hub (`hub`), which [`fetch`] has put there; an engine fetches nothing. This is
//! the only crate that names `tch`; it knows no stage and no store, and decides nothing
//! silently: a model or device that it cannot serve is an error that says what there is.

mod architecture;
mod attention;
mod batcher;
mod bert;
mod budget;
mod cuts;
mod dense;
mod device;
mod engine;
mod fingerprint;
mod folder;
mod head;
mod hub;
mod layers;
mod model;
mod modernbert;
mod modules;
mod mpnet;
mod nomic;
mod probe;
mod prompts;
mod qwen3;
mod remembering;
mod roberta;
mod short_name;
mod shortened;
mod stand_in;
mod tokenizer;
mod weights;
mod worker;

pub use engine::Engine;
pub use folder::{folder_of, is_here};
pub use hub::{Progress, fetch, fetch_again};
pub use stand_in::is_stand_in;
