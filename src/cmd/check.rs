//! `semantik check`: every fault of a pipeline file.

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
    let (_, plan) = wiring::load(&args.file, &embedding::Engine::new())?;
    if args.json {
        let columns = args.columns.then(|| plan.to_string());
        let file = args.file.display().to_string();
        return render::json(&json!({ "file": file, "faults": [], "columns": columns }));
    }
    if args.columns {
        render::out(&plan.to_string())?;
    }
    render::out(&format!("{}: no faults\n", args.file.display()))
}

/// Faults with their places; lines and columns count from 1, columns in characters.
fn as_json(findings: &Findings) -> Value {
    let faults = findings.findings.iter().map(|finding| {
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
    json!({ "file": findings.file, "faults": faults.collect::<Vec<_>>() })
}
