//! A collection holds vectors of one model: for any graph in a pipeline file, either the check
//! rejects it or a run writes vectors of one model with one set of options.

use std::path::Path;
use std::sync::Arc;

use metadata::MemoryMetadata;
use pipeline::{
    BoxError, Embedder, EmbedderOptions, EmbedderUsage, Engine as _, LocalEngine, ModelInfo,
    ModelProvider, PipelineSpec, Plan, Registry, Resources, RunOptions, Tokenizer,
    VectorIndex as _,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use uuid::Uuid;
use vectors::MemoryVectors;

/// Models whose vectors identify them: every component of a vector is the number of the model.
struct NumberedModels;

/// The dimensions of every model.
const DIM: usize = 4;

fn number(model: &Path) -> f32 {
    model.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

impl ModelProvider for NumberedModels {
    fn describe(&self, model: &Path) -> Result<ModelInfo, BoxError> {
        Ok(ModelInfo {
            path: model.to_owned(),
            short_name: "numbered".to_owned(),
            dim: DIM,
            max_tokens: 512,
            fingerprint: format!("model {}", number(model)),
        })
    }

    fn tokenizer(&self, _: &Path) -> Result<Arc<dyn Tokenizer>, BoxError> {
        embedding::EmbeddingEngine::new().tokenizer(Path::new("stand-in:4"))
    }

    fn embedder(
        &self,
        model: &Path,
        options: &EmbedderOptions,
    ) -> Result<Arc<dyn Embedder>, BoxError> {
        Ok(Arc::new(Constant(self.describe(model)?.with_truncated_dim(options.dim))))
    }
}

struct Constant(ModelInfo);

impl Embedder for Constant {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    fn embed(&self, sequences: &[&[u32]]) -> Result<Vec<f32>, BoxError> {
        Ok(vec![number(&self.0.path); sequences.len() * self.0.dim])
    }

    fn usage(&self) -> EmbedderUsage {
        EmbedderUsage::default()
    }
}

/// An `embed` node: its options, its inputs and the sinks that read it.
#[derive(Clone, Debug)]
struct Embed {
    model: u8,
    dim: Option<usize>,
    sparse: bool,
    chunks: u8,
    /// `true` if it also reads the previous `embed` node.
    chained: bool,
    /// Bit mask of the sinks.
    sinks: u8,
}

/// A sink: an `upsert` node with 32 or 16 bits per component, or an export.
#[derive(Clone, Debug)]
enum Sink {
    Upsert { exact: bool },
    Export,
}

fn embed() -> impl Strategy<Value = Embed> {
    (
        prop_oneof![3 => Just(1_u8), 1 => Just(2)],
        prop_oneof![4 => Just(None), 1 => Just(Some(2_usize))],
        prop::bool::weighted(0.8),
        1_u8..4,
        prop::bool::weighted(0.05),
        1_u8..8,
    )
        .prop_map(|(model, dim, sparse, chunks, chained, sinks)| Embed {
            model,
            dim,
            sparse,
            chunks,
            chained,
            sinks,
        })
}

fn sink() -> impl Strategy<Value = Sink> {
    prop_oneof![
        2 => prop::bool::weighted(0.2).prop_map(|exact| Sink::Upsert { exact }),
        1 => Just(Sink::Export),
    ]
}

/// The pipeline file of a graph. Text and HTML have separate chunk nodes.
fn yaml(embeds: &[Embed], sinks: &[Sink]) -> String {
    let mut out = "\
version: 1
name: test
collection: test
nodes:
  - { id: scan, uses: scan, with: { paths: [corpus] } }
  - { id: hash, uses: hash, from: scan }
  - { id: extract, uses: extract, from: hash }
"
    .to_owned();
    let chunks = ["text/plain", "text/html"];
    for (at, kind) in chunks.iter().enumerate() {
        out += &format!(
            "  - {{ id: chunk{at}, uses: chunk, from: extract, when: {{ mime_type: {kind} }}, \
             with: {{ size: 64, overlap: 8, unit: characters }} }}\n"
        );
    }
    for (at, embed) in embeds.iter().enumerate() {
        let Embed { model, dim, sparse, .. } = embed;
        let from = (0..chunks.len()).filter(|bit| embed.chunks >> bit & 1 == 1);
        let mut from: Vec<String> = from.map(|it| format!("chunk{it}")).collect();
        if embed.chained && at > 0 {
            from = vec![format!("embed{}", at - 1)];
        }
        let dim = dim.map(|dim| format!(", dim: {dim}")).unwrap_or_default();
        let sparse = if *sparse { "bm25" } else { "none" };
        out += &format!(
            "  - {{ id: embed{at}, uses: embed, from: [{}], \
             with: {{ model: models/{model}, sparse: {sparse}{dim} }} }}\n",
            from.join(", ")
        );
    }
    for (at, sink) in sinks.iter().enumerate() {
        let from = embeds.iter().enumerate().filter(|(_, it)| it.sinks >> at & 1 == 1);
        let from: Vec<String> = from.map(|(embed, _)| format!("embed{embed}")).collect();
        if from.is_empty() {
            continue;
        }
        let node = match sink {
            Sink::Upsert { exact } => {
                let quantization = if *exact { "float32" } else { "float16" };
                format!("uses: upsert, with: {{ quantization: {quantization} }}")
            }
            Sink::Export => format!("uses: parquet, with: {{ path: out{at} }}"),
        };
        out += &format!("  - {{ id: sink{at}, from: [{}], {node} }}\n", from.join(", "));
    }
    out
}

/// `true` if the check accepts the graph; then a run is executed and its vectors are checked.
fn rejected_or_single_model(folder: &Path, embeds: &[Embed], sinks: &[Sink]) -> bool {
    let text = yaml(embeds, sinks);
    let spec = PipelineSpec::from_yaml(&folder.join("pipeline.yaml"), &text, &|_| None).unwrap();
    let registry = Registry::new(&[sources::NODES, stages::NODES, sinks::NODES]);
    let Ok(plan) = Plan::compile(&spec, &registry, &NumberedModels) else { return false };
    let model = plan.model().unwrap().clone();
    let sparse = plan.collection_facts().is_some_and(|facts| facts.sparse.is_some());
    let vectors =
        if sparse { MemoryVectors::with_sparse(model.dim) } else { MemoryVectors::new(model.dim) };
    let vectors = Arc::new(vectors);
    let with = Resources {
        collection: Uuid::nil(),
        models: Arc::new(NumberedModels),
        metadata: Arc::new(MemoryMetadata::new(Uuid::nil())),
        vectors: Arc::clone(&vectors) as _,
        known_hashes: Arc::default(),
        worker_program: None,
        cache: None,
    };
    let options = RunOptions::new(&plan);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let points = runtime.block_on(async {
        LocalEngine.run(plan, &with, options).await.unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        vectors.scroll(None, 1_000).await.unwrap()
    });
    for point in points {
        assert_eq!(point.vector, vec![number(&model.path); model.dim], "{text}");
        assert_eq!(point.sparse.is_some(), sparse, "{text}");
    }
    true
}

#[test]
fn a_graph_is_refused_or_writes_vectors_of_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = folder.path().join("corpus");
    std::fs::create_dir(&corpus).unwrap();
    let write = |name: String, content: String| std::fs::write(corpus.join(name), content).unwrap();
    for at in 0..3 {
        write(format!("{at}.txt"), format!("Plain text number {at} about the harbour."));
        write(
            format!("{at}.html"),
            format!("<html><body><h1>Page {at}</h1><p>A page about the town.</p></body></html>"),
        );
    }
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[12; 32]);
    let mut runner = TestRunner::new_with_rng(config, seed);
    let (mut accepted, mut branched) = (0, 0);
    let graphs = (vec(embed(), 1..4), vec(sink(), 3));
    let accepted_at = std::cell::RefCell::new((&mut accepted, &mut branched));
    runner
        .run(&graphs, |(embeds, sinks)| {
            if rejected_or_single_model(folder.path(), &embeds, &sinks) {
                let mut counts = accepted_at.borrow_mut();
                *counts.0 += 1;
                *counts.1 += u32::from(embeds.len() > 1);
            }
            Ok(())
        })
        .unwrap();
    assert!(
        accepted > 60 && branched > 20,
        "{accepted} accepted, of which {branched} have branches"
    );
}
