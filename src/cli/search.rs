//! Arguments of `search` and `eval`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use search::Fusion;

use crate::remote::RemoteServer;

/// The server that executes a verb.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Use the server at this URL
    ///
    /// FILE is then a pipeline file, of which only the name of its collection is read, or the name
    /// or id of a collection. Without this option, a server on this machine that has the embedded
    /// vectors of FILE open is found by itself.
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub server: Option<String>,
    /// Authenticate with this access token or API key
    #[arg(long, env = "SEMANTIK_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
}

impl ServerArgs {
    /// The server of the option; `None` without it.
    pub(crate) fn server(&self) -> Option<RemoteServer> {
        self.server.as_ref().map(|url| RemoteServer::at_url(url, self.token.clone()))
    }
}

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Pipeline file that fills the collection
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Text of the query
    #[arg(required = true, value_name = "QUERY", value_hint = ValueHint::Other)]
    pub words: Vec<String>,
    /// Search the collection of this file as well (repeatable)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub also: Vec<PathBuf>,
    /// Limit the number of hits
    ///
    /// With `--per-document`, the number of documents.
    #[arg(long, short, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub k: u16,
    /// Select the search mode
    ///
    /// Default: hybrid if the collection has sparse vectors, otherwise dense.
    #[arg(long, value_enum)]
    pub mode: Option<ModeArg>,
    /// Select how a hybrid search combines its two rankings
    ///
    /// 'convex:0.7': a weighted sum of the scores, with this weight of the dense one. 'rrf':
    /// reciprocal rank fusion. Default: the setting of the pipeline file.
    #[arg(long, value_name = "METHOD", value_parser = fusion)]
    pub fusion: Option<Fusion>,
    /// Set the constant of reciprocal rank fusion
    ///
    /// Selects `--fusion rrf`. The larger the constant, the less the first ranks stand out.
    /// Default: 60.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub fusion_k: Option<u32>,
    /// Weight the two rankings in reciprocal rank fusion
    ///
    /// Selects `--fusion rrf`, for example '2:1'. Default: equal weights.
    #[arg(long, value_name = "DENSE:SPARSE", value_parser = weights)]
    pub weights: Option<(f32, f32)>,
    /// Rerank the best hits with a cross-encoder
    ///
    /// Its folder, or 'hf:ORG/NAME'. Without a value, the model of the pipeline file.
    #[arg(
        long, value_name = "MODEL", num_args = 0..=1, require_equals = true,
        value_hint = ValueHint::DirPath, conflicts_with = "no_rerank"
    )]
    pub rerank: Option<Option<String>>,
    /// Skip the reranking that the pipeline file sets
    #[arg(long)]
    pub no_rerank: bool,
    /// Skip the exact terms of the query
    ///
    /// By default a hybrid search ranks passages with its names, numbers and quoted phrases first.
    #[arg(long)]
    pub no_exact_terms: bool,
    /// Search words as typed, without prefixes and spelling corrections
    #[arg(long)]
    pub no_typos: bool,
    /// Return only hits that match this filter
    ///
    /// For example '{"path": {"glob": "docs/**"}, "modified_at": {"gte": "2024-01-01"}}'.
    #[arg(long, value_name = "JSON")]
    pub filter: Option<String>,
    /// Set the minimum cosine similarity of a hit
    ///
    /// The similarity is that to the query. Applies in all modes.
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    pub threshold: Option<f32>,
    /// Skip this many of the best hits
    #[arg(long, default_value_t = 0)]
    pub offset: usize,
    /// Group hits by document, at most N of each
    #[arg(long, value_name = "N")]
    pub per_document: Option<usize>,
    /// Weight a bonus for query terms near each other
    ///
    /// The bonus is relative to the best possible score, for example 0.1. 0 disables it.
    #[arg(long, value_name = "WEIGHT")]
    pub proximity: Option<f32>,
    /// Weight the best other passage of a document
    ///
    /// From 0 to 1, relative to the passage itself.
    #[arg(long, value_name = "WEIGHT")]
    pub siblings: Option<f32>,
    /// Weight the difference of a hit from earlier ones
    ///
    /// From 0 (relevance only) to 1.
    #[arg(long, value_name = "WEIGHT")]
    pub diversity: Option<f32>,
    /// Weight documents by age, halved after this duration
    ///
    /// For example '180d', or '180d:0.3' for a decay of 30 % of the score instead of 10 %. 'off'
    /// disables the decay of the pipeline file.
    #[arg(long, value_name = "HALF_LIFE[:WEIGHT]", value_parser = freshness)]
    pub freshness: Option<search::Freshness>,
    /// Show adjacent hits of a document as one passage
    ///
    /// Default: true, and false with `--json`.
    #[arg(long, value_name = "BOOL")]
    pub merge_adjacent: Option<bool>,
    /// Explain the score of each hit
    #[arg(long)]
    pub explain: bool,
    #[command(flatten)]
    pub server: ServerArgs,
    /// Print the hits as a JSON array
    #[arg(long)]
    pub json: bool,
}

impl SearchArgs {
    /// All pipeline files whose collections are searched.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        std::iter::once(&self.file).chain(&self.also).cloned().collect()
    }
}

/// Parses `2:1`; the search checks the range of the weights.
fn weights(text: &str) -> Result<(f32, f32), String> {
    let number = |part: &str| part.trim().parse::<f32>().ok();
    let weights = text.split_once(':');
    let weights = weights.and_then(|(dense, sparse)| Some((number(dense)?, number(sparse)?)));
    weights.ok_or_else(|| "expected two numbers separated by a colon, such as 2:1".to_owned())
}

/// Parses `convex`, `convex:0.7` or `rrf`; the search checks the range of the weight.
fn fusion(text: &str) -> Result<Fusion, String> {
    let dense = text.strip_prefix("convex:").map(str::parse::<f32>);
    match (text, dense) {
        ("rrf", _) => Ok(Fusion::rrf()),
        ("convex", _) => Ok(Fusion::convex()),
        (_, Some(Ok(dense))) => Ok(Fusion::Convex { dense }),
        _ => Err("expected `convex`, `convex:WEIGHT` such as convex:0.7, or `rrf`".to_owned()),
    }
}

/// Parses `180d`, `180d:0.3` or `off`; the search checks the range of the weight.
fn freshness(text: &str) -> Result<search::Freshness, String> {
    if text == "off" {
        return Ok(search::Freshness { half_life: 1, weight: 0.0 });
    }
    let (half_life, weight) = match text.split_once(':') {
        Some((half_life, weight)) => (half_life, weight.parse::<f32>().ok()),
        None => (text, Some(DEFAULT_FRESHNESS_WEIGHT)),
    };
    let weight = weight.ok_or("expected a duration and a weight, such as 180d:0.3")?;
    let half_life = pipeline::HumanDuration::try_from(half_life.to_owned())?.as_secs();
    Ok(search::Freshness { half_life, weight })
}

/// Share of the score that decays, as in a pipeline file without `weight`.
const DEFAULT_FRESHNESS_WEIGHT: f32 = 0.1;

/// Search mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    /// Vector similarity (semantic)
    Dense,
    /// BM25 (words)
    Sparse,
    /// Both, with fused rankings
    Hybrid,
}

impl From<ModeArg> for search::SearchMode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Dense => Self::Dense,
            ModeArg::Sparse => Self::Sparse,
            ModeArg::Hybrid => Self::Hybrid,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// Pipeline file that fills the collection
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Read judged queries from this file
    ///
    /// JSON Lines, or TREC qrels with `--topics`.
    #[arg(long, value_name = "FILE")]
    pub judgements: PathBuf,
    /// Read the queries of the qrels from this file
    ///
    /// One query per line: its name, a tab and its text.
    #[arg(long, value_name = "FILE")]
    pub topics: Option<PathBuf>,
    /// Evaluate this search mode (repeatable)
    ///
    /// Further modes are compared with the first. Default: all modes of the collection.
    #[arg(long, value_enum)]
    pub mode: Vec<ModeArg>,
    /// Evaluate this generation instead of the live one
    #[arg(long, value_name = "N")]
    pub generation: Option<i32>,
    /// Compare with this generation
    #[arg(long, value_name = "N")]
    pub against: Option<i32>,
    /// Compare with the search settings of this pipeline file
    ///
    /// Only its `search` is used, on the same vectors.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub against_settings: Option<PathBuf>,
    /// Require a minimum score, such as 'ndcg@10=0.4' (repeatable)
    ///
    /// The measures are ndcg@10, recall@10, recall@100 and mrr@10.
    #[arg(long, value_name = "MEASURE=SCORE")]
    pub min: Vec<String>,
    #[command(flatten)]
    pub server: ServerArgs,
    /// Print all results as JSON, with scores per query
    #[arg(long)]
    pub json: bool,
}
