//! What can be typed behind `semantik models`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsVerb {
    /// Fetches models of the Hugging Face hub, so that no run has to: in the making of an image, for a machine without
    /// a network. One that was fetched before becomes what its branch is now.
    Fetch {
        /// The models, as `hf:ORG/NAME` or `hf:ORG/NAME@REVISION`.
        #[arg(required = true, value_name = "MODEL")]
        models: Vec<PathBuf>,
        /// Prints what each is as one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Shows what a model is: where its files are, the length of its vectors, how much it reads.
    Show {
        /// Its folder, or `hf:ORG/NAME`.
        model: PathBuf,
        /// Prints it as one JSON object.
        #[arg(long)]
        json: bool,
    },
}
