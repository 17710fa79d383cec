//! What can be typed behind `semantik embed`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct EmbedArgs {
    /// Folder of the model, in the Hugging Face layout; or a model of the hub as hf:ORG/NAME or hf:ORG/NAME@REVISION,
    /// fetched if it is not here.
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// The texts: Parquet with a column `text`, JSON Lines with a field `text`, or else one text a line; by the
    /// ending of the name. Without a file, lines of standard input.
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Where the vectors go, in the order of the texts: Parquet or JSON Lines, by the ending of the name. Without a
    /// file, JSON Lines to standard output.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What the texts are to the model.
    #[arg(long, value_enum, default_value_t = Kind::Document)]
    pub kind: Kind,
    /// Where the model runs: auto, cpu, mps, cuda (all), cuda:N or cuda:N,M.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Precision of the computation: auto, float32, bfloat16, float16 or int8.
    #[arg(long, default_value = "auto")]
    pub dtype: String,
    /// The most tokens in one forward pass; found out or well chosen unless it is given.
    #[arg(long, value_name = "N")]
    pub tokens_per_batch: Option<NonZeroUsize>,
    /// Length of the vectors, shorter than the model's: their beginning, scaled to length one.
    #[arg(long)]
    pub dim: Option<usize>,
    /// Scales vectors to length one where the model's folder does not ask for it.
    #[arg(long)]
    pub normalize: bool,
}

/// What a text is to a model.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// A passage that is to be found.
    Document,
    /// A question that looks for passages.
    Query,
}
