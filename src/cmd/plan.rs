//! `semantik plan`: prints the dry run of a pipeline.

use std::path::Path;

use operations::{ChangeCause, DryRunReport, Tally, dry_run};
use pipeline::{BoxError, RunRequest};
use serde_json::{Map, Value, json};

use crate::cli::PlanArgs;
use crate::{composition, render};

pub(super) async fn plan(args: &PlanArgs) -> Result<(), BoxError> {
    let composition = composition::composition();
    let (spec, plan) = composition.load(&args.file)?;
    let request = RunRequest {
        allow_deletes: args.allow_deletes,
        retry_failed: args.retry_failed,
        ..RunRequest::default()
    };
    let collection = spec.file.collection.clone();
    let forecast = dry_run(spec, plan, composition, &request).await?;
    if args.json {
        return render::print_json(&as_json(&collection, &forecast));
    }
    render::print(&as_text(&args.file, &collection, &forecast))
}

fn as_json(collection: &str, forecast: &DryRunReport) -> Value {
    let counts: Map<String, Value> = ChangeCause::ALL
        .into_iter()
        .map(|cause| (cause.name().to_owned(), documents_of(forecast, cause).into()))
        .collect();
    let mut documents =
        json!({ "seen": forecast.documents_seen, "set_aside": set_aside_of(forecast) });
    documents.as_object_mut().expect("it is one").extend(counts);
    let reasons: Map<String, Value> = forecast
        .set_aside
        .iter()
        .map(|(reason, tally)| (reason.clone(), tally.documents.into()))
        .collect();
    let mut examples: Map<String, Value> = forecast
        .causes
        .iter()
        .map(|(cause, tally)| (cause.name().to_owned(), json!(tally.shown().0)))
        .collect();
    for (reason, tally) in &forecast.set_aside {
        examples.insert(format!("set_aside.{reason}"), json!(tally.shown().0));
    }
    let to_embed = if forecast.has_model { forecast.to_embed() } else { Tally::default() };
    let sources: Vec<_> = forecast
        .missing
        .iter()
        .map(|it| json!({ "source": it.source, "documents": it.documents, "of": it.of }))
        .collect();
    let mut json = json!({
        "collection": collection,
        "exists": forecast.exists,
        "operation": forecast.operation,
        "refused": forecast.refused,
        "generation": {
            "live": forecast.live,
            "new": is_new_generation(forecast),
            "because": forecast.rebuild_reasons,
            "resumed": forecast.resumed_generation,
        },
        "documents": documents,
        "set_aside": reasons,
        "deletions": {
            "documents": documents_of(forecast, ChangeCause::Deleted),
            "refused": forecast.deletions_refused,
            "sources": sources,
        },
        "nothing_matches": forecast.nothing_matches,
        "left_out": forecast.left_out,
        "to_embed": {
            "documents": to_embed.documents,
            "chunks": to_embed.chunks,
            "tokens": to_embed.tokens,
        },
        "estimate": {
            "seconds": forecast.seconds(),
            "tokens_per_second": forecast.rates.tokens_per_second,
            "documents_per_second": forecast.rates.documents_per_second,
            "operations": forecast.rates.operations,
        },
        "examples": examples,
    });
    if let Some(exports) = &forecast.exports {
        json["collection"] = Value::Null;
        json["exports"] = json!(exports);
    }
    json
}

fn documents_of(forecast: &DryRunReport, cause: ChangeCause) -> u64 {
    forecast.causes.get(&cause).map_or(0, |tally| tally.documents)
}

fn set_aside_of(forecast: &DryRunReport) -> u64 {
    forecast.set_aside.values().map(|tally| tally.documents).sum()
}

fn is_new_generation(forecast: &DryRunReport) -> bool {
    !forecast.rebuild_reasons.is_empty()
}

/// The effect of a run on the documents of a cause.
fn action_text(cause: ChangeCause, is_export: bool) -> &'static str {
    match cause {
        ChangeCause::Duplicate if is_export => "nothing; another document has the same content",
        _ if is_export => "exported",
        ChangeCause::New => "stored",
        ChangeCause::Edited => "stored again",
        ChangeCause::SettingsChanged => "processed again with the settings of the file",
        ChangeCause::Restored => "restored",
        ChangeCause::Retried => "tried again",
        ChangeCause::Unfinished => "stored again, because a run died while storing them",
        ChangeCause::Unchanged | ChangeCause::Touched => "nothing",
        ChangeCause::Renamed | ChangeCause::Copied => "the location is recorded",
        ChangeCause::Duplicate => "the location is recorded; the content is stored already",
        ChangeCause::Deleted => "deleted, because they are missing in their source",
    }
}

fn as_text(file: &Path, collection: &str, forecast: &DryRunReport) -> String {
    let mut out = format!("dry run of `semantik run {}` (nothing is changed):\n", file.display());
    out.push_str(&operation_text(collection, forecast));
    if forecast.refused.is_some() {
        return out;
    }
    let is_export = forecast.exports.is_some();
    let row = |what: &str, tally: &Tally, fate: &str| {
        let size =
            if tally.chunks == 0 { String::new() } else { render::format_count(tally.chunks) };
        vec![what.to_owned(), render::format_count(tally.documents), size, fate.to_owned()]
    };
    let mut rows: Vec<_> = forecast
        .causes
        .iter()
        .map(|(cause, tally)| {
            row(&cause.name().replace('_', " "), tally, action_text(*cause, is_export))
        })
        .collect();
    rows.extend(forecast.set_aside.iter().map(|(reason, tally)| {
        let fate = if is_export { "not exported" } else { "not stored" };
        row(&format!("set aside: {}", reason.replace('_', " ")), tally, fate)
    }));
    out.push_str(&render::table(&["documents", "count", "chunks", "effect"], rows));
    if let Some(left_out) = render::left_out_summary(&forecast.left_out) {
        out.push_str(&format!("left out: {left_out}\n"));
    }
    if let Some(error) = &forecast.nothing_matches {
        out.push_str(&format!("the run would end with an error: {error}\n"));
    }
    if let Some(refused) = &forecast.deletions_refused {
        out.push_str(&format!("the run would stop before the deletions: {refused}\n"));
    }
    let embed = forecast.to_embed();
    let counts = [
        render::count_of(embed.documents, "document"),
        render::count_of(embed.chunks, "chunk"),
        render::count_of(embed.tokens, "token"),
    ];
    match (forecast.has_model, is_export) {
        (true, false) => {
            let counts = counts.join(", ");
            out.push_str(&format!("to embed, at most: {counts}; {}\n", estimate(forecast)));
        }
        // No earlier operation measured the speed of an export.
        (true, true) => out.push_str(&format!("to embed, at most: {}\n", counts.join(", "))),
        (false, _) => out.push_str(&format!("to export: {}\n", counts[..2].join(", "))),
    }
    out.push_str(&examples(forecast));
    out
}

fn operation_text(collection: &str, forecast: &DryRunReport) -> String {
    if let Some(refused) = &forecast.refused {
        return format!("refused: {refused}\n");
    }
    let live = forecast.live.unwrap_or(1);
    if let Some(exports) = &forecast.exports {
        let targets: Vec<_> = exports.iter().map(|it| it.display().to_string()).collect();
        return match targets.as_slice() {
            [] => "export all documents; no collection is written\n".to_owned(),
            targets => format!(
                "export all documents to {}; no collection is written\n",
                targets.join(" and ")
            ),
        };
    }
    if !forecast.exists {
        return format!("create the collection `{collection}`\n");
    }
    if !is_new_generation(forecast) {
        return format!("bring the collection `{collection}` up to date (generation {live})\n");
    }
    let because = forecast.rebuild_reasons.join("; ");
    match forecast.resumed_generation {
        Some(resumed) => format!(
            "finish generation {resumed} of `{collection}` beside generation {live} and make it \
             live: {because}\n"
        ),
        None => format!(
            "build a new generation of `{collection}` beside generation {live} and make it live: \
             {because}\n"
        ),
    }
}

fn estimate(forecast: &DryRunReport) -> String {
    match forecast.seconds() {
        Some(seconds) => {
            format!("about {}, from the last operations", render::format_seconds(seconds))
        }
        None => "unknown duration, because no earlier operation measured the speed".to_owned(),
    }
}

/// Lists examples of the affected documents.
fn examples(forecast: &DryRunReport) -> String {
    let causes = forecast.causes.iter().filter(|(cause, _)| **cause != ChangeCause::Unchanged);
    let causes = causes.map(|(cause, tally)| (cause.name().replace('_', " "), tally));
    let reasons =
        forecast.set_aside.iter().map(|(reason, tally)| (reason.replace('_', " "), tally));
    let mut rows = Vec::new();
    for (what, tally) in causes.chain(reasons) {
        let (shown, more) = tally.shown();
        rows.extend(shown.iter().map(|uri| vec![what.clone(), uri.clone()]));
        if more > 0 {
            rows.push(vec![what, format!("… and {} more", render::format_count(more))]);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    render::next_table(&["example", "location"], rows)
}
