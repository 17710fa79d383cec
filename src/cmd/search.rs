//! `semantik search`: the passages of collections that answer a question.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, stdout};
use std::ops::Range;
use std::sync::Arc;

use pipeline::{BoxError, Fusion};
use search::{Answer, Condition, Request, SearchHit, Searched, Searcher};
use serde_json::{Value, json};

use crate::cli::SearchArgs;
use crate::wiring::FileTargets;
use crate::{fetching, render};

/// Lines of a passage that are shown.
const LINES: usize = 6;

pub(super) async fn search(args: &SearchArgs) -> Result<(), BoxError> {
    let request = request(args)?;
    for file in &args.config {
        fetching::models_of(file).await?;
    }
    let files = FileTargets::open(&args.config, Arc::new(embedding::Engine::new())).await?;
    let request = Request { collections: files.names(), ..request };
    let answer = Searcher::default().answer(&request, &files).await?;
    let failures = answer.failed.iter().map(|failure| {
        format!(
            "the collection `{}` did not answer: {}",
            files.name_of(&failure.asked),
            failure.error
        )
    });
    let failures: Vec<String> = failures.collect();
    if !answer.searched.is_empty() {
        let bold = stdout().is_terminal();
        render::out(&if args.json { as_json(&answer)? } else { as_text(&answer, bold) })?;
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ").into()) }
}

fn request(args: &SearchArgs) -> Result<Request, BoxError> {
    let filter = match &args.filter {
        Some(text) => {
            let json: Value = serde_json::from_str(text)
                .map_err(|error| format!("the filter is not JSON: {error}"))?;
            Some(Condition::parse(&json)?)
        }
        None => None,
    };
    let usual = Fusion::default();
    let (dense, sparse) = args.weights.unwrap_or((usual.dense, usual.sparse));
    Ok(Request {
        mode: args.mode.map(search::Mode::from),
        k: usize::from(args.k),
        offset: args.offset,
        filter,
        threshold: args.threshold,
        per_document: args.per_document,
        fusion: Fusion { k: args.fusion_k.unwrap_or(usual.k), dense, sparse, ..usual },
        ..Request::new(args.words.join(" "), Vec::new())
    })
}

fn as_json(answer: &Answer) -> Result<String, BoxError> {
    let hits: Vec<_> = answer
        .hits
        .iter()
        .map(|SearchHit { from, score, similarity, highlights, payload }| {
            let Searched { name, generation, mode, .. } = &answer.searched[*from];
            let highlights: Vec<[usize; 2]> =
                highlights.iter().map(|range| [range.start, range.end]).collect();
            json!({
                "score": score,
                "similarity": similarity,
                "mode": mode.name(),
                "collection": name,
                "generation": generation,
                "uri": payload.uri,
                "title": payload.title,
                "chunk_index": payload.chunk_index,
                "text": payload.content,
                "highlights": highlights,
                "headings": payload.headings,
                "page": payload.page,
                "document_id": payload.document,
                "mime_type": payload.mime_type,
                "language": payload.language,
                "facts": payload.facts,
                "start": payload.start,
                "end": payload.end,
            })
        })
        .collect();
    Ok(format!("{}\n", serde_json::to_string_pretty(&hits)?))
}

/// Words of the question stand out where a person reads.
fn as_text(answer: &Answer, bold: bool) -> String {
    if answer.hits.is_empty() {
        return "nothing was found\n".to_owned();
    }
    let mut out = String::new();
    for (place, hit) in answer.hits.iter().enumerate() {
        let payload = &hit.payload;
        let title = payload.title.as_deref().unwrap_or("(no title)");
        let within = match (&payload.headings, payload.page) {
            (Some(headings), Some(page)) => format!(" · {headings} · page {page}"),
            (Some(headings), None) => format!(" · {headings}"),
            (None, Some(page)) => format!(" · page {page}"),
            (None, None) => String::new(),
        };
        // A sum of reciprocal ranks says nothing to a person; how similar the hit is does.
        let score = hit.similarity.unwrap_or(hit.score);
        let within_what = match answer.searched.len() {
            1 => String::new(),
            _ => format!("{}, ", answer.searched[hit.from].name),
        };
        let written = writeln!(
            out,
            "{}. {score:.3}  {title}{within}\n   {} ({within_what}chunk {})",
            place + 1,
            payload.uri,
            payload.chunk_index,
        );
        written.expect("a String takes all");
        for line in passage(&payload.content, &hit.highlights, bold) {
            writeln!(out, "   │ {line}").expect("a String takes all");
        }
        out.push('\n');
    }
    out
}

/// The first lines of a passage that have something in them.
fn passage(text: &str, highlights: &[Range<usize>], bold: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        if !line.trim().is_empty() && lines.len() < LINES {
            let within = highlights.iter().filter(|it| bold && it.start >= start && it.end <= end);
            let within: Vec<_> = within.map(|it| it.start - start..it.end - start).collect();
            lines.push(emphasised(line, &within).trim().to_owned());
        }
        start = end;
    }
    lines
}

fn emphasised(line: &str, words: &[Range<usize>]) -> String {
    let mut out = String::with_capacity(line.len() + words.len() * 8);
    let mut done = 0;
    for word in words {
        out.push_str(&line[done..word.start]);
        out.push_str("\u{1b}[1m");
        out.push_str(&line[word.clone()]);
        out.push_str("\u{1b}[0m");
        done = word.end;
    }
    out.push_str(&line[done..]);
    out
}
