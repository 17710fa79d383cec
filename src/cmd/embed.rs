//! `semantik embed`: embeds texts with the engine of the pipelines and keeps their order.
//!
//! Reads and tokenises pieces of up to some thousand texts while the model computes the previous
//! piece, so memory depends neither on the input nor on the output. Texts beyond the limit of the
//! model are truncated and counted.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use pipeline::{BoxError, EmbedderOptions, EncodedInput, ModelProvider as _, TextKind, Tokenizer};

use crate::cli::{EmbedArgs, TextKindArg};
use crate::model_download;
use crate::render::{self, count_of, format_count};

mod read;
mod write;

/// Texts with the rows that contain them.
struct TextBatch {
    texts: Vec<String>,
    rows: RowData,
}

/// The data around the texts.
enum RowData {
    /// None: one text per line.
    Lines,
    /// The other fields of JSON objects.
    Objects(Vec<serde_json::Map<String, serde_json::Value>>),
    /// All columns of a Parquet file, including the texts.
    Columns(arrow::array::RecordBatch),
}

pub(super) fn embed(args: &EmbedArgs) -> Result<(), BoxError> {
    let engine = embedding::EmbeddingEngine::new();
    let options = EmbedderOptions {
        device: args.device.clone(),
        dtype: args.dtype.clone(),
        tokens_per_batch: args.tokens_per_batch.map(NonZeroUsize::get),
        dim: args.dim,
    };
    // Errors in the input are found before a large model is loaded.
    let pieces = read::read_batches(args.input.as_deref())?;
    model_download::fetch_if_missing(&args.model)?;
    let tokenizer = engine.tokenizer(&args.model)?;
    let embedder = engine.embedder(&args.model, &options)?;
    let dim = embedder.info().dim;
    let mut output = write::VectorOutput::open(args.output.as_deref(), dim)?;
    let kind = match args.kind {
        TextKindArg::Document => TextKind::Document,
        TextKindArg::Query => TextKind::Query,
    };

    let mut account = EmbedStats::new();
    // One piece waits while another one is computed and a third one is read.
    let (sender, read) = sync_channel::<Result<(TextBatch, Vec<EncodedInput>), BoxError>>(1);
    // The thread is not joined: if the reader of the output has exited, the input may still be
    // open.
    std::thread::Builder::new()
        .spawn(move || tokenize_batches(pieces, tokenizer.as_ref(), kind, &sender))?;
    let embedded = || -> Result<(), BoxError> {
        // The loop owns the receiver, so the first error also ends the reader.
        for next in read {
            let (piece, readings) = next?;
            let sequences: Vec<&[u32]> = readings.iter().map(|reading| &reading.ids[..]).collect();
            let mut vectors = embedder.embed(&sequences)?;
            if args.normalize {
                vectors.chunks_exact_mut(dim).for_each(normalize);
            }
            output.write(piece, vectors)?;
            account.add(&readings);
        }
        Ok(())
    };
    let ended = match embedded() {
        Ok(()) => output.close(),
        Err(error) => {
            output.discard();
            Err(error)
        }
    };
    match ended {
        Err(error) if is_broken_pipe(&error) => {}
        ended => ended?,
    }
    account.close(args.output.as_deref());
    Ok(())
}

/// Reads and tokenises pieces until the input ends or the receiver is dropped.
fn tokenize_batches(
    pieces: read::TextBatches,
    tokenizer: &dyn Tokenizer,
    kind: TextKind,
    to: &SyncSender<Result<(TextBatch, Vec<EncodedInput>), BoxError>>,
) {
    for piece in pieces {
        let read = piece.and_then(|piece| {
            let readings = tokenize(&piece.texts, tokenizer, kind)?;
            Ok((piece, readings))
        });
        let failed = read.is_err();
        if to.send(read).is_err() || failed {
            return;
        }
    }
}

/// Tokenises on all cores, so that it does not delay a fast device.
fn tokenize(
    texts: &[String],
    tokenizer: &dyn Tokenizer,
    kind: TextKind,
) -> Result<Vec<EncodedInput>, BoxError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = texts.len().div_ceil(cores).max(64);
    std::thread::scope(|scope| {
        let parts: Vec<_> = texts
            .chunks(share)
            .map(|part| {
                scope.spawn(move || {
                    part.iter()
                        .map(|text| tokenizer.encode_input(text, kind))
                        .collect::<Result<Vec<_>, _>>()
                })
            })
            .collect();
        let mut readings = Vec::with_capacity(texts.len());
        for part in parts {
            readings.extend(part.join().map_err(|_| "the tokenizer panicked")??);
        }
        Ok(readings)
    })
}

fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt().max(1e-12);
    vector.iter_mut().for_each(|number| *number /= length);
}

/// `true` if the reader of standard output has exited, which is not an error.
fn is_broken_pipe(error: &BoxError) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Counts and progress of the command.
struct EmbedStats {
    started: Instant,
    texts: u64,
    tokens: u64,
    cut: u64,
    /// Draws only on a terminal.
    bar: ProgressBar,
}

impl EmbedStats {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { started: Instant::now(), texts: 0, tokens: 0, cut: 0, bar }
    }

    fn add(&mut self, readings: &[EncodedInput]) {
        self.texts += readings.len() as u64;
        self.tokens += readings.iter().map(|reading| reading.ids.len() as u64).sum::<u64>();
        self.cut += readings.iter().filter(|reading| reading.truncated).count() as u64;
        self.bar.set_message(self.summary());
    }

    fn summary(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate of whole numbers, above zero"
        )]
        let rate = |number: u64| format_count((number as f64 / seconds.max(1e-9)) as u64);
        format!(
            "{} ({} truncated), {} in {}: {} texts/s, {} tokens/s",
            count_of(self.texts, "text"),
            format_count(self.cut),
            count_of(self.tokens, "token"),
            render::format_seconds(seconds),
            rate(self.texts),
            rate(self.tokens),
        )
    }

    fn close(self, output: Option<&Path>) {
        self.bar.finish_and_clear();
        let into = output.map(|file| format!(" → {}", file.display())).unwrap_or_default();
        render::print_error_line(format_args!("{}{into}", self.summary()));
    }
}
