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
use pipeline::column::{CHUNKS, LANGUAGE, SOURCE, SPARSE, TEXT, TITLE, URI, vectors_column};
use pipeline::{
    BatchPolicy, BoxError, Embedder, EmbedderOptions, HubModel, IncompatibleOption, ModelInfo,
    ModelUse, NodeDef, NodeKind, Outcome, Parallelism, Resources, RowsExt as _, SchemaError,
    SchemaExt as _, Stage, StageConfig, StageFacts, options_schema,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bm25::{Bm25Encoder, Bm25Options};

mod sparse;

pub(crate) const NODE: NodeDef = NodeDef {
    name: "embed",
    summary: "Computes the dense vector of each chunk, and optionally a sparse one",
    version: 2,
    parallelism: Parallelism::Single,
    schema: options_schema::<EmbedOptions>,
    parse: |with, folder| {
        let mut config: EmbedOptions = serde_json::from_value(with)?;
        config.resolve_model_path(folder);
        Ok(NodeKind::Stage(Box::new(config)))
    },
};

/// Options of `embed`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EmbedOptions {
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
    sparse: SparseOptions,
    #[serde(skip)]
    model_info: Option<ModelInfo>,
}

/// The configuration of sparse vectors.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
enum SparseOptions {
    /// A name.
    Preset(SparsePreset),
    /// The options of BM25.
    Bm25(Bm25Options),
}

/// Sparse vectors without options.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SparsePreset {
    /// BM25 with default options.
    Bm25,
    /// No sparse vectors.
    None,
}

impl Default for SparseOptions {
    fn default() -> Self {
        Self::Preset(SparsePreset::Bm25)
    }
}

impl SparseOptions {
    fn options(&self) -> Option<Bm25Options> {
        match self {
            Self::Preset(SparsePreset::Bm25) => Some(Bm25Options::default()),
            Self::Preset(SparsePreset::None) => None,
            Self::Bm25(options) => Some(options.clone()),
        }
    }
}

/// Precision of the computation.
#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
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
const INITIAL_WINDOW: usize = 32;

/// Longest wait of chunks for a full window. It delays only runs whose source is slower than the
/// model, where the model would be idle anyway.
const MAX_WAIT: Duration = Duration::from_secs(2);

impl EmbedOptions {
    /// Makes the path of the model absolute, relative to the folder of the pipeline file. Models of
    /// the hub and the stand-in of tests are not paths.
    fn resolve_model_path(&mut self, folder: &Path) {
        let is_hub = HubModel::from_path(&self.model).is_some();
        if !is_hub && !self.model.to_string_lossy().starts_with("stand-in:") {
            self.model = folder.join(&self.model);
        }
    }
}

impl EmbedOptions {
    fn embedder_options(&self) -> EmbedderOptions {
        EmbedderOptions {
            device: self.device.clone(),
            dtype: self.dtype.name().to_owned(),
            tokens_per_batch: self.tokens_per_batch,
            dim: self.dim,
        }
    }

    /// Settings of the sparse vectors; `None` without sparse vectors.
    fn sparse_settings(&self) -> Option<Value> {
        self.sparse.options().map(|options| options.settings())
    }
}

impl StageConfig for EmbedOptions {
    fn output_schema(&self, input: &Schema) -> Result<SchemaRef, SchemaError> {
        input.require(CHUNKS.field())?;
        // The compiler has already reported a model that cannot be read; a placeholder dimension
        // avoids further errors in the nodes after this one.
        let dim = self.model_info.as_ref().map(|model| model.dim).or(self.dim).unwrap_or(1);
        let output = input.with_column(vectors_column(dim).field())?;
        if self.sparse.options().is_none() {
            return Ok(output);
        }
        for field in [TEXT.field(), LANGUAGE.field(), TITLE.field(), URI.field(), SOURCE.field()] {
            input.require(field)?;
        }
        output.with_column(SPARSE.field())
    }

    fn build(&self, with: &Resources) -> Result<Box<dyn Stage>, BoxError> {
        // `bound.path` names the revision that was bound: the branch may have moved since.
        let model = self.model_info.as_ref().map_or(&self.model, |bound| &bound.path);
        let embedder = with.models.embedder(model, &self.embedder_options())?;
        if let Some(bound) = &self.model_info
            && bound.fingerprint != embedder.info().fingerprint
        {
            let name = model.display();
            return Err(format!(
                "the model `{name}` was replaced after the pipeline file was read; run it again"
            )
            .into());
        }
        let words = self.sparse.options().map(Bm25Encoder::new);
        Ok(Box::new(move |rows: RecordBatch| {
            embed_batch(&*embedder, words.as_ref(), &rows).map(Outcome::from)
        }))
    }

    fn identity(&self) -> Value {
        let fingerprint = self.model_info.as_ref().map(|model| &model.fingerprint);
        let mut identity = json!({
            "model": fingerprint,
            "dim": self.model_info.as_ref().map(|model| model.dim),
            "sparse": self.sparse_settings(),
        });
        // The other precisions give the same vectors except for the last digits.
        if matches!(self.dtype, Dtype::Int8) {
            identity["dtype"] = json!(self.dtype.name());
        }
        identity
    }

    fn facts(&self) -> StageFacts {
        StageFacts { sparse: self.sparse_settings(), ..StageFacts::default() }
    }

    fn batch_policy(&self) -> Option<BatchPolicy> {
        Some(BatchPolicy {
            target_weight: self.window,
            weight: chunk_count,
            initial_weight: Some(INITIAL_WINDOW),
            idle_weight: None,
            max_wait: Some(MAX_WAIT),
        })
    }

    fn model(&self) -> ModelUse<'_> {
        ModelUse::Runs { model: &self.model, options: self.embedder_options() }
    }

    fn bind_model(&mut self, model: &ModelInfo) -> Result<(), IncompatibleOption> {
        if let Some(dim) = self.dim
            && dim != model.dim
        {
            let name = model.path.display();
            let message = format!("invalid dim {dim}: {name} has {} dimensions", model.dim);
            return Err(IncompatibleOption { option: "dim", message });
        }
        self.model_info = Some(model.clone());
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

fn embed_batch(
    embedder: &dyn Embedder,
    words: Option<&Bm25Encoder>,
    rows: &RecordBatch,
) -> Result<RecordBatch, BoxError> {
    let chunks = CHUNKS.of(rows)?;
    let dim = embedder.info().dim;
    let ids = TokenIds::of(chunks);
    let sequences: Vec<&[u32]> = ids.sequences().collect();
    // The model has its own threads; the sparse vectors are computed concurrently on this one.
    let dense = || if sequences.is_empty() { Ok(Vec::new()) } else { embedder.embed(&sequences) };
    let sparse = || words.map(|words| sparse::encode_lists(words, rows)).transpose();
    let (floats, sparse) = rayon::join(dense, sparse);
    let lists = vector_lists(chunks, floats?, sequences.len(), dim)?;
    let rows = rows.with_column(&vectors_column(dim), Arc::new(lists))?;
    match sparse? {
        Some(lists) => Ok(rows.with_column(&SPARSE, Arc::new(lists))?),
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
        let (first, last) = value_range(chunks);
        Self {
            // A slice of a batch shares the child array of the whole.
            ends: &tokens.value_offsets()[first..=last],
            values: tokens.values().as_primitive::<UInt32Type>().values(),
        }
    }

    fn sequences(&self) -> impl Iterator<Item = &'a [u32]> {
        let values = self.values;
        self.ends.windows(2).map(move |ends| &values[to_usize(ends[0])..to_usize(ends[1])])
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
    Ok(ListArray::try_new(item, chunk_offsets(chunks), Arc::new(vectors), None)?)
}

/// The offsets of a column with one item per chunk, starting at 0.
fn chunk_offsets(chunks: &ListArray) -> OffsetBuffer<i32> {
    let (first, _) = value_range(chunks);
    if first == 0 {
        chunks.offsets().clone()
    } else {
        OffsetBuffer::from_lengths(chunks.offsets().lengths())
    }
}

fn value_range(lists: &ListArray) -> (usize, usize) {
    let ends = lists.value_offsets();
    (to_usize(ends[0]), to_usize(ends[ends.len() - 1]))
}

fn to_usize(offset: i32) -> usize {
    usize::try_from(offset).expect("offsets of a list are not negative")
}
