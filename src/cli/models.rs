//! Arguments of `semantik models`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsVerb {
    /// Download models of the Hugging Face hub
    ///
    /// A later run then needs no network, for example in an image or on an offline machine. A model
    /// that was fetched before is updated to the current state of its branch.
    #[command(
        after_long_help = "Examples:\n  semantik models fetch hf:sentence-transformers/all-MiniLM-L6-v2"
    )]
    Fetch {
        /// Models, as `hf:ORG/NAME` or `hf:ORG/NAME@REVISION`
        #[arg(required = true, value_name = "MODEL")]
        models: Vec<PathBuf>,
        /// Print the models as a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show the properties of a model
    ///
    /// Shows its folder, the dimension of its vectors and its maximum input length.
    #[command(after_long_help = "Examples:\n  semantik models show ./models/all-MiniLM-L6-v2")]
    Show {
        /// Folder of the model, or `hf:ORG/NAME`
        model: PathBuf,
        /// Print the properties as a JSON object
        #[arg(long)]
        json: bool,
    },
}
