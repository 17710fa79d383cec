//! `chunk`: cuts each text into pieces that a model can read.
//!
//! A text is encoded once. It is cut in front of whole words, where the ids on both sides are those that
//! each side would give alone, so a chunk's ids are a slice of the text's. Only a word that is longer
//! than a chunk is cut inside, and its pieces are encoded again. Chunks are ranges of the text: nothing is
//! rewritten, and every character but white space is in at least one of them.

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
    summary: "Cuts each text into pieces that a model can read",
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
    /// Where a text is cut.
    #[serde(default)]
    strategy: Strategy,
    /// Longest chunk. In tokens it counts all that the model reads, special tokens and document prefix
    /// included.
    #[serde(default = "size")]
    #[schemars(range(min = 4))]
    size: usize,
    /// How much of a chunk the next one may repeat, in the same unit.
    #[serde(default = "overlap")]
    overlap: usize,
    /// What `size` and `overlap` count.
    #[serde(default)]
    unit: Unit,
    /// A cut that makes a chunk shorter than this is made only where there is no better one, and a section
    /// that is shorter is put together with those behind it, if they have the same parent and all of it
    /// fits. Half of `size` for cuts, and a quarter for sections, if it is not given.
    min_size: Option<usize>,
    #[serde(skip)]
    bound: Option<ModelInfo>,
}

/// Where a text is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Strategy {
    /// At the best place before the limit: a heading, the end of a paragraph, of a line, of a sentence, or
    /// else of a word.
    #[default]
    Recursive,
    /// First at the headings, then as `recursive`; code and tables are kept whole where they fit.
    Markdown,
    /// At the last word before the limit.
    Fixed,
}

/// What is counted.
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

/// More characters than this for a token are no words: a model has one token for what it does not know,
/// however long it is, and a chunk of that would be no use to anybody.
const CHARACTERS_PER_TOKEN: usize = 32;

impl Chunk {
    fn check(&self) -> Result<(), serde_json::Error> {
        let (size, overlap) = (self.size, self.overlap);
        if overlap >= size {
            let message = format!("an overlap of {overlap} is not smaller than the size of {size}");
            return Err(serde_json::Error::custom(message));
        }
        if let Some(min) = self.min_size.filter(|min| *min > size) {
            let message = format!("a min_size of {min} is larger than the size of {size}");
            return Err(serde_json::Error::custom(message));
        }
        Ok(())
    }

    /// What a chunk may hold; `tokenizer` is that of the model that reads it.
    fn limits(&self, tokenizer: Option<&dyn Tokenizer>) -> Result<Limits, BoxError> {
        // What the model wants around the text is not ours to fill.
        let room = |tokens: usize| {
            let overhead = tokenizer.map_or(0, |tokenizer| tokenizer.overhead());
            tokens.checked_sub(overhead).filter(|room| *room > 0).ok_or_else(|| {
                format!("a chunk of {tokens} tokens has no room for text beside the {overhead} that the model adds")
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
                return Err("counts tokens, but no node behind it names a model; `unit: characters` needs none".into());
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
            let message =
                format!("a chunk of {size} tokens is longer than the {most} that {name} reads");
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

/// A heading of a text.
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

/// One chunk: a range of the text, and what the model reads for it.
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
