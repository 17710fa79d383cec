//! Metrics of the model of a run.

use std::collections::HashMap;
use std::sync::Mutex;

use prometheus::{CounterVec, IntCounterVec, Registry};

use super::register::{register_counters, register_seconds};
use crate::EmbedderUsage;
use crate::lock::lock;

const LABELS: &[&str] = &["pipeline", "model"];

pub(super) struct EmbeddingMetrics {
    sequences: IntCounterVec,
    tokens: IntCounterVec,
    reused: IntCounterVec,
    padding: IntCounterVec,
    batches: IntCounterVec,
    busy: CounterVec,
    /// Usage at the last update, by model.
    last_usage: Mutex<HashMap<String, EmbedderUsage>>,
}

impl EmbeddingMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let ints = |name, help| register_counters(registry, name, help, LABELS);
        Self {
            sequences: ints("semantik_embedding_sequences_total", "Chunks processed by the model"),
            tokens: ints(
                "semantik_embedding_tokens_total",
                "Tokens processed by the model, without padding",
            ),
            reused: ints(
                "semantik_embedding_reused_tokens_total",
                "Tokens of chunks with known vectors, which the model did not process",
            ),
            padding: ints(
                "semantik_embedding_padding_tokens_total",
                "Padding tokens processed by the model",
            ),
            batches: ints("semantik_embedding_batches_total", "Forward passes of the model"),
            busy: register_seconds(
                registry,
                "semantik_embedding_busy_seconds_total",
                "Compute time of the device of the model; the mean of several threads",
                LABELS,
            ),
            last_usage: Mutex::default(),
        }
    }

    /// Adds the usage since the last update.
    pub(super) fn update(&self, pipeline: &str, model: &str, usage: EmbedderUsage) {
        let mut last_usage = lock(&self.last_usage);
        let counted = last_usage.entry(model.to_owned()).or_default();
        let labels = &[pipeline, model];
        let add = |counter: &IntCounterVec, now: u64, before: u64| {
            counter.with_label_values(labels).inc_by(now.saturating_sub(before));
        };
        add(&self.sequences, usage.sequences, counted.sequences);
        add(&self.tokens, usage.tokens, counted.tokens);
        add(&self.reused, usage.reused_tokens, counted.reused_tokens);
        add(&self.padding, usage.padding_tokens, counted.padding_tokens);
        add(&self.batches, usage.forward_passes, counted.forward_passes);
        let busy = (usage.busy_seconds - counted.busy_seconds).max(0.0);
        self.busy.with_label_values(labels).inc_by(busy);
        *counted = usage;
    }
}
