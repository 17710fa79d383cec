//! `semantik search`: the passages of a collection that answer a question.

use pipeline::{BoxError, EmbedderOptions, Hit, Models as _, PipelineSpec, Plan};
use serde_json::json;

use crate::cli::SearchArgs;
use crate::render;
use crate::shards::Shards;
use crate::wiring::{self, Absent, Database, Vectors, embed_options};

pub(super) async fn search(args: &SearchArgs) -> Result<(), BoxError> {
    let engine = embedding::Engine::new();
    let (spec, plan) = wiring::load(&args.config, &engine)?;
    let database = Database::open(&spec).await?;
    let collection = database.collection(&spec).await?;
    if collection.deleting_since.is_some() {
        return Err(format!("the collection `{}` is being deleted", collection.name).into());
    }
    let query = search::Query { words: &args.words.join(" "), k: usize::from(args.k) };
    let mut generation = database.postgres().generations().live(collection.id).await?;
    let hits = loop {
        let answered = ask(&spec, &plan, &engine, &generation, &query).await;
        // A generation may be dropped between the question which one is live and its answer.
        let live = database.postgres().generations().live(collection.id).await?;
        if answered.is_ok() || live.id == generation.id {
            break answered?;
        }
        generation = live;
    };
    render::out(&if args.json { as_json(&hits)? } else { as_text(&hits) })
}

/// Asks one generation, in the words of the model that made it.
async fn ask(
    spec: &PipelineSpec,
    plan: &Plan,
    engine: &embedding::Engine,
    generation: &sinks::Generation,
    query: &search::Query<'_>,
) -> Result<Vec<Hit>, BoxError> {
    let model = wiring::model_of(generation, plan, engine)?;
    let vectors =
        Vectors::open(spec, generation, &model, Absent::Refuse, &Shards::default()).await?;
    let tokenizer = engine.tokenizer(&model.path)?;
    // As long as this generation's are; the file may ask for others by now.
    let options = EmbedderOptions { dim: Some(model.dim), ..embed_options(spec) };
    let embedder = engine.embedder(&model.path, &options)?;
    let index = vectors.store.as_ref();
    Ok(search::search(query, tokenizer.as_ref(), embedder.as_ref(), index).await?)
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
