//! Arguments of `tune`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

#[derive(Debug, Args)]
pub(crate) struct TuneArgs {
    /// Pipeline file that fills the collection
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Read judged queries from this file
    ///
    /// JSON Lines, or TREC qrels with `--topics`.
    #[arg(long, value_name = "FILE")]
    pub judgements: Option<PathBuf>,
    /// Read the queries of the qrels from this file
    ///
    /// One query per line: its name, a tab and its text.
    #[arg(long, value_name = "FILE", requires = "judgements")]
    pub topics: Option<PathBuf>,
    /// Read queries with clicked documents from this file
    ///
    /// JSON Lines: '{"query": "…", "document": "path or URI"}', optionally with `chunk` and `at`.
    #[arg(long, value_name = "FILE")]
    pub clicks: Option<PathBuf>,
    /// Set the number of questions made from the collection
    ///
    /// They come from titles, headings and definitions. Default: 400, or 0 with `--judgements` or
    /// `--clicks`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub generated: Option<u32>,
    /// Set the seed of random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Limit the number of chunks in memory
    ///
    /// Of a larger collection, whole documents with about this number of chunks take part.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50_000,
        value_parser = clap::value_parser!(u32).range(1_000..)
    )]
    pub max_chunks: u32,
    /// Print the result as JSON, with scores per measure
    #[arg(long)]
    pub json: bool,
}
