//! `chunk`: splits each text into chunks that fit the model.
//!
//! A text is encoded once. It is split before whole words, where the token ids on both sides are
//! those that each side would have alone, so the ids of a chunk are a slice of the ids of the text.
//! Only a word that is longer than a chunk is split inside, and its parts are encoded again. Chunks
//! are byte ranges of the text: nothing is rewritten, and every character except white space is in
//! at least one chunk.
//!
//! The content of a chunk is its part of the text. If it begins inside a table, the header of the
//! table precedes that part (`chunk/tables.rs`); offsets are those of the part.
//!
//! The model reads title and headings before each chunk (`chunk/context.rs`). They are in the token
//! ids alone, neither in the byte range nor in what is stored, and take part of the size.
//!
//! ```
//! use arrow::array::AsArray as _;
//! use arrow::datatypes::UInt64Type;
//! use pipeline::column::{CHUNKS, TEXT};
//! use serde_json::json;
//! # use std::path::Path;
//! # use pipeline::test_util::{document_rows, no_resources};
//! # use pipeline::{NodeKind, Outcome};
//! # fn run(name: &str, options: serde_json::Value, rows: arrow::array::RecordBatch) -> Outcome {
//! #     let def = stages::NODES.iter().find(|def| def.name == name).unwrap();
//! #     let NodeKind::Stage(config) = (def.parse)(options, Path::new("/")).unwrap() else {
//! #         unreachable!()
//! #     };
//! #     config.build(&no_resources()).unwrap().process(rows).unwrap()
//! # }
//!
//! let text = "Oaks live for centuries. Birches die young. Firs stay green in winter.";
//! let documents = document_rows(&[("trees.txt", "text/plain", text.as_bytes())]);
//! let rows = run("extract", json!({}), documents).rows;
//! let options = json!({ "unit": "characters", "size": 45, "overlap": 0 });
//! let rows = run("chunk", options, rows).rows;
//! let chunks = CHUNKS.of(&rows)?.value(0);
//! let [start, end] = ["start", "end"].map(|name| {
//!     chunks.as_struct().column_by_name(name).unwrap().as_primitive::<UInt64Type>().clone()
//! });
//! let text = TEXT.of(&rows)?.value(0);
//! let chunks = start.values().iter().zip(end.values());
//! let chunks: Vec<&str> = chunks.map(|(s, e)| &text[*s as usize..*e as usize]).collect();
//! assert_eq!(
//!     chunks,
//!     ["Oaks live for centuries. Birches die young.", "Firs stay green in winter."]
//! );
//! # Ok::<_, pipeline::BoxError>(())
//! ```

mod atoms;
mod chunk_builder;
mod columns;
mod context;
mod sections;
mod tables;
mod text_chunk;
mod windows;

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef, UInt8Type, UInt64Type};
use pipeline::column::{CHUNKS, OUTLINE, PAGES, SOURCE, TABLES, TEXT, TITLE, URI};
use pipeline::{
    BoxError, Chunking, IncompatibleOption, ModelInfo, ModelUse, NodeDef, NodeKind, Outcome,
    Parallelism, Passage, RejectReason, Rejection, Resources, RowsExt as _, SchemaError,
    SchemaExt as _, Stage, StageConfig, StageFacts, TokenizedText, Tokenizer, options_schema,
};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::chunk::columns::ChunkColumnBuilder;
use crate::chunk::context::{ContextEncoder, ContextLimits, ContextTemplate, DocumentContexts};
use crate::chunk::tables::{TablePlace, Tables};
use crate::chunk::text_chunk::{SectionHeading, TextChunk};
use crate::chunk::windows::{ChunkLimits, DocumentLimits};

pub(crate) const NODE: NodeDef = NodeDef {
    name: "chunk",
    summary: "Splits each text into chunks that fit the model",
    version: 3,
    parallelism: Parallelism::Any,
    schema: options_schema::<ChunkOptions>,
    parse: |with, _| {
        let config: ChunkOptions = serde_json::from_value(with)?;
        config.validate()?;
        Ok(NodeKind::Stage(Box::new(config)))
    },
};

/// Options of `chunk`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChunkOptions {
    /// The preferred places for a split.
    #[serde(default)]
    strategy: Strategy,
    /// Maximum size of a chunk. In tokens, it counts the full model input: special tokens, the
    /// document prefix and the context are included.
    #[serde(default = "size")]
    #[schemars(range(min = 4))]
    size: usize,
    /// Maximum part of a chunk that the next chunk repeats, in the same unit.
    #[serde(default = "overlap")]
    overlap: usize,
    /// The unit of `size` and `overlap`.
    #[serde(default)]
    unit: Unit,
    /// Minimum size of a chunk and of a section. A chunk is shorter only if no better split exists.
    /// A shorter section is merged with the following sections if they have the same parent and the
    /// result fits into one chunk. Default: half of `size` for chunks, a quarter for sections.
    min_size: Option<usize>,
    /// What the model reads in a line before the text of a chunk, with the placeholders `{title}`,
    /// `{headings}` and `{path}`, or `none`. It takes at most a quarter of the size, and is neither
    /// stored nor returned. Text between placeholders is left out where a value is missing. A title
    /// that is only the file name is left out: after a rename, nothing is embedded again.
    #[serde(default = "context")]
    context: String,
    #[serde(skip)]
    model_info: Option<ModelInfo>,
}

/// The preferred places for a split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Strategy {
    /// At the best place before the limit: a heading, else the end of a paragraph, line, sentence
    /// or word.
    #[default]
    Recursive,
    /// First at headings, then as `recursive`. Code blocks and tables stay whole where they fit.
    Markdown,
    /// After the last word before the limit.
    Fixed,
}

/// The unit of sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Unit {
    /// Tokens of the embedding model.
    #[default]
    Tokens,
    /// Characters (Unicode scalar values).
    Characters,
}

fn size() -> usize {
    256
}

fn overlap() -> usize {
    32
}

fn context() -> String {
    "{title} › {headings}".to_owned()
}

/// The part of a chunk that its context may take.
const CONTEXT_SHARE: usize = 4;

/// Maximum number of characters per token. A model has one token for an unknown word of any length,
/// and a chunk of such a word has no useful vector.
const MAX_CHARS_PER_TOKEN: usize = 32;

impl ChunkOptions {
    fn validate(&self) -> Result<(), serde_json::Error> {
        let (size, overlap) = (self.size, self.overlap);
        if overlap >= size {
            let message = format!("invalid overlap {overlap}: expected less than the size {size}");
            return Err(serde_json::Error::custom(message));
        }
        if let Some(min) = self.min_size.filter(|min| *min > size) {
            let message = format!("invalid min_size {min}: expected at most the size {size}");
            return Err(serde_json::Error::custom(message));
        }
        self.template().map_err(serde_json::Error::custom)?;
        Ok(())
    }

    /// `None` if chunks have no context.
    fn template(&self) -> Result<Option<ContextTemplate>, String> {
        ContextTemplate::parse(&self.context)
    }

    /// What encodes the contexts; `None` without context, or without a model that reads it.
    fn context_encoder(
        &self,
        tokenizer: Option<&Arc<dyn Tokenizer>>,
        limits: &ChunkLimits,
    ) -> Result<Option<ContextEncoder>, BoxError> {
        let (Some(template), Some(tokenizer)) = (self.template()?, tokenizer) else {
            return Ok(None);
        };
        let most = limits.tokens / CONTEXT_SHARE;
        let limits = match self.unit {
            Unit::Tokens => ContextLimits { tokens: most, characters: None },
            Unit::Characters => {
                ContextLimits { tokens: most, characters: Some(self.size / CONTEXT_SHARE) }
            }
        };
        Ok(Some(ContextEncoder { template, limits, tokenizer: Arc::clone(tokenizer) }))
    }

    /// The limits of a chunk; `tokenizer` is that of the model that embeds it.
    fn limits(&self, tokenizer: Option<&dyn Tokenizer>) -> Result<ChunkLimits, BoxError> {
        // Special tokens and prefix take their share of the limit.
        let room = |tokens: usize| {
            let overhead = tokenizer.map_or(0, |tokenizer| tokenizer.num_added_tokens());
            tokens.checked_sub(overhead).filter(|room| *room > 0).ok_or_else(|| {
                format!("{tokens} tokens leave no space for text: the model adds {overhead} tokens")
            })
        };
        let most = tokenizer.map_or(Ok(usize::MAX), |tokenizer| room(tokenizer.max_tokens()))?;
        let by_tokens = self.unit == Unit::Tokens;
        Ok(ChunkLimits {
            counts_tokens: by_tokens,
            characters: if by_tokens {
                self.size.saturating_mul(MAX_CHARS_PER_TOKEN)
            } else {
                self.size
            },
            tokens: if by_tokens { room(self.size)?.min(most) } else { most },
            overlap: self.overlap,
            min_chunk: self.min_size.unwrap_or(self.size / 2),
            min_section: self.min_size.unwrap_or(self.size / 4),
        })
    }
}

impl StageConfig for ChunkOptions {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        input.require(TEXT.field())?;
        input.require(OUTLINE.field())?;
        input.require(PAGES.field())?;
        if self.context != ContextTemplate::NONE {
            for field in [TITLE.field(), URI.field(), SOURCE.field()] {
                input.require(field)?;
            }
        }
        input.with_column(CHUNKS.field())
    }

    fn build(&self, with: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        let tokenizer = match &self.model_info {
            Some(model) => Some(with.models.tokenizer(&model.path)?),
            None if self.unit == Unit::Tokens => {
                return Err(
                    "cannot count tokens: no later node names a model; use `unit: characters`"
                        .into(),
                );
            }
            None => None,
        };
        let limits = self.limits(tokenizer.as_deref())?;
        let context = self.context_encoder(tokenizer.as_ref(), &limits)?;
        Ok(Box::new(Chunker { strategy: self.strategy, limits, tokenizer, context }))
    }

    fn identity(&self) -> Value {
        json!({
            "strategy": self.strategy,
            "size": self.size,
            "overlap": self.overlap,
            "unit": self.unit,
            "min_size": self.min_size,
            "context": self.context,
            "model": self.model_info.as_ref().map(|model| &model.fingerprint),
        })
    }

    fn facts(&self) -> StageFacts {
        let chunking = Chunking { size: self.size, overlap: self.overlap };
        StageFacts { chunking: Some(chunking), ..StageFacts::default() }
    }

    fn model(&self) -> ModelUse<'_> {
        match self.unit {
            Unit::Tokens => ModelUse::RequiresDownstream,
            Unit::Characters => ModelUse::FollowsDownstream,
        }
    }

    fn bind_model(&mut self, model: &ModelInfo) -> Result<(), IncompatibleOption> {
        if self.unit == Unit::Tokens && self.size > model.max_tokens {
            let (size, most, name) = (self.size, model.max_tokens, model.path.display());
            let message = format!("invalid size {size}: {name} reads at most {most} tokens");
            return Err(IncompatibleOption { option: "size", message });
        }
        self.model_info = Some(model.clone());
        Ok(())
    }
}

struct Chunker {
    strategy: Strategy,
    limits: ChunkLimits,
    tokenizer: Option<Arc<dyn Tokenizer>>,
    context: Option<ContextEncoder>,
}

impl Stage for Chunker {
    fn process(&mut self, rows: RecordBatch) -> Result<Outcome, BoxError> {
        let (texts, outlines, pages) = (TEXT.of(&rows)?, OUTLINE.of(&rows)?, PAGES.of(&rows)?);
        // A stage of another crate in place of `extract` may not know tables.
        let tables = TABLES.of(&rows).ok();
        let mut chunks = ChunkColumnBuilder::default();
        let mut set_aside = Vec::new();
        let mut keep = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            let text = texts.value(row);
            let headings = read_headings(&outlines.value(row));
            let pages = pages.value(row);
            let tables = tables.map_or_else(Vec::new, |tables| read_tables(&tables.value(row)));
            let pieces = match &self.context {
                Some(encoder) => {
                    let (title, path) = title_and_path(&rows, row)?;
                    let contexts = DocumentContexts::new(encoder, title, path, &headings);
                    let pieces = self.split(text, &headings, tables, Some(&contexts))?;
                    contexts.check()?;
                    pieces
                }
                None => self.split(text, &headings, tables, None)?,
            };
            keep.push(!pieces.is_empty());
            if pieces.is_empty() {
                set_aside.push(Rejection::from_row(&rows, row, RejectReason::Empty)?);
                continue;
            }
            chunks.add(&pieces, &headings, pages.as_primitive::<UInt64Type>().values());
        }
        let kept = rows.filter_rows(keep)?;
        Ok(Outcome {
            rows: kept.with_column(&*CHUNKS, Arc::new(chunks.finish()?))?,
            rejected: set_aside,
        })
    }
}

/// The title of a document, empty if it is only the file name, and its path in its source.
fn title_and_path(rows: &RecordBatch, row: usize) -> Result<(&str, &str), BoxError> {
    let (titles, uris, sources) = (TITLE.of(rows)?, URI.of(rows)?, SOURCE.of(rows)?);
    let uri = uris.value(row);
    let title = Some(titles).filter(|it| it.is_valid(row)).map(|it| it.value(row));
    let title = title.filter(|title| pipeline::uri::stem(uri).as_deref() != Some(*title));
    Ok((title.unwrap_or_default(), Passage::path_in_source(uri, sources.value(row))))
}

fn read_headings(outline: &dyn arrow::array::Array) -> Vec<SectionHeading> {
    let fields = outline.as_struct();
    let column = |name| fields.column_by_name(name).expect("a field of the column's type");
    let (at, level) =
        (column("at").as_primitive::<UInt64Type>(), column("level").as_primitive::<UInt8Type>());
    let title = column("title").as_string::<i32>();
    (0..fields.len())
        .map(|row| SectionHeading {
            at: usize::try_from(at.value(row)).expect("an offset into a text that is in memory"),
            level: level.value(row),
            title: title.value(row).to_owned(),
        })
        .collect()
}

fn read_tables(tables: &dyn arrow::array::Array) -> Vec<TablePlace> {
    let fields = tables.as_struct();
    let column = |name| {
        let offsets = fields.column_by_name(name).expect("a field of the column's type");
        offsets.as_primitive::<UInt64Type>().values()
    };
    let offsets = column("start").iter().zip(column("body_start")).zip(column("end"));
    let offset = |at: u64| usize::try_from(at).expect("an offset into a text that is in memory");
    offsets
        .map(|((start, body_start), end)| TablePlace {
            start: offset(*start),
            body_start: offset(*body_start),
            end: offset(*end),
        })
        .collect()
}

impl Chunker {
    fn split(
        &self,
        text: &str,
        headings: &[SectionHeading],
        tables: Vec<TablePlace>,
        contexts: Option<&DocumentContexts<'_>>,
    ) -> Result<Vec<TextChunk>, BoxError> {
        let tokens = match &self.tokenizer {
            Some(tokenizer) => tokenizer.encode(text)?,
            None => TokenizedText::default(),
        };
        let keeps_blocks = self.strategy == Strategy::Markdown;
        let mut atoms = atoms::split(text, &tokens, headings, keeps_blocks);
        let tables = Tables::new(text, tables, self.tokenizer.as_deref(), &self.limits)?;
        let limits = DocumentLimits { limits: &self.limits, contexts, tables: &tables };
        tables.rank_splits(text, &mut atoms, &limits);
        let sections = match self.strategy {
            Strategy::Markdown => sections::split(&atoms, headings, &limits),
            Strategy::Recursive | Strategy::Fixed => std::iter::once(0..atoms.len()).collect(),
        };
        let windows = sections.into_iter().flat_map(|section| match self.strategy {
            Strategy::Fixed => windows::split(&atoms, section, &limits, windows::select_last),
            Strategy::Recursive | Strategy::Markdown => {
                windows::split(&atoms, section, &limits, windows::select_best)
            }
        });
        let cutter = chunk_builder::ChunkBuilder { text, atoms: &atoms, tokens: &tokens, limits };
        let mut pieces = Vec::new();
        for window in windows {
            cutter.build(window, self.tokenizer.as_deref(), &mut pieces)?;
        }
        Ok(pieces)
    }
}
