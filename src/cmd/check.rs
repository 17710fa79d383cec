//! `semantik check`: reports all findings and warnings of a pipeline file.

use pipeline::{BoxError, Findings};
use serde_json::{Value, json};

use super::Exit;
use crate::cli::CheckArgs;
use crate::{render, wiring};

pub(super) fn check(args: &CheckArgs) -> Exit {
    match try_check(args) {
        Ok(()) => Exit::Fine,
        Err(error) => match error.downcast::<Findings>() {
            Ok(findings) if args.json => match render::json(&as_json(&findings)) {
                Ok(()) => Exit::FaultsTold,
                Err(error) => Exit::from(error),
            },
            Ok(findings) => Exit::BadConfig(*findings),
            Err(error) => Exit::from(error),
        },
    }
}

fn try_check(args: &CheckArgs) -> Result<(), BoxError> {
    let (spec, plan) = wiring::load(&args.file, &embedding::Engine::new())?;
    let warnings = plan.warnings(&spec);
    if args.json {
        let columns = args.columns.then(|| plan.to_string());
        let warnings =
            if warnings.is_empty() { Vec::new() } else { listed(&spec.refuse(warnings)) };
        return render::json(&json!({
            "file": args.file.display().to_string(),
            "faults": [],
            "warnings": warnings,
            "columns": columns,
        }));
    }
    if args.columns {
        render::out(&plan.to_string())?;
    }
    let count = match warnings.len() {
        0 => String::new(),
        count => format!(", {}", render::several(count as u64, "warning")),
    };
    if !warnings.is_empty() {
        render::warnings(&spec.refuse(warnings));
    }
    render::out(&format!("{}: no faults{count}\n", args.file.display()))
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
            "start": finding.at.start,
            "end": finding.at.end,
        })
    });
    listed.collect()
}
