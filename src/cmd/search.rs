//! `semantik search`: prints the passages of collections that match a query.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, stdout};
use std::path::Path;

use pipeline::BoxError;
use search::{
    CollectionResult, Fusion, MergedHit, Proximity, Request, RerankOverride, SearchResults,
    Searcher, SettingsOverrides, parse_filter, title,
};
use serde_json::{Map, Value, json};

use crate::cli::SearchArgs;
use crate::composition::FileTargets;
use crate::remote::RemoteError;
use crate::render::Paint;
use crate::{model_download, remote, render};

mod corrections;
mod explanation;
mod snippet;

pub(super) async fn search(args: &SearchArgs) -> Result<(), BoxError> {
    let filter = args.filter.as_deref().map(read_filter).transpose()?;
    let request = request(args, filter.as_ref())?;
    let filter = filter.as_ref().and_then(Value::as_object);
    let answer = match args.server.server() {
        Some(server) => {
            let names = args.files().into_iter().map(|named| remote::collection_name(&named));
            let collections = names.collect::<Result<_, _>>()?;
            server.search(&Request { collections, ..request }, filter).await?
        }
        None => search_files(args, request, filter).await?,
    };
    let failures = answer.failed.iter().map(|failure| {
        format!("search in collection `{}` failed: {}", failure.requested, failure.error)
    });
    let failures: Vec<String> = failures.collect();
    if !answer.searched.is_empty() {
        let paint = Paint::for_stream(stdout().is_terminal());
        let corrections = corrections::as_text(&answer.corrections);
        if args.json {
            // The output is an array of hits.
            corrections.lines().for_each(render::print_error_line);
            render::print_json(&as_json(&answer))?;
        } else {
            render::print_coloured(&(corrections + &as_text(&answer, paint)), paint)?;
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ").into()) }
}

/// Searches the collections of pipeline files: through the server that has their vectors open, or
/// in this process. Collections that failed have their own name.
async fn search_files(
    args: &SearchArgs,
    mut request: Request,
    filter: Option<&Map<String, Value>>,
) -> Result<SearchResults, BoxError> {
    let files = args.files();
    for file in &files {
        model_download::fetch_models_of(file).await?;
    }
    if let Some(Some(model)) = &args.rerank {
        model_download::fetch_if_missing(Path::new(model))?;
    }
    let files = FileTargets::open(&files).await?;
    if let Some(server) = files.local_server()? {
        request.collections = files.ids().iter().map(ToString::to_string).collect();
        match server.search(&request, filter).await {
            // The server has ended since it was found, or the model of `--rerank` is not its own.
            Err(RemoteError::NoResponse { .. } | RemoteError::Unsupported(_)) => {}
            answer => return Ok(answer?),
        }
    }
    request.collections = files.names();
    let mut answer = Searcher::default().search(&request, &files).await?;
    for failure in &mut answer.failed {
        failure.requested = files.name_of(&failure.requested).to_owned();
    }
    Ok(answer)
}

fn read_filter(text: &str) -> Result<Value, BoxError> {
    Ok(serde_json::from_str(text).map_err(|error| format!("invalid filter: not JSON: {error}"))?)
}

fn request(args: &SearchArgs, filter: Option<&Value>) -> Result<Request, BoxError> {
    Ok(Request {
        mode: args.mode.map(search::SearchMode::from),
        k: usize::from(args.k),
        offset: args.offset,
        filter: filter.map(parse_filter).transpose()?,
        threshold: args.threshold,
        per_document: args.per_document,
        merge_adjacent: args.merge_adjacent.unwrap_or(!args.json),
        explain: args.explain,
        overrides: SettingsOverrides {
            fusion: fusion(args)?,
            exact_terms: args.no_exact_terms.then_some(false),
            typos: args.no_typos.then_some(false),
            rerank: rerank(args),
            siblings: args.siblings,
            lead: None,
            freshness: args.freshness,
            proximity: args.proximity.map(|weight| Proximity { weight, ..Proximity::default() }),
            diversity: args.diversity,
        },
        ..Request::new(args.words.join(" "), Vec::new())
    })
}

fn rerank(args: &SearchArgs) -> Option<RerankOverride> {
    if args.no_rerank {
        return Some(RerankOverride::Off);
    }
    let model = args.rerank.clone()?;
    Some(RerankOverride::On { model, candidates: None, budget: None })
}

/// The fusion that the options ask for; `None` for that of the collection.
fn fusion(args: &SearchArgs) -> Result<Option<Fusion>, BoxError> {
    if args.fusion_k.is_none() && args.weights.is_none() {
        return Ok(args.fusion);
    }
    let Fusion::Rrf { k, dense, sparse } = args.fusion.unwrap_or(Fusion::rrf()) else {
        return Err("`--fusion-k` and `--weights` apply to `--fusion rrf`: leave them out".into());
    };
    let (dense, sparse) = args.weights.unwrap_or((dense, sparse));
    Ok(Some(Fusion::Rrf { k: args.fusion_k.unwrap_or(k), dense, sparse }))
}

fn as_json(answer: &SearchResults) -> Value {
    answer.hits.iter().map(|hit| hit_as_json(answer, hit)).collect()
}

fn hit_as_json(answer: &SearchResults, hit: &MergedHit) -> Value {
    let MergedHit { collection_index, score, similarity, explanation, highlights, chunks, payload } =
        hit;
    let CollectionResult { name, generation, mode, .. } = &answer.searched[*collection_index];
    let highlights: Vec<[usize; 2]> =
        highlights.iter().map(|range| [range.start, range.end]).collect();
    let mut json = json!({
        "score": score,
        "similarity": similarity,
        "mode": mode.name(),
        "collection": name,
        "generation": generation,
        "uri": payload.uri,
        "title": title::display_title(payload.title.as_deref(), &payload.uri),
        "chunk_index": payload.chunk_index,
        "chunks": chunks,
        "text": payload.content,
        "highlights": highlights,
        "headings": payload.headings,
        "page": payload.page,
        "document_id": payload.document,
        "mime_type": payload.mime_type,
        "language": payload.language,
        "facts": sorted(&payload.facts),
        "start": payload.start,
        "end": payload.end,
    });
    if let Some(explanation) = explanation {
        json["explanation"] = explanation::as_json(explanation);
    }
    json
}

/// Facts in the order of their keys, as a server returns them.
fn sorted(facts: &[String]) -> Vec<&str> {
    let mut facts: Vec<&str> = facts.iter().map(String::as_str).collect();
    facts.sort_by_key(|fact| fact.split_once('=').map_or(*fact, |(key, _)| key));
    facts
}

/// Formats hits as text, with highlighted query terms on a terminal.
fn as_text(answer: &SearchResults, paint: Paint) -> String {
    if answer.hits.is_empty() {
        return "no hits\n".to_owned();
    }
    let width = render::width_of_output().unwrap_or(snippet::WIDTH);
    let mut out = String::new();
    if answer.nothing_near {
        let them = if answer.searched.len() == 1 { "the collection" } else { "the collections" };
        writeln!(out, "Nothing in {them} is near this query; the best hits follow.\n")
            .expect("writing to a String cannot fail");
    }
    for (place, hit) in answer.hits.iter().enumerate() {
        let payload = &hit.payload;
        let title = title::display_title(payload.title.as_deref(), &payload.uri);
        let within = match (&payload.headings, payload.page) {
            (Some(headings), Some(page)) => format!(" · {headings} · page {page}"),
            (Some(headings), None) => format!(" · {headings}"),
            (None, Some(page)) => format!(" · page {page}"),
            (None, None) => String::new(),
        };
        let score = hit.score;
        let similarity = hit.similarity.filter(|similarity| *similarity != score);
        let similarity = similarity.map_or(String::new(), |it| format!("similarity {it:.2}  "));
        let within_what = match answer.searched.len() {
            1 => String::new(),
            _ => format!("{}, ", answer.searched[hit.collection_index].name),
        };
        let heading = format!("{title}{within}");
        let written = writeln!(
            out,
            "{}. {score:.3}  {similarity}{}\n   {} ({within_what}{})",
            place + 1,
            paint.bold(&render::visible_line(&heading)),
            render::visible_line(&payload.uri),
            chunks_of(hit),
        );
        written.expect("writing to a String cannot fail");
        for line in hit.explanation.iter().flat_map(explanation::lines) {
            writeln!(out, "   {}", render::visible_line(&line))
                .expect("writing to a String cannot fail");
        }
        for line in snippet::lines(&payload.content, &hit.highlights, width, paint) {
            writeln!(out, "   │ {line}").expect("writing to a String cannot fail");
        }
        out.push('\n');
    }
    out
}

/// The chunks of a hit: `chunk 3`, or `chunks 3–5`.
fn chunks_of(hit: &MergedHit) -> String {
    match hit.chunks.as_slice() {
        [] | [_] => format!("chunk {}", hit.payload.chunk_index),
        [first, .., last] => format!("chunks {first}–{last}"),
    }
}
