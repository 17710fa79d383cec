//! `semantik check`: reports all findings and warnings of a pipeline file.

use pipeline::{BoxError, Findings};
use serde_json::{Value, json};

use super::Exit;
use crate::cli::CheckArgs;
use crate::{composition, render};

pub(super) fn check(args: &CheckArgs) -> Exit {
    match try_check(args) {
        Ok(()) => Exit::Success,
        Err(error) => match error.downcast::<Findings>() {
            Ok(findings) if args.json => match render::print_json(&as_json(&findings)) {
                Ok(()) => Exit::FaultsReported,
                Err(error) => Exit::from(error),
            },
            Ok(findings) => Exit::BadConfig(*findings),
            Err(error) => Exit::from(error),
        },
    }
}

fn try_check(args: &CheckArgs) -> Result<(), BoxError> {
    let (spec, plan) = composition::load(&args.file)?;
    let warnings = plan.warnings(&spec);
    if args.json {
        let columns = args.columns.then(|| plan.to_string());
        let warnings =
            if warnings.is_empty() { Vec::new() } else { listed(&spec.to_findings(warnings)) };
        return render::print_json(&json!({
            "file": args.file.display().to_string(),
            "faults": [],
            "warnings": warnings,
            "columns": columns,
        }));
    }
    if args.columns {
        render::print(&plan.to_string())?;
    }
    let count = match warnings.len() {
        0 => String::new(),
        count => format!(", {}", render::count_of(count as u64, "warning")),
    };
    if !warnings.is_empty() {
        render::print_warnings(&spec.to_findings(warnings));
    }
    render::print(&format!("{}: no faults{count}\n", args.file.display()))
}

fn as_json(findings: &Findings) -> Value {
    json!({ "file": findings.file, "faults": listed(findings), "warnings": [] })
}

/// Findings with their positions; lines and columns count from 1, columns in characters.
fn listed(findings: &Findings) -> Vec<Value> {
    let listed = findings.findings.iter().map(|finding| {
        let (line, column) = findings.position(finding);
        json!({
            "message": finding.message,
            "help": finding.help,
            "line": line,
            "column": column,
            "start": finding.span.start,
            "end": finding.span.end,
        })
    });
    listed.collect()
}
