//! Measures the engine's throughput for `benches/`, one round per command, so that other programs
//! can be measured in between.
//!
//! `rates MODEL TEXTS` reads a JSON string from each line of TEXTS, then commands from standard
//! input, and answers each with a line of JSON. It is a benchmark tool without assertions.
//!
//! | command | measures |
//! |---|---|
//! | `device DTYPE TOKENS` | ids to vectors, in batches of TOKENS (0: the engine's default) |
//! | `whole DTYPE TOKENS` | texts to vectors: tokenisation on all cores, then embedding |
//! | `tokenise THREADS` | texts to ids on so many threads |
//! | `peak SIZE` | products of two SIZE × SIZE matrices on every thread of a model |
//! | `vectors DTYPE FILE` | nothing; writes the vectors to FILE in native byte order |
//! | `use LIST` | nothing; selects the texts with these indices |

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark tool that stops at any error"
)]

use std::io::BufRead as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use embedding::EmbeddingEngine;
use pipeline::{Embedder, EmbedderOptions, ModelProvider, TextKind, Tokenizer};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// The same allocator as the `semantik` command.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct RateMeter {
    engine: EmbeddingEngine,
    model: String,
    device: String,
    tokenizer: Arc<dyn Tokenizer>,
    all: Vec<String>,
    texts: Vec<String>,
    ids: Vec<Vec<u32>>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, texts, rest @ ..] = &arguments[..] else { panic!("rates MODEL TEXTS [DEVICE]") };
    let lines = fs_err::read_to_string(texts).unwrap();
    let all: Vec<String> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let engine = EmbeddingEngine::new();
    let tokenizer = engine.tokenizer(Path::new(model)).unwrap();
    let device = rest.first().map_or("cpu", String::as_str).to_owned();
    let mut rates = RateMeter {
        engine,
        model: model.clone(),
        device,
        tokenizer,
        texts: all.clone(),
        all,
        ids: Vec::new(),
    };
    rates.ids = rates.tokenised(cores());
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            ["device", dtype, tokens] => rates.device(dtype, tokens.parse().unwrap()),
            ["whole", dtype, tokens] => rates.full_rate(dtype, tokens.parse().unwrap()),
            ["tokenise", threads] => rates.tokenise(threads.parse().unwrap()),
            ["peak", size] => peak_matmul(size.parse().unwrap(), &rates.device),
            ["vectors", dtype, file] => rates.vectors(dtype, file),
            ["use", list] => rates.select_texts(list),
            _ => panic!("unknown command `{line}`"),
        };
        println!("{answer}");
    }
}

impl RateMeter {
    fn embedder(&self, dtype: &str, tokens: usize) -> Arc<dyn Embedder> {
        let options = EmbedderOptions {
            device: self.device.clone(),
            dtype: dtype.to_owned(),
            tokens_per_batch: (tokens > 0).then_some(tokens),
            dim: None,
        };
        self.engine.embedder(Path::new(&self.model), &options).unwrap()
    }

    fn device(&self, dtype: &str, tokens: usize) -> Value {
        let embedder = self.embedder(dtype, tokens);
        let sequences: Vec<&[u32]> = self.ids.iter().map(Vec::as_slice).collect();
        let before = embedder.usage();
        let mut answer = timed(|| drop(embedder.embed(&sequences).unwrap()));
        let after = embedder.usage();
        answer["tokens"] = json!(after.tokens - before.tokens);
        answer["padding"] = json!(after.padding_tokens - before.padding_tokens);
        answer["batches"] = json!(after.forward_passes - before.forward_passes);
        answer["busy"] = json!(after.busy_seconds - before.busy_seconds);
        answer["threads"] = json!(cores());
        answer
    }

    fn full_rate(&self, dtype: &str, tokens: usize) -> Value {
        let embedder = self.embedder(dtype, tokens);
        let mut read = 0;
        let mut answer = timed(|| {
            let ids = self.tokenised(cores());
            read = ids.iter().map(Vec::len).sum();
            let sequences: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
            drop(embedder.embed(&sequences).unwrap());
        });
        answer["tokens"] = json!(read);
        answer
    }

    fn tokenise(&self, threads: usize) -> Value {
        let mut read = 0;
        let mut answer = timed(|| read = self.tokenised(threads).iter().map(Vec::len).sum());
        answer["tokens"] = json!(read);
        answer["bytes"] = json!(self.texts.iter().map(String::len).sum::<usize>());
        answer
    }

    fn tokenised(&self, threads: usize) -> Vec<Vec<u32>> {
        let part = self.texts.len().div_ceil(threads).max(1);
        let read =
            |text: &String| self.tokenizer.encode_input(text, TextKind::Document).unwrap().ids;
        std::thread::scope(|scope| {
            let parts: Vec<_> = self
                .texts
                .chunks(part)
                .map(|part| scope.spawn(move || part.iter().map(read).collect::<Vec<_>>()))
                .collect();
            parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
        })
    }

    fn vectors(&self, dtype: &str, file: &str) -> Value {
        let sequences: Vec<&[u32]> = self.ids.iter().map(Vec::as_slice).collect();
        let vectors = self.embedder(dtype, 0).embed(&sequences).unwrap();
        let bytes: Vec<u8> = vectors.iter().flat_map(|number| number.to_le_bytes()).collect();
        fs_err::write(file, bytes).unwrap();
        json!({ "vectors": sequences.len() })
    }

    fn select_texts(&mut self, list: &str) -> Value {
        let numbers: Vec<usize> = serde_json::from_str(list).unwrap();
        self.texts = numbers.iter().map(|&number| self.all[number].clone()).collect();
        self.ids = self.tokenised(cores());
        json!({ "lengths": self.ids.iter().map(Vec::len).collect::<Vec<_>>() })
    }
}

/// Wall-clock seconds and CPU seconds.
fn timed(work: impl FnOnce()) -> Value {
    let (started, before) = (Instant::now(), processor_seconds());
    work();
    let seconds = started.elapsed().as_secs_f64();
    json!({ "seconds": seconds, "cpu": processor_seconds() - before })
}

/// CPU time of all threads of this process, from `/proc/self/stat` in units of 10 ms.
fn processor_seconds() -> f64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// Best throughput of many products, summed over all threads.
fn peak_matmul(size: i64, device: &str) -> Value {
    let on = if device.starts_with("cuda") { Device::Cuda(0) } else { Device::Cpu };
    let (threads, kind) =
        if on == Device::Cpu { (cores(), Kind::Float) } else { (1, Kind::BFloat16) };
    let best = || {
        tch::set_num_threads(1);
        let one = Tensor::rand([size, size], (kind, on));
        let other = Tensor::rand([size, size], (kind, on));
        // A GPU is synchronised once per 50 products.
        let together = if on == Device::Cpu { 1 } else { 50 };
        let product = || {
            let started = Instant::now();
            for _ in 0..together {
                drop(one.matmul(&other));
            }
            if let Device::Cuda(card) = on {
                tch::Cuda::synchronize(i64::try_from(card).unwrap());
            }
            started.elapsed().as_secs_f64() / f64::from(together)
        };
        (0..20).map(|_| product()).fold(f64::INFINITY, f64::min)
    };
    let seconds: Vec<f64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(best)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let operations = 2.0 * (size as f64).powi(3);
    json!({ "gflops": seconds.iter().map(|seconds| operations / seconds / 1e9).sum::<f64>() })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
