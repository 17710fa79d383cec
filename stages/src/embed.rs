//! `embed`: computes the dense vector of each chunk, and optionally a sparse vector of its terms.
//!
//! The chunks of a batch come as token ids in one flat array, so nothing is tokenised or copied
//! here. The stage requests a window of many chunks, of many documents, from the runtime; the
//! embedder sorts them by length and fills the device.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array as _, AsArray as _, FixedSizeListArray, Float32Array, ListArray, RecordBatch, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use pipeline::column::{CHUNKS, LANGUAGE, SPARSE, TEXT, vectors};
use pipeline::{
    BoxError, Embedder, EmbedderOptions, Gather, HubModel, Misfit, ModelInfo, ModelUse, NodeDef,
    NodeKind, Outcome, Parallel, Resources, RowsExt as _, SchemaError, SchemaExt as _, Stage,
    StageConfig, options_schema,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bm25::{Bm25, Bm25Options};

mod sparse;

pub(crate) const NODE: NodeDef = NodeDef {
    name: "embed",
    summary: "Computes the dense vector of each chunk, and optionally a sparse one",
    version: 2,
    parallel: Parallel::Single,
    schema: options_schema::<Embed>,
    parse: |with, folder| {
        let mut config: Embed = serde_json::from_value(with)?;
        config.resolve(folder);
        Ok(NodeKind::Stage(Box::new(config)))
    },
};

/// Options of `embed`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Embed {
    /// Folder of the model in the Hugging Face layout, or a model of the Hugging Face hub as
    /// `hf:ORG/NAME` or `hf:ORG/NAME@REVISION`, which is downloaded when it is first needed.
    model: PathBuf,
    /// Device of the model: `auto` (the GPUs, else the CPU), `cpu`, `mps`, `cuda` (all GPUs, each
    /// with the whole model), `cuda:0`, or several as `cuda:0,2`.
    #[serde(default = "auto")]
    #[schemars(regex(pattern = r"^(auto|cpu|mps|cuda(:[0-9]+(,[0-9]+)*)?)$"))]
    device: String,
    /// Precision of the computation: `auto`, `float32`, `bfloat16`, `float16` or `int8`.
    #[serde(default)]
    dtype: Dtype,
    /// Dimension of the vectors, if smaller than that of the model: the first `dim` numbers of each
    /// vector, normalised to length one. Models trained for truncation (Matryoshka) lose little,
    /// others much.
    #[schemars(range(min = 1))]
    dim: Option<usize>,
    /// Maximum number of tokens in one forward pass, padding included. Default: chosen by the
    /// embedder.
    #[schemars(range(min = 1))]
    tokens_per_batch: Option<usize>,
    /// Maximum number of chunks that are collected before they are embedded, so that chunks of
    /// similar length share a forward pass. A window takes the model about two seconds; it is
    /// smaller if this number of chunks would take longer.
    #[serde(default = "window")]
    #[schemars(range(min = 1))]
    window: usize,
    /// Sparse vectors for lexical search: `bm25`, `none`, or the options of BM25.
    #[serde(default)]
    sparse: Sparse,
    #[serde(skip)]
    bound: Option<ModelInfo>,
}

/// The configuration of sparse vectors.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Sparse {
    /// A name.
    Named(SparseName),
    /// The options of BM25.
    Bm25(Bm25Options),
}

/// Sparse vectors without options.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SparseName {
    /// BM25 with default options.
    Bm25,
    /// No sparse vectors.
    None,
}

impl Default for Sparse {
    fn default() -> Self {
        Self::Named(SparseName::Bm25)
    }
}

impl Sparse {
    fn options(&self) -> Option<Bm25Options> {
        match self {
            Self::Named(SparseName::Bm25) => Some(Bm25Options::default()),
            Self::Named(SparseName::None) => None,
            Self::Bm25(options) => Some(options.clone()),
        }
    }
}

/// Precision of the computation.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Dtype {
    /// The precision that suits the device.
    #[default]
    Auto,
    /// 32-bit floating point.
    Float32,
    /// 16-bit floating point with the range of 32 bits.
    Bfloat16,
    /// 16-bit floating point.
    Float16,
    /// 8-bit integers in the dense layers, on a CPU. The vectors differ slightly from those of the
    /// other precisions.
    Int8,
}

impl Dtype {
    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Float32 => "float32",
            Self::Bfloat16 => "bfloat16",
            Self::Float16 => "float16",
            Self::Int8 => "int8",
        }
    }
}

fn auto() -> String {
    "auto".to_owned()
}

fn window() -> usize {
    8192
}

/// Chunks of the first window, before the rate of the model is measured.
const FIRST_WINDOW: usize = 32;

/// Longest wait of chunks for a full window. It delays only runs whose source is slower than the
/// model, where the model would be idle anyway.
const HOLD: Duration = Duration::from_secs(2);

impl Embed {
    /// Makes the path of the model absolute, relative to the folder of the pipeline file. Models of
    /// the hub and the stand-in of tests are not paths.
    fn resolve(&mut self, folder: &Path) {
        let is_hub = HubModel::named(&self.model).is_some();
        if !is_hub && !self.model.to_string_lossy().starts_with("stand-in:") {
            self.model = folder.join(&self.model);
        }
    }
}

impl StageConfig for Embed {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        input.require(CHUNKS.field())?;
        // The compiler has already reported a model that cannot be read; a placeholder dimension
        // avoids further errors in the nodes after this one.
        let dim = self.bound.as_ref().map(|model| model.dim).or(self.dim).unwrap_or(1);
        let output = input.adding(vectors(dim).field())?;
        if self.sparse.options().is_none() {
            return Ok(output);
        }
        input.require(TEXT.field())?;
        input.require(LANGUAGE.field())?;
        output.adding(SPARSE.field())
    }

    fn build(&self, with: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        let options = EmbedderOptions {
            device: self.device.clone(),
            dtype: self.dtype.name().to_owned(),
            tokens_per_batch: self.tokens_per_batch,
            dim: self.dim,
        };
        // `bound.path` names the revision that was bound: the branch may have moved since.
        let model = self.bound.as_ref().map_or(&self.model, |bound| &bound.path);
        let embedder = with.models.embedder(model, &options)?;
        if let Some(bound) = &self.bound
            && bound.fingerprint != embedder.info().fingerprint
        {
            let name = model.display();
            return Err(format!(
                "the model `{name}` was replaced after the pipeline file was read; run it again"
            )
            .into());
        }
        let words = self.sparse.options().map(Bm25::new);
        Ok(Box::new(move |rows: RecordBatch| {
            embed(&*embedder, words.as_ref(), &rows).map(Outcome::from)
        }))
    }

    fn identity(&self) -> Value {
        let fingerprint = self.bound.as_ref().map(|model| &model.fingerprint);
        let mut identity = json!({
            "model": fingerprint,
            "dim": self.bound.as_ref().map(|model| model.dim),
            "sparse": self.sparse.options().map(|options| options.settings()),
        });
        // The other precisions give the same vectors except for the last digits.
        if matches!(self.dtype, Dtype::Int8) {
            identity["dtype"] = json!(self.dtype.name());
        }
        identity
    }

    fn gather(&self) -> Option<Gather> {
        Some(Gather {
            at_least: self.window,
            weight: chunk_count,
            first: Some(FIRST_WINDOW),
            hold: Some(HOLD),
        })
    }

    fn model(&self) -> ModelUse<'_> {
        ModelUse::Names { model: &self.model, dim: self.dim }
    }

    fn bind(&mut self, model: &ModelInfo) -> Result<(), Misfit> {
        if let Some(dim) = self.dim
            && dim != model.dim
        {
            let name = model.path.display();
            let message = format!("invalid dim {dim}: {name} has {} dimensions", model.dim);
            return Err(Misfit { option: "dim", message });
        }
        self.bound = Some(model.clone());
        Ok(())
    }
}

fn chunk_count(rows: &RecordBatch) -> usize {
    CHUNKS.of(rows).map_or(0, |chunks| {
        let ends = chunks.value_offsets();
        let (first, last) = (ends.first().copied().unwrap_or(0), ends.last().copied().unwrap_or(0));
        usize::try_from(last - first).expect("offsets ascend")
    })
}

fn embed(
    embedder: &dyn Embedder,
    words: Option<&Bm25>,
    rows: &RecordBatch,
) -> Result<RecordBatch, BoxError> {
    let chunks = CHUNKS.of(rows)?;
    let dim = embedder.info().dim;
    let ids = TokenIds::of(chunks);
    let sequences: Vec<&[u32]> = ids.sequences().collect();
    // The model has its own threads; the sparse vectors are computed concurrently on this one.
    let dense = || if sequences.is_empty() { Ok(Vec::new()) } else { embedder.embed(&sequences) };
    let sparse = || words.map(|words| sparse::lists(words, rows)).transpose();
    let (floats, sparse) = rayon::join(dense, sparse);
    let lists = vector_lists(chunks, floats?, sequences.len(), dim)?;
    let rows = rows.adding(&vectors(dim), Arc::new(lists))?;
    match sparse? {
        Some(lists) => Ok(rows.adding(&SPARSE, Arc::new(lists))?),
        None => Ok(rows),
    }
}

/// The token ids of the chunks of a batch, borrowed from its arrays.
struct TokenIds<'a> {
    ends: &'a [i32],
    values: &'a [u32],
}

impl<'a> TokenIds<'a> {
    fn of(chunks: &'a ListArray) -> Self {
        let fields: &StructArray = chunks.values().as_struct();
        let tokens = fields.column_by_name("tokens").expect("a field of the column's type");
        let tokens: &ListArray = tokens.as_list();
        let (first, last) = bounds(chunks);
        Self {
            // A slice of a batch shares the child array of the whole.
            ends: &tokens.value_offsets()[first..=last],
            values: tokens.values().as_primitive::<UInt32Type>().values(),
        }
    }

    fn sequences(&self) -> impl Iterator<Item = &'a [u32]> {
        let values = self.values;
        self.ends.windows(2).map(move |ends| &values[index(ends[0])..index(ends[1])])
    }
}

/// The vector column: one list per document. `floats` is row-major `[count, dim]` and is not
/// copied.
fn vector_lists(
    chunks: &ListArray,
    floats: Vec<f32>,
    count: usize,
    dim: usize,
) -> Result<ListArray, BoxError> {
    if floats.len() != count * dim {
        return Err(format!("expected {count} × {dim} numbers, got {}", floats.len()).into());
    }
    let item = Arc::new(Field::new_list_field(DataType::Float32, false));
    let width = i32::try_from(dim)?;
    let floats = Arc::new(Float32Array::from(floats));
    let vectors = FixedSizeListArray::try_new(item, width, floats, None)?;
    let item = Arc::new(Field::new_list_field(vectors.data_type().clone(), false));
    Ok(ListArray::try_new(item, ends_of(chunks), Arc::new(vectors), None)?)
}

/// The offsets of a column with one item per chunk, starting at 0.
fn ends_of(chunks: &ListArray) -> OffsetBuffer<i32> {
    let (first, _) = bounds(chunks);
    if first == 0 {
        chunks.offsets().clone()
    } else {
        OffsetBuffer::from_lengths(chunks.offsets().lengths())
    }
}

fn bounds(lists: &ListArray) -> (usize, usize) {
    let ends = lists.value_offsets();
    (index(ends[0]), index(ends[ends.len() - 1]))
}

fn index(offset: i32) -> usize {
    usize::try_from(offset).expect("offsets of a list are not negative")
}
