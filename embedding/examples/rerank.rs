//! Measures a reranker for `benches/rerank.py`, one round per command, so that other programs can
//! be measured in between.
//!
//! `rerank MODEL TEXTS` reads a JSON string from each line of TEXTS, the query and then the
//! passages. Each line of standard input is a number type; the answer is a line of JSON with the
//! seconds of one call and the scores. It is a benchmark tool without assertions.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark tool that stops at any error"
)]

use std::io::BufRead as _;
use std::path::Path;
use std::time::{Duration, Instant};

use embedding::EmbeddingEngine;
use pipeline::{ModelProvider as _, RerankerOptions};
use serde_json::json;

/// The same allocator as the `semantik` command.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, texts, rest @ ..] = &arguments[..] else { panic!("rerank MODEL TEXTS [DEVICE]") };
    let device = rest.first().map_or("cpu", String::as_str);
    let lines = fs_err::read_to_string(texts).unwrap();
    let texts: Vec<String> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (query, passages) = texts.split_first().unwrap();
    let passages: Vec<&str> = passages.iter().map(String::as_str).collect();
    let engine = EmbeddingEngine::new();
    for line in std::io::stdin().lock().lines() {
        let options =
            RerankerOptions { device: device.to_owned(), dtype: line.unwrap().trim().to_owned() };
        // The model stays loaded.
        let reranker = engine.reranker(Path::new(model), &options).unwrap();
        let started = Instant::now();
        let scores = reranker.score(query, &passages, started + Duration::from_secs(3600)).unwrap();
        let seconds = started.elapsed().as_secs_f64();
        let scores: Vec<f32> = scores.into_iter().map(Option::unwrap).collect();
        println!(
            "{}",
            json!({"seconds": seconds, "scores": scores, "tokens": reranker.usage().tokens})
        );
    }
}
