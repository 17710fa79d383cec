//! `semantik why`: explains the state of a document, or of a path that never became one.

use chrono::{DateTime, Utc};
use metadata::{
    Collection, DocumentAction, DocumentDetails, DocumentHistory, DocumentStatus, Generation,
    Postgres, SeenLocation,
};
use operations::Database;
use pipeline::{BoxError, Fingerprint, Location, Plan, SourceDecision};
use serde_json::{Value, json};

use super::document_ref::{DocumentRef, PathCandidates};
use super::document_view;
use crate::cli::WhyArgs;
use crate::composition;
use crate::render;

/// The collected facts about a document or location.
struct Explanation {
    /// The requested location, or the first one of the requested document.
    uri: Option<String>,
    story: DocumentHistory,
    live: Option<Generation>,
    /// What each source of the file decides about the location now.
    source_decisions: Vec<(String, SourceDecision)>,
    /// The fingerprint of the file's settings.
    fingerprint: Fingerprint,
    /// The pipeline file, as named on the command line.
    file: String,
}

pub(super) async fn why(args: &WhyArgs) -> Result<(), BoxError> {
    let (spec, plan) = composition::load(&args.of.config)?;
    operations::collection_facts(&plan)?;
    let found = Database::open_existing(&spec).await?;
    let place = found
        .as_ref()
        .and_then(|(database, collection)| Some((database.postgres(), collection.as_ref()?)));
    let mut places = plan.source_roots();
    if let Some((postgres, collection)) = place {
        let sources = postgres.collections().sources(collection.id).await?;
        places.extend(sources.into_iter().map(|source| source.source_path));
    }
    let named = DocumentRef::from_argument(&args.document, &places)?;
    let account = explain(named, &plan, place, args.of.config.display().to_string()).await?;
    let told = account.conclude();
    if args.of.json {
        render::print_json(&account.as_json(&told))
    } else {
        render::print(&account.as_text(&told))
    }
}

/// Explains a document of an open collection as JSON; `file` is the name of the pipeline file in
/// the answer.
///
/// # Errors
/// If the store cannot be reached, or no document has the id.
pub(crate) async fn explain_as_json(
    named: &str,
    plan: &Plan,
    place: (&Postgres, &Collection),
    file: String,
) -> Result<Value, BoxError> {
    let account = explain(DocumentRef::from_request(named), plan, Some(place), file).await?;
    Ok(account.as_json(&account.conclude()))
}

async fn explain(
    named: DocumentRef,
    plan: &Plan,
    place: Option<(&Postgres, &Collection)>,
    file: String,
) -> Result<Explanation, BoxError> {
    let mut account = Explanation {
        uri: None,
        story: DocumentHistory { document: None, locations: Vec::new(), actions: Vec::new() },
        live: None,
        source_decisions: Vec::new(),
        fingerprint: plan.fingerprint(),
        file,
    };
    let mut known_as = None;
    if let Some((postgres, collection)) = place {
        (account.story, known_as) = named.history(postgres, collection).await?;
        account.live = Some(postgres.generations().live(collection.id).await?);
    }
    account.uri = match named {
        DocumentRef::Location(spellings) => {
            Some(known_as.unwrap_or_else(|| likeliest_uri(spellings, plan)))
        }
        DocumentRef::Id(id) if account.story.document.is_none() => {
            return Err(format!("the collection has no document {id}").into());
        }
        DocumentRef::Id(_) => account.story.locations.first().map(|place| place.uri.clone()),
    };
    if let Some(uri) = &account.uri {
        let verdicts = plan.source_decisions(uri).into_iter();
        account.source_decisions = verdicts.map(|(id, verdict)| (id.to_owned(), verdict)).collect();
    }
    Ok(account)
}

/// Selects the URI of an unknown path that a source would give it.
fn likeliest_uri(spellings: PathCandidates, plan: &Plan) -> String {
    let rank = |uri: &String| {
        let ranks = plan.source_decisions(uri).into_iter().map(|(_, verdict)| match verdict {
            SourceDecision::Included(_) | SourceDecision::Rejected(_) => 0,
            SourceDecision::Excluded(_) | SourceDecision::Missing => 1,
            SourceDecision::OutsideSource => 2,
        });
        ranks.min().unwrap_or(2)
    };
    // Equal ranks: the first, which is the most likely spelling.
    spellings.uris.into_iter().min_by_key(rank).expect("a path has a spelling")
}

/// The explanation.
struct Conclusion {
    /// `stored`, `set_aside`, `withheld`, `deleted`, `waiting` or `unknown`.
    state: &'static str,
    /// The reason, in one sentence.
    reason: String,
    /// The effect of the next run, as the predicate of a sentence.
    next: String,
    /// Actions that would change the state.
    change: Vec<String>,
}

impl Explanation {
    fn location(&self) -> Option<&SeenLocation> {
        let uri = self.uri.as_ref()?;
        self.story.locations.iter().find(|place| place.uri == *uri)
    }

    fn conclude(&self) -> Conclusion {
        let set_aside = self.location().and_then(|place| place.set_aside.as_ref());
        let document = self.story.document.as_ref();
        if let Some(set_aside) = set_aside {
            return self.set_aside(set_aside, document);
        }
        match document {
            Some(document) if document.status == DocumentStatus::Completed => self.stored(document),
            Some(document) if document.status == DocumentStatus::Failed => {
                let reason = document.set_aside.clone().unwrap_or_default();
                let message = document.error_message.as_deref().unwrap_or_default();
                self.rejected(&reason, message, Some(document))
            }
            Some(document) if document.status == DocumentStatus::Deleted => self.deleted(document),
            Some(_) | None => self.unknown(),
        }
    }

    fn stored(&self, document: &DocumentDetails) -> Conclusion {
        let generation = self.live.as_ref().map_or(1, |live| live.number);
        let also = match self.location() {
            Some(place)
                if pipeline::uri::to_path(&place.uri)
                    .is_some_and(|path| path.to_string_lossy() != document.file_path) =>
            {
                format!(", as the document first stored from {}", document.file_path)
            }
            Some(_) | None => String::new(),
        };
        let because = format!(
            "it is in the index, in generation {generation}, with {}{also}",
            render::count_of(document.chunk_count, "chunk")
        );
        let is_current = document.fingerprint.as_deref() == Some(&self.fingerprint.0[..]);
        let next = match self.next_run_note() {
            Some(next) => next,
            None if is_current => "leaves it unchanged".to_owned(),
            None => "processes it again, because the settings have changed".to_owned(),
        };
        let change = vec![
            "edit the file".to_owned(),
            format!(
                "`semantik documents delete {} --config {}` deletes it",
                document.id, self.file
            ),
        ];
        Conclusion { state: "stored", reason: because, next, change }
    }

    fn set_aside(&self, set_aside: &Value, document: Option<&DocumentDetails>) -> Conclusion {
        let message = set_aside["message"].as_str().unwrap_or_default();
        if set_aside["reason"] != "withheld" {
            return self.rejected(set_aside, message, document);
        }
        let change = match document {
            Some(document) => {
                format!("`semantik documents undelete {} --config {}`", document.id, self.file)
            }
            None => {
                format!("`semantik documents undelete` with its path and --config {}", self.file)
            }
        };
        let next = "skips it while its content stays the same".to_owned();
        Conclusion {
            state: "withheld",
            reason: format!("it {message}"),
            next: self.next_run_note().unwrap_or(next),
            change: vec![change, "edit the file".to_owned()],
        }
    }

    /// Explains a document that a node has set aside.
    fn rejected(
        &self,
        reason: &Value,
        message: &str,
        document: Option<&DocumentDetails>,
    ) -> Conclusion {
        let node = reason["node"].as_str().unwrap_or_default();
        let reason = reason["reason"].as_str().unwrap_or_default();
        let mut change = vec![
            "edit the file, or change the settings of this node or of one before it".to_owned(),
        ];
        change.extend(match reason {
            "too_large" => Some("raise `max_size` of the scan node".to_owned()),
            "unsupported" => Some("convert it to a format that `extract` reads".to_owned()),
            "empty" if message.contains("OCR is not supported") => {
                Some("add a text layer with an OCR program".to_owned())
            }
            "empty" => Some("add text to it".to_owned()),
            "unrouted" => Some("add a `when:` that accepts it to a node".to_owned()),
            _ => None,
        });
        let retry_at = document.and_then(|document| document.retry_at);
        change.extend(retry_at.map(|at| {
            let from = render::format_time(at);
            format!("`semantik run {} --retry-failed` tries it again from {from}", self.file)
        }));
        let is_current =
            document.is_none_or(|it| it.fingerprint.as_deref() == Some(&self.fingerprint.0[..]));
        let next = match self.next_run_note() {
            Some(next) => next,
            None if document.is_none() && reason == "failed" => "tries to read it again".to_owned(),
            None if is_current => "skips it".to_owned(),
            None => "tries it again, because the settings have changed".to_owned(),
        };
        let because = format!(
            "it is not in the index: node `{node}` has set it aside ({reason}), because it \
             {message}"
        );
        Conclusion { state: "set_aside", reason: because, next, change }
    }

    fn deleted(&self, document: &DocumentDetails) -> Conclusion {
        let at = document.deleted_at.map(render::format_time).unwrap_or_default();
        let by_somebody =
            self.story.actions.first().filter(|deed| deed.action == "documents_deleted");
        let because = match by_somebody {
            Some(DocumentAction { by, .. }) => {
                let by = by.as_deref().unwrap_or("unknown");
                format!("it is not in the index: `{by}` deleted it on {at}")
            }
            None => format!(
                "it is not in the index: its last location disappeared, so it was deleted on {at}"
            ),
        };
        let next = self.next_run_note().unwrap_or_else(|| "skips it".to_owned());
        Conclusion { state: "deleted", reason: because, next, change: self.advice() }
    }

    fn unknown(&self) -> Conclusion {
        let because = if self.location().is_some() {
            "it is not in the index: a run has seen it and has not finished it"
        } else {
            "it is not in the index: no run has seen it"
        };
        let next = self.next_run_note().unwrap_or_else(|| "stores it".to_owned());
        let state = if self.location().is_some() { "waiting" } else { "unknown" };
        Conclusion { state, reason: because.to_owned(), next, change: self.advice() }
    }

    /// Actions that would make a source provide the location.
    fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        for (node, verdict) in &self.source_decisions {
            match verdict {
                SourceDecision::Included(_) => {
                    return vec![format!("`semantik run {}`", self.file)];
                }
                SourceDecision::Excluded(words) => {
                    advice.extend(
                        words.iter().map(|word| format!("node `{node}` excludes it: {word}")),
                    );
                }
                SourceDecision::Rejected(document) => {
                    advice.push(format!("node `{node}` sets it aside: it {}", document.reason));
                }
                SourceDecision::Missing => advice.push("create the file".to_owned()),
                SourceDecision::OutsideSource => {}
            }
        }
        if advice.is_empty() {
            advice.push("add it, or a folder that contains it, to `paths` of a source".to_owned());
        }
        advice
    }

    /// The effect of the next run according to the present state of the sources; `None` if they
    /// provide the location unchanged.
    fn next_run_note(&self) -> Option<String> {
        let uri = self.uri.as_ref();
        if uri.is_none() || self.source_decisions.is_empty() {
            return None;
        }
        let mut words = "does not see it: it is outside every source of the file".to_owned();
        for (node, verdict) in &self.source_decisions {
            match verdict {
                SourceDecision::Included(now) => {
                    return match self.location() {
                        Some(place) if is_unchanged(place, now) => None,
                        Some(_) => Some("reads it, because the file has changed".to_owned()),
                        None => Some("stores it".to_owned()),
                    };
                }
                SourceDecision::Rejected(document) => {
                    let is_known = self
                        .location()
                        .is_some_and(|place| is_unchanged(place, &document.location));
                    if is_known {
                        return None;
                    }
                    words = format!("sets it aside at `{node}`, because it {}", document.reason);
                }
                SourceDecision::Excluded(because) => {
                    let because = because.join("; ");
                    words = format!("does not see it: {because}{}", self.deletion_note());
                }
                SourceDecision::Missing => {
                    words = format!(
                        "does not find it: the file does not exist{}",
                        self.deletion_note()
                    );
                }
                SourceDecision::OutsideSource => {}
            }
        }
        Some(words)
    }

    /// The consequence for a known location that no source provides any more.
    fn deletion_note(&self) -> &'static str {
        match self.location() {
            Some(_) => ", so the location is removed, and the document if it has no other",
            None => "",
        }
    }

    fn as_text(&self, told: &Conclusion) -> String {
        let row = |what: &str, words: String| vec![what.to_owned(), words];
        let named = self.uri.clone().unwrap_or_else(|| {
            self.story.document.as_ref().map_or_else(String::new, |it| it.file_path.clone())
        });
        let mut rows = vec![row("location", named), row("why", told.reason.clone())];
        rows.push(row("the next run", told.next.clone()));
        rows.extend(told.change.iter().map(|change| row("to change this", change.clone())));
        let mut out = render::table(&[], rows);
        if let Some(document) = &self.story.document {
            out.push_str(&render::next_table(&[], document_view::document_rows(document)));
        }
        if !self.story.locations.is_empty() {
            let places = document_view::location_rows(&self.story.locations);
            out.push_str(&render::next_table(&document_view::LOCATION_COLUMNS, places));
        }
        if !self.story.actions.is_empty() {
            let rows = self.story.actions.iter().map(|deed| {
                let by = deed.by.clone().unwrap_or_default();
                vec![deed.action.replace('_', " "), by, render::format_time(deed.at)]
            });
            out.push_str(&render::next_table(&["action", "by", "at"], rows));
        }
        out
    }

    fn as_json(&self, told: &Conclusion) -> Value {
        let verdict = |verdict: &SourceDecision| match verdict {
            SourceDecision::Included(_) => json!({ "says": "given" }),
            SourceDecision::Rejected(document) => json!({
                "says": "set_aside", "reason": document.reason.code(), "because": [document.reason.to_string()],
            }),
            SourceDecision::Excluded(because) => json!({ "says": "left_out", "because": because }),
            SourceDecision::Missing => json!({ "says": "not_there" }),
            SourceDecision::OutsideSource => json!({ "says": "elsewhere" }),
        };
        let sources = self.source_decisions.iter().map(|(node, it)| (node.clone(), verdict(it)));
        let deeds = self.story.actions.iter().map(|deed| {
            json!({ "action": deed.action, "by": deed.by, "at": deed.at, "operation_id": deed.operation_id })
        });
        json!({
            "uri": self.uri,
            "state": told.state,
            "why": told.reason,
            "next_run": told.next,
            "to_change": told.change,
            "generation": self.live.as_ref().map(|live| live.number),
            "document": self.story.document.as_ref().map(document_view::document_json),
            "places": self.story.locations.iter().map(document_view::location_json).collect::<Vec<_>>(),
            "deeds": deeds.collect::<Vec<_>>(),
            "sources": sources.collect::<serde_json::Map<_, _>>(),
        })
    }
}

/// `true` if size, times and inode are the same as when the file was last seen.
fn is_unchanged(place: &SeenLocation, now: &Location) -> bool {
    let micros = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp_micros());
    (place.size.cast_unsigned(), micros(place.mtime), micros(place.ctime))
        == (now.size, now.mtime, now.ctime)
        && place.inode.map(i64::cast_unsigned) == now.inode
}
