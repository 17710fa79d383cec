//! `chunk`: splits each text into chunks that fit the model.
//!
//! A text is encoded once. It is split before whole words, where the token ids on both sides are
//! those that each side would have alone, so the ids of a chunk are a slice of the ids of the text.
//! Only a word that is longer than a chunk is split inside, and its parts are encoded again. Chunks
//! are byte ranges of the text: nothing is rewritten, and every character except white space is in
//! at least one chunk.

mod atoms;
mod columns;
mod pieces;
mod sections;
mod windows;

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef, UInt8Type, UInt64Type};
use pipeline::column::{CHUNKS, OUTLINE, PAGES, TEXT};
use pipeline::{
    BoxError, Misfit, ModelInfo, ModelUse, NodeDef, NodeKind, Outcome, Parallel, Resources,
    RowsExt as _, SchemaError, SchemaExt as _, SetAside, Stage, StageConfig, Tokenizer, Tokens,
    Why, options_schema,
};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::chunk::columns::Chunks;
use crate::chunk::windows::Limits;

pub(crate) const NODE: NodeDef = NodeDef {
    name: "chunk",
    summary: "Splits each text into chunks that fit the model",
    version: 1,
    parallel: Parallel::Any,
    schema: options_schema::<Chunk>,
    parse: |with, _| {
        let config: Chunk = serde_json::from_value(with)?;
        config.check()?;
        Ok(NodeKind::Stage(Box::new(config)))
    },
};

/// Options of `chunk`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Chunk {
    /// The preferred places for a split.
    #[serde(default)]
    strategy: Strategy,
    /// Maximum size of a chunk. In tokens, it counts the full model input: special tokens and the
    /// document prefix are included.
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
    #[serde(skip)]
    bound: Option<ModelInfo>,
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

/// Maximum number of characters per token. A model has one token for an unknown word of any length,
/// and a chunk of such a word has no useful vector.
const CHARACTERS_PER_TOKEN: usize = 32;

impl Chunk {
    fn check(&self) -> Result<(), serde_json::Error> {
        let (size, overlap) = (self.size, self.overlap);
        if overlap >= size {
            let message = format!("invalid overlap {overlap}: expected less than the size {size}");
            return Err(serde_json::Error::custom(message));
        }
        if let Some(min) = self.min_size.filter(|min| *min > size) {
            let message = format!("invalid min_size {min}: expected at most the size {size}");
            return Err(serde_json::Error::custom(message));
        }
        Ok(())
    }

    /// The limits of a chunk; `tokenizer` is that of the model that embeds it.
    fn limits(&self, tokenizer: Option<&dyn Tokenizer>) -> Result<Limits, BoxError> {
        // Special tokens and prefix take their share of the limit.
        let room = |tokens: usize| {
            let overhead = tokenizer.map_or(0, |tokenizer| tokenizer.overhead());
            tokens.checked_sub(overhead).filter(|room| *room > 0).ok_or_else(|| {
                format!("{tokens} tokens leave no space for text: the model adds {overhead} tokens")
            })
        };
        let most = tokenizer.map_or(Ok(usize::MAX), |tokenizer| room(tokenizer.max_tokens()))?;
        let by_tokens = self.unit == Unit::Tokens;
        Ok(Limits {
            by_tokens,
            characters: if by_tokens {
                self.size.saturating_mul(CHARACTERS_PER_TOKEN)
            } else {
                self.size
            },
            tokens: if by_tokens { room(self.size)?.min(most) } else { most },
            overlap: self.overlap,
            min_cut: self.min_size.unwrap_or(self.size / 2),
            min_section: self.min_size.unwrap_or(self.size / 4),
        })
    }
}

impl StageConfig for Chunk {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        input.require(TEXT.field())?;
        input.require(OUTLINE.field())?;
        input.require(PAGES.field())?;
        input.adding(CHUNKS.field())
    }

    fn build(&self, with: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        let tokenizer = match &self.bound {
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
        Ok(Box::new(Chunker { strategy: self.strategy, limits, tokenizer }))
    }

    fn identity(&self) -> Value {
        json!({
            "strategy": self.strategy,
            "size": self.size,
            "overlap": self.overlap,
            "unit": self.unit,
            "min_size": self.min_size,
            "model": self.bound.as_ref().map(|model| &model.fingerprint),
        })
    }

    fn model(&self) -> ModelUse<'_> {
        match self.unit {
            Unit::Tokens => ModelUse::Needs,
            Unit::Characters => ModelUse::Follows,
        }
    }

    fn bind(&mut self, model: &ModelInfo) -> Result<(), Misfit> {
        if self.unit == Unit::Tokens && self.size > model.max_tokens {
            let (size, most, name) = (self.size, model.max_tokens, model.path.display());
            let message = format!("invalid size {size}: {name} reads at most {most} tokens");
            return Err(Misfit { option: "size", message });
        }
        self.bound = Some(model.clone());
        Ok(())
    }
}

struct Chunker {
    strategy: Strategy,
    limits: Limits,
    tokenizer: Option<Arc<dyn Tokenizer>>,
}

impl Stage for Chunker {
    fn process(&mut self, rows: RecordBatch) -> Result<Outcome, BoxError> {
        let (texts, outlines, pages) = (TEXT.of(&rows)?, OUTLINE.of(&rows)?, PAGES.of(&rows)?);
        let mut chunks = Chunks::default();
        let mut set_aside = Vec::new();
        let mut keep = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            let text = texts.value(row);
            let headings = headings(&outlines.value(row));
            let pages = pages.value(row);
            let pieces = self.chunk(text, &headings)?;
            keep.push(!pieces.is_empty());
            if pieces.is_empty() {
                set_aside.push(SetAside::row(&rows, row, Why::Empty)?);
                continue;
            }
            chunks.add(&pieces, &headings, pages.as_primitive::<UInt64Type>().values());
        }
        let kept = rows.keeping(keep)?;
        Ok(Outcome { rows: kept.adding(&*CHUNKS, Arc::new(chunks.finish()?))?, set_aside })
    }
}

/// An entry of the outline; `at` is a byte offset into the text.
struct Heading {
    at: usize,
    level: u8,
    title: String,
}

fn headings(outline: &dyn arrow::array::Array) -> Vec<Heading> {
    let fields = outline.as_struct();
    let column = |name| fields.column_by_name(name).expect("a field of the column's type");
    let (at, level) =
        (column("at").as_primitive::<UInt64Type>(), column("level").as_primitive::<UInt8Type>());
    let title = column("title").as_string::<i32>();
    (0..fields.len())
        .map(|row| Heading {
            at: usize::try_from(at.value(row)).expect("an offset into a text that is in memory"),
            level: level.value(row),
            title: title.value(row).to_owned(),
        })
        .collect()
}

/// One chunk: a byte range of the text, and its full model input as token ids (empty without a
/// model).
#[derive(Debug)]
struct Piece {
    start: usize,
    end: usize,
    tokens: Vec<u32>,
}

impl Chunker {
    fn chunk(&self, text: &str, headings: &[Heading]) -> Result<Vec<Piece>, BoxError> {
        let tokens = match &self.tokenizer {
            Some(tokenizer) => tokenizer.encode(text)?,
            None => Tokens::default(),
        };
        let keeps_blocks = self.strategy == Strategy::Markdown;
        let atoms = atoms::of(text, &tokens, headings, keeps_blocks);
        let sections = match self.strategy {
            Strategy::Markdown => sections::of(&atoms, headings, &self.limits),
            Strategy::Recursive | Strategy::Fixed => std::iter::once(0..atoms.len()).collect(),
        };
        let windows = sections.into_iter().flat_map(|section| match self.strategy {
            Strategy::Fixed => windows::of(&atoms, section, &self.limits, windows::last),
            Strategy::Recursive | Strategy::Markdown => {
                windows::of(&atoms, section, &self.limits, windows::best)
            }
        });
        let cutter = pieces::Cutter { text, atoms: &atoms, tokens: &tokens, limits: &self.limits };
        let mut pieces = Vec::new();
        for window in windows {
            cutter.cut(window, self.tokenizer.as_deref(), &mut pieces)?;
        }
        Ok(pieces)
    }
}
