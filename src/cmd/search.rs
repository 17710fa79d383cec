//! `semantik search`: the passages of a collection that answer a question.

use pipeline::{BoxError, Hit, Models as _};
use serde_json::json;

use crate::cli::SearchArgs;
use crate::render;
use crate::wiring::{self, Database, embed_options};

pub(super) async fn search(args: &SearchArgs) -> Result<(), BoxError> {
    let engine = embedding::Engine::new();
    let (spec, plan) = wiring::load(&args.config, &engine)?;
    let model =
        plan.models().next().ok_or("the pipeline runs no model, so there is nothing to search")?;
    let database = Database::open(&spec).await?;
    let collection = database.collection(&spec, model).await?;
    let index = wiring::vector_index(&spec, &collection, model).await?;

    let tokenizer = engine.tokenizer(&model.path)?;
    let embedder = engine.embedder(&model.path, &embed_options(&spec))?;
    let query = search::Query { words: &args.words.join(" "), k: usize::from(args.k) };
    let hits =
        search::search(&query, tokenizer.as_ref(), embedder.as_ref(), index.as_ref()).await?;
    render::out(&if args.json { as_json(&hits)? } else { as_text(&hits) })
}

fn as_json(hits: &[Hit]) -> Result<String, BoxError> {
    let hits: Vec<_> = hits
        .iter()
        .map(|Hit { score, payload }| {
            json!({
                "score": score,
                "uri": payload.uri,
                "title": payload.title,
                "chunk_index": payload.chunk_index,
                "text": payload.content,
                "headings": payload.headings,
                "page": payload.page,
                "document_id": payload.document,
                "mime_type": payload.mime_type,
                "start": payload.start,
                "end": payload.end,
            })
        })
        .collect();
    Ok(format!("{}\n", serde_json::to_string_pretty(&hits)?))
}

fn as_text(hits: &[Hit]) -> String {
    if hits.is_empty() {
        return "nothing was found\n".to_owned();
    }
    let mut out = String::new();
    for (place, Hit { score, payload }) in hits.iter().enumerate() {
        let title = payload.title.as_deref().unwrap_or("(no title)");
        let within = match (&payload.headings, payload.page) {
            (Some(headings), Some(page)) => format!(" · {headings} · page {page}"),
            (Some(headings), None) => format!(" · {headings}"),
            (None, Some(page)) => format!(" · page {page}"),
            (None, None) => String::new(),
        };
        out.push_str(&format!("{}. {score:.3}  {title}{within}\n", place + 1));
        out.push_str(&format!("   {} (chunk {})\n", payload.uri, payload.chunk_index));
        for line in payload.content.lines().filter(|line| !line.trim().is_empty()).take(6) {
            out.push_str(&format!("   │ {}\n", line.trim()));
        }
        out.push('\n');
    }
    out
}
