//! `semantik verify`: compares the metadata with the vectors.

use operations::{DocumentFault, Operator, VerifyReport};
use pipeline::{BoxError, OperationRequest, RunRequest};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Exit;
use crate::cli::VerifyArgs;
use crate::remote::RemoteServer;
use crate::{composition, model_download, render};

/// Documents or files shown per kind of problem.
const MAX_SHOWN: usize = 20;

pub(super) async fn verify(args: &VerifyArgs) -> Exit {
    match try_verify(args).await {
        Ok(exit) => exit,
        Err(error) => Exit::from(error),
    }
}

async fn try_verify(args: &VerifyArgs) -> Result<Exit, BoxError> {
    // A repair may embed missing documents.
    if args.repair {
        model_download::fetch_models_of(&args.file).await?;
    }
    let operator = if args.repair {
        composition::open_operator(&args.file, args.wait).await?
    } else {
        composition::open_reading_operator(&args.file, args.wait).await?
    };
    let before = match local_server(args, &operator).await? {
        Some((server, collection)) => server.verify(collection, args.wait)?,
        None => operator.verify().await?,
    };
    let after = if args.repair && !before.is_consistent() {
        if before.needs_rebuild() {
            // From the sources and the cache, as a new generation.
            let rebuild = RunRequest { rebuild: true, ..RunRequest::default() };
            operator.execute(&OperationRequest::Run(rebuild)).await?;
        } else {
            operator.execute(&OperationRequest::Repair).await?;
            operator.execute(&OperationRequest::Run(RunRequest::default())).await?;
        }
        Some(operator.verify().await?)
    } else {
        None
    };
    let last = after.as_ref().unwrap_or(&before);
    if args.json {
        let mut json = as_json(&before);
        json["consistent"] = last.is_consistent().into();
        json["repaired"] = (after.is_some() && last.is_consistent()).into();
        json["left"] = after.as_ref().filter(|after| !after.is_consistent()).map(as_json).into();
        render::print_json(&json)?;
    } else {
        render::print(&as_text(&before))?;
        match &after {
            Some(after) if after.is_consistent() => {
                render::print("repaired: the stores agree\n")?;
            }
            Some(after) => {
                render::print(&format!(
                    "some problems could not be repaired:\n{}",
                    as_text(after)
                ))?;
            }
            None => {}
        }
    }
    Ok(match (last.is_consistent(), args.repair) {
        (true, _) => Exit::Success,
        (false, false) => {
            Exit::Failed(format!("{}; run again with `--repair`", summary(last)).into())
        }
        (false, true) => {
            let (found, file) = (summary(last), args.file.display());
            Exit::Failed(format!("{found}; `semantik reindex {file}` rebuilds the vectors").into())
        }
    })
}

/// The server that has the embedded vectors of the file open, and the collection. A repair compares
/// in this process, between its operations.
async fn local_server(
    args: &VerifyArgs,
    operator: &Operator,
) -> Result<Option<(RemoteServer, Uuid)>, BoxError> {
    if args.repair {
        return Ok(None);
    }
    let collection = operator.collection().await?.id;
    let server = RemoteServer::find_local([operator.spec()], &[collection])?;
    Ok(server.map(|server| (server, collection)))
}

/// A short summary of the findings.
fn summary(findings: &VerifyReport) -> &'static str {
    match findings.needs_rebuild() {
        true => "the vectors are damaged",
        false => "the stores differ",
    }
}

fn as_json(findings: &VerifyReport) -> Value {
    let integrity = &findings.integrity;
    let mut points = Map::new();
    for (kind, troubles) in findings.faults() {
        let some = troubles.iter().take(MAX_SHOWN).map(|DocumentFault { document, path, points }| {
            json!({ "document": document, "path": path, "points": points })
        });
        let value = json!({
            "documents": troubles.len(),
            "points": points_of(troubles),
            "some": some.collect::<Vec<_>>(),
        });
        points.insert(kind.to_owned(), value);
    }
    json!({
        "generation": findings.generation,
        "consistent": findings.is_consistent(),
        "documents": integrity.documents,
        "chunks": integrity.chunks,
        "points": findings.points,
        "wrong_points": points,
        "damaged_files": {
            "count": findings.files.len(),
            "some": findings.files.iter().take(MAX_SHOWN).map(ToString::to_string).collect::<Vec<_>>(),
        },
        "unreadable_points": findings.unreadable,
        "unusable": findings.unusable,
        "locations_without_document": {
            "count": integrity.homeless_locations,
            "some": integrity.homeless_uris,
        },
        "documents_without_location": {
            "count": integrity.placeless_documents,
            "some": integrity.placeless_paths,
        },
        "documents_half_written": {
            "count": integrity.unfinished_documents,
            "some": integrity.unfinished_ids,
        },
        "counts_agree": integrity.counts_agree(),
        "documents_in_progress": findings.in_progress,
    })
}

fn points_of(troubles: &[DocumentFault]) -> u64 {
    troubles.iter().map(|trouble| trouble.points).sum()
}

fn as_text(findings: &VerifyReport) -> String {
    let integrity = &findings.integrity;
    if findings.unusable.is_some() || !findings.files.is_empty() {
        return damage_as_text(findings);
    }
    let mut out = format!(
        "generation {}: {} with {}, {}\n",
        findings.generation,
        render::count_of(integrity.documents, "document"),
        render::count_of(integrity.chunks, "chunk"),
        render::count_of(findings.points, "point"),
    );
    if let Some(documents) = findings.in_progress {
        let documents = render::count_of(documents, "document");
        out.push_str(&format!(
            "an operation is working: {documents} that it changes, the files and the metadata were \
             not compared; `--wait` compares everything after it\n"
        ));
    }
    if findings.is_consistent() {
        out.push_str("the stores agree\n");
        return out;
    }
    let mut rows = Vec::new();
    for (kind, troubles) in findings.faults().filter(|(_, troubles)| !troubles.is_empty()) {
        let what = match kind {
            "missing" => "missing points",
            "surplus" => "surplus points",
            "of_deleted_documents" => "points of documents that are not stored",
            "damaged" => "damaged points",
            _ => "points of unknown documents",
        };
        let shown = render::shown(troubles.len(), MAX_SHOWN);
        for trouble in troubles.iter().take(shown) {
            let name = trouble.path.clone().unwrap_or_else(|| trouble.document.to_string());
            rows.push(vec![what.to_owned(), render::format_count(trouble.points), name]);
        }
        if let more @ 1.. = troubles.len() - shown {
            rows.push(vec![what.to_owned(), String::new(), format!("… and {more} more documents")]);
        }
    }
    if findings.unreadable > 0 {
        let number = render::format_count(findings.unreadable);
        rows.push(vec!["unreadable points".to_owned(), number, String::new()]);
    }
    for (what, count, some) in [
        (
            "locations without a document",
            integrity.homeless_locations,
            integrity.homeless_uris.clone(),
        ),
        (
            "documents without a location",
            integrity.placeless_documents,
            integrity.placeless_paths.clone(),
        ),
        (
            "documents left incomplete by a dead run",
            integrity.unfinished_documents,
            integrity.unfinished_ids.iter().map(ToString::to_string).collect(),
        ),
    ] {
        if count > 0 {
            rows.push(vec![what.to_owned(), render::format_count(count), some.join(", ")]);
        }
    }
    if !integrity.counts_agree() {
        let noted: Vec<_> = integrity.noted.iter().map(ToString::to_string).collect();
        let is = [integrity.documents, integrity.chunks, integrity.bytes].map(|n| n.to_string());
        let words = format!("recorded {}; actual {}", noted.join(", "), is.join(", "));
        rows.push(vec![
            "documents, chunks, bytes of the collection".to_owned(),
            String::new(),
            words,
        ]);
    }
    out.push_str(&render::table(&["problem", "count", "location"], rows));
    out
}

/// The output for damaged vectors, which were not compared.
fn damage_as_text(findings: &VerifyReport) -> String {
    let mut out = format!("generation {}: the vectors are damaged\n", findings.generation);
    if let Some(why) = &findings.unusable {
        out.push_str(&format!("{why}\n"));
    }
    let shown = render::shown(findings.files.len(), MAX_SHOWN);
    let files = findings.files.iter().take(shown);
    let mut rows: Vec<_> = files.map(|it| vec![it.file.clone(), it.fault.to_string()]).collect();
    if let more @ 1.. = findings.files.len() - shown {
        rows.push(vec![format!("… and {more} more files"), String::new()]);
    }
    if !rows.is_empty() {
        out.push_str(&render::table(&["file", "damage"], rows));
    }
    out
}
