//! `semantik tune`: proposes settings that find more in one collection, and proves the gain on
//! questions that were not used for the choice. Changes nothing.

mod diff;

use std::path::Path;

use pipeline::{BoxError, SparseEncoder};
use search::evaluation::{Comparison, Estimate, MEASURES, Measure};
use search::tuning::{
    TuningOptions, TuningOutcome, TuningProposal, TuningReport, TuningRow, clicks_from_jsonl,
};
use search::{Target, TargetResolver as _};
use serde_json::{Map, Value, json};

use self::diff::ProposedFile;
use super::eval;
use crate::cli::TuneArgs;
use crate::composition::{self, FileTargets};
use crate::{model_download, render};

/// Questions made from the collection if there are no others.
const GENERATED: u32 = 400;

/// The measures of the table.
const SHOWN: [&str; 3] = ["ndcg@10", "recall@10", "mrr@10"];

pub(super) async fn tune(args: &TuneArgs) -> Result<(), BoxError> {
    let judgements = args.judgements.as_deref();
    let judgements =
        judgements.map(|file| eval::judgements(file, args.topics.as_deref())).transpose()?;
    let clicks = args.clicks.as_deref().map(|file| {
        let text = fs_err::read_to_string(file)?;
        clicks_from_jsonl(&text)
            .map_err(|error| BoxError::from(format!("{}: {error}", file.display())))
    });
    let clicks = clicks.transpose()?;
    let has_queries = judgements.is_some() || clicks.is_some();
    let generated = args.generated.unwrap_or(if has_queries { 0 } else { GENERATED });
    let options = TuningOptions {
        judgements,
        clicks,
        generated: usize::try_from(generated)?,
        seed: args.seed,
        max_chunks: usize::try_from(args.max_chunks)?,
    };
    model_download::fetch_models_of(&args.file).await?;
    let files = FileTargets::open(std::slice::from_ref(&args.file)).await?;
    let target = files.resolve("0").await?;
    check_sparse_options(&args.file, &target)?;
    let progress = |doing: String| render::print_error_line(format_args!("{doing} …"));
    let report = search::tuning::tune(&target, &options, &progress).await?;
    let proposed = match &report.outcome {
        TuningOutcome::Gain(proposal) => Some(diff::propose(&args.file, proposal)?),
        TuningOutcome::TooFew { .. } | TuningOutcome::NoGain(_) => None,
    };
    if args.json {
        return render::print_json(&as_json(args, &target.name, &report, proposed.as_ref()));
    }
    render::print(&as_text(args, &target.name, &report))?;
    if let (Some(proposed), TuningOutcome::Gain(proposal)) = (&proposed, &report.outcome) {
        // Lines of a diff are not wrapped.
        render::print_unwrapped(&diff_text(args, proposed, proposal))?;
    }
    Ok(())
}

/// # Errors
/// If the live generation was made with other options of sparse vectors than those of the file: the
/// changes of a proposal are relative to the file, its measures to the generation.
fn check_sparse_options(file: &Path, target: &Target) -> Result<(), BoxError> {
    let (_, plan) = composition::load(file)?;
    let facts = operations::collection_facts(&plan)?;
    let of_file = facts.sparse.as_ref().map(stages::sparse_encoder).transpose()?;
    let parameters = |encoder: &dyn SparseEncoder| {
        encoder.as_field_encoder().map(|encoder| encoder.parameters())
    };
    let of_file = of_file.and_then(|encoder| parameters(encoder.as_ref()));
    let live = target.sparse.then(|| parameters(target.sparse_encoder.as_ref())).flatten();
    if of_file != live {
        let number = target.generation;
        return Err(format!(
            "generation {number} has sparse vectors with other options than the file; run \
             `semantik run {}` first",
            file.display()
        )
        .into());
    }
    Ok(())
}

fn shown_measures() -> impl Iterator<Item = Measure> {
    SHOWN.iter().filter_map(|name| Measure::by_name(name))
}

fn as_text(args: &TuneArgs, name: &str, report: &TuningReport) -> String {
    let mut out = format!(
        "collection `{name}`: {} of {}\n",
        render::count_of(report.chunks as u64, "chunk"),
        render::count_of(report.documents as u64, "document"),
    );
    if (report.chunks as u64) < report.stored {
        let stored = render::count_of(report.stored, "chunk");
        out.push_str(&format!("  a sample by document; the collection has {stored}\n"));
    }
    out.push_str(&questions_line(args, report));
    if !report.rows.is_empty() {
        out.push_str(&table(report));
    }
    match &report.outcome {
        TuningOutcome::TooFew { needed } => out.push_str(&format!(
            "too few questions to prove anything: {needed} are needed. Nothing is proposed.\n"
        )),
        TuningOutcome::NoGain(reason) => {
            out.push_str(&format!("nothing is proposed: {reason}\n"));
        }
        TuningOutcome::Gain(proposal) => out.push_str(&gain(report, proposal)),
    }
    out
}

fn questions_line(args: &TuneArgs, report: &TuningReport) -> String {
    let kinds: Vec<String> =
        report.questions.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let count: usize = report.questions.values().sum();
    let of = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    let mut line = format!("questions: {count}{of}, seed {}\n", args.seed);
    if report.left_out > 0 {
        line.push_str(&format!(
            "  left out, because the collection has no relevant document: {}\n",
            report.left_out
        ));
    }
    if report.fitted_on > 0 {
        line.push_str(&format!(
            "  {} to choose settings, {} about other documents to prove them\n",
            report.fitted_on,
            report.held_out.len()
        ));
    }
    line
}

fn table(report: &TuningReport) -> String {
    let mut head = vec!["settings"];
    head.extend(shown_measures().map(|measure| measure.title));
    let rows = report.rows.iter().map(|row| {
        let mut cells = vec![row.name.to_owned()];
        cells.extend(shown_measures().map(|measure| {
            let Estimate { mean, low, high } = row.estimate(measure);
            format!("{mean:.3} ({low:.3}–{high:.3})")
        }));
        cells
    });
    format!(
        "\non the held-out questions, with 95 % confidence intervals:\n{}",
        render::table(&head, rows)
    )
}

fn gain(report: &TuningReport, proposal: &TuningProposal) -> String {
    let (Some(new), Some(old)) = (report.row("proposal"), report.row("today")) else {
        return String::new();
    };
    let mut out = "\nproposal against today:\n".to_owned();
    for measure in shown_measures() {
        let compared = new.against(old, measure);
        out.push_str(&format!("  {}: {}\n", measure.title, difference(&compared)));
    }
    let kinds = report.by_kind(new, old);
    if kinds.len() > 1 {
        for (kind, compared) in kinds {
            let title = MEASURES[0].title;
            out.push_str(&format!("  {title} of kind {kind}: {}\n", difference(&compared)));
        }
    }
    out.push_str(&format!("  chosen among {} settings\n\n", report.tried));
    let changes = proposal.search.iter().map(|change| ("search", change));
    let changes = changes.chain(proposal.sparse.iter().map(|change| ("sparse", change)));
    let rows = changes.map(|(place, change)| {
        let key = format!("{place}{}", change.key).replace('/', ".");
        vec![key, change.from.to_string(), change.to.to_string()]
    });
    out.push_str(&render::table(&["key", "today", "proposed"], rows));
    out
}

fn difference(compared: &Comparison) -> String {
    let Estimate { mean, low, high } = compared.difference;
    format!("{mean:+.3} ({low:+.3}–{high:+.3}, p = {:.4})", compared.p_value)
}

fn diff_text(args: &TuneArgs, proposed: &ProposedFile, proposal: &TuningProposal) -> String {
    let file = args.file.display();
    let mut out = format!("\n{}\n", proposed.diff);
    out.push_str("Nothing was changed. To apply the proposal, save the diff and run\n");
    out.push_str(&format!("`patch {file} DIFF`, then `semantik check {file}`.\n"));
    if !proposal.sparse.is_empty() {
        out.push_str(&format!(
            "The next `semantik run {file}` builds a new generation; vectors of unchanged text come \
             from the cache.\n"
        ));
    }
    out
}

fn as_json(
    args: &TuneArgs,
    name: &str,
    report: &TuningReport,
    proposed: Option<&ProposedFile>,
) -> Value {
    let rows = report.rows.iter().map(|row| {
        let today = report.rows.first().filter(|first| first.name != row.name);
        json!({ "name": row.name, "measures": measures(row, today) })
    });
    let kinds: Map<String, Value> =
        report.questions.iter().map(|(kind, count)| (kind.to_string(), json!(count))).collect();
    let by_kind = match (report.row("proposal"), report.row("today")) {
        (Some(new), Some(old)) => report
            .by_kind(new, old)
            .into_iter()
            .map(|(kind, compared)| (kind.to_string(), comparison(&compared)))
            .collect(),
        _ => Map::new(),
    };
    let (outcome, reason) = match &report.outcome {
        TuningOutcome::TooFew { needed } => {
            ("too_few_questions", Some(format!("{needed} questions are needed")))
        }
        TuningOutcome::NoGain(reason) => ("no_gain", Some(reason.clone())),
        TuningOutcome::Gain(_) => ("gain", None),
    };
    let changes = match &report.outcome {
        TuningOutcome::Gain(proposal) => changes(proposal),
        TuningOutcome::TooFew { .. } | TuningOutcome::NoGain(_) => Vec::new(),
    };
    json!({
        "collection": name,
        "chunks": report.chunks,
        "documents": report.documents,
        "stored_chunks": report.stored,
        "seed": args.seed,
        "questions": kinds,
        "left_out": report.left_out,
        "fitted_on": report.fitted_on,
        "proved_on": report.held_out.len(),
        "tried": report.tried,
        "settings": rows.collect::<Vec<_>>(),
        "by_kind": by_kind,
        "outcome": outcome,
        "reason": reason,
        "changes": changes,
        "new_generation": matches!(&report.outcome, TuningOutcome::Gain(it) if !it.sparse.is_empty()),
        "diff": proposed.map(|it| &it.diff),
    })
}

fn changes(proposal: &TuningProposal) -> Vec<Value> {
    let of = |place: &'static str, all: &[search::tuning::ParameterChange]| {
        let one = move |change: &search::tuning::ParameterChange| json!({ "in": place, "key": change.key, "from": change.from, "to": change.to });
        all.iter().map(one).collect::<Vec<Value>>()
    };
    [of("search", &proposal.search), of("sparse", &proposal.sparse)].concat()
}

fn measures(row: &TuningRow, today: Option<&TuningRow>) -> Map<String, Value> {
    let one = |measure: &Measure| {
        let Estimate { mean, low, high } = row.estimate(*measure);
        let against = today.map(|today| comparison(&row.against(today, *measure)));
        let said = json!({ "mean": mean, "low": low, "high": high, "against_today": against });
        (measure.name.to_owned(), said)
    };
    MEASURES.iter().map(one).collect()
}

fn comparison(compared: &Comparison) -> Value {
    let Estimate { mean, low, high } = compared.difference;
    json!({ "difference": mean, "low": low, "high": high, "p": compared.p_value })
}
