//! How fast it is; run by hand:
//! `cargo nextest run -p embedding -p unify --run-ignored only --no-capture measure`
//!
//! `SEMANTIK_BUDGETS` lists the tokens of a batch to try, `SEMANTIK_CHUNKS` is how many texts there are,
//! `SEMANTIK_DTYPE` the type of numbers.
//! `tests/reference/measure.py` measures sentence-transformers on the same texts, which this leaves in a
//! file.

use std::time::Instant;

use embedding::Engine;
use pipeline::{EmbedderOptions, Models, Tokenizer};

use crate::{minilm, options, reference, tokenizer};

const ROUNDS: usize = 4;
/// Lengths are spread evenly around 200 tokens, from 150 to what the model reads.
const SHORTEST: usize = 150;

/// Chunks cut from the reference texts, of different lengths; `measure.py` reads them from a file.
fn chunks(tokenizer: &dyn Tokenizer, count: usize) -> Vec<String> {
    let lines = fs_err::read_to_string(reference().join("texts.jsonl")).unwrap();
    let texts: Vec<String> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = texts[40..90].join("\n");
    let tokens = tokenizer.encode(&text).unwrap();
    let mut at = 0;
    (0..count)
        .map(|nth| {
            let length = SHORTEST + nth * 37 % 101;
            let next =
                (at + 1 + nth % 13..).find(|&next| tokens.may_cut[next % (tokens.ids.len() - 300)]);
            at = next.unwrap() % (tokens.ids.len() - 300);
            let to = (at + length..).find(|&to| tokens.may_cut[to]).unwrap();
            text[tokens.spans[at].start..tokens.spans[to].start].to_owned()
        })
        .collect()
}

#[test]
#[ignore = "it measures, and proves nothing"]
fn measure() {
    let tokenizer = tokenizer(&minilm());
    let count = std::env::var("SEMANTIK_CHUNKS").map_or(1000, |count| count.parse().unwrap());
    let chunks = chunks(&*tokenizer, count);
    let file = std::env::temp_dir().join("semantik-chunks.jsonl");
    let lines: Vec<String> =
        chunks.iter().map(|chunk| serde_json::to_string(chunk).unwrap() + "\n").collect();
    fs_err::write(&file, lines.concat()).unwrap();
    println!("{count} chunks in {}", file.display());

    let text = chunks.join("\n");
    let started = Instant::now();
    let whole = tokenizer.encode(&text).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "tokenizer: {:.0} tokens/s, {:.2} MB/s on one core",
        whole.ids.len() as f64 / seconds,
        text.len() as f64 / seconds / 1e6
    );

    let frames: Vec<Vec<u32>> = chunks
        .iter()
        .map(|chunk| {
            let ids = tokenizer.encode(chunk).unwrap().ids;
            tokenizer.frame(&ids[..ids.len().min(254)])
        })
        .collect();
    let sequences: Vec<&[u32]> = frames.iter().map(Vec::as_slice).collect();
    let tokens: usize = frames.iter().map(Vec::len).sum();
    let budgets = std::env::var("SEMANTIK_BUDGETS").unwrap_or_else(|_| "1024".to_owned());
    let dtype = std::env::var("SEMANTIK_DTYPE").unwrap_or_else(|_| "float32".to_owned());
    // The best of several rounds: on a machine that does other things too, the others say more of those.
    let embedders: Vec<_> = budgets
        .split(',')
        .map(|budget| {
            let options = EmbedderOptions {
                tokens_per_batch: Some(budget.parse().unwrap()),
                dtype: dtype.clone(),
                ..options()
            };
            Engine::new().embedder(&minilm(), &options).unwrap()
        })
        .collect();
    let mut best = vec![f64::INFINITY; embedders.len()];
    for _ in 0..ROUNDS {
        for (best, embedder) in best.iter_mut().zip(&embedders) {
            let started = Instant::now();
            embedder.embed(&sequences).unwrap();
            *best = best.min(started.elapsed().as_secs_f64());
        }
    }
    for (budget, seconds) in budgets.split(',').zip(best) {
        println!(
            "embed, {budget} tokens in a batch: {tokens} tokens, {:.0} tokens/s",
            tokens as f64 / seconds
        );
    }
}
