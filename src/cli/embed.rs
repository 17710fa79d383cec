//! Arguments of `semantik embed`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct EmbedArgs {
    /// Use this model: a folder, or `hf:ORG/NAME`
    ///
    /// A folder in the Hugging Face layout, or a model of the hub as hf:ORG/NAME or
    /// hf:ORG/NAME@REVISION, which is downloaded if it is not in the cache.
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// Read texts from this file
    ///
    /// Parquet with a column `text`, JSON Lines with a field `text`, or one text per line, by the
    /// file extension. Default: lines of standard input.
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Write vectors to this file
    ///
    /// In the order of the texts, as Parquet or JSON Lines, by the file extension. Default: JSON
    /// Lines on standard output.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Select the prompt of the model
    #[arg(long, value_enum, default_value_t = TextKindArg::Document)]
    pub kind: TextKindArg,
    /// Select the device
    ///
    /// One of auto, cpu, mps, cuda (all GPUs), cuda:N or cuda:N,M.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Select the precision
    ///
    /// One of auto, float32, bfloat16, float16 or int8.
    #[arg(long, default_value = "auto")]
    pub dtype: String,
    /// Limit the tokens of one forward pass
    ///
    /// Padding is included. Default: measured on a GPU, fixed on a CPU.
    #[arg(long, value_name = "N")]
    pub tokens_per_batch: Option<NonZeroUsize>,
    /// Truncate vectors to this dimension
    ///
    /// The truncated vectors are normalised.
    #[arg(long)]
    pub dim: Option<usize>,
    /// Normalise vectors even if the model does not require it
    #[arg(long)]
    pub normalize: bool,
}

/// Role of a text, which selects the prompt of the model.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TextKindArg {
    /// A passage that searches find
    Document,
    /// A search query
    Query,
}
