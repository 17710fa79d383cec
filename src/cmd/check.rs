//! `semantik check`: every fault of a pipeline file, and what a run of it would find wanting.

use pipeline::BoxError;

use crate::cli::CheckArgs;
use crate::{render, wiring};

pub(super) fn check(args: &CheckArgs) -> Result<(), BoxError> {
    let (spec, plan) = wiring::load(&args.file, &embedding::Engine::new())?;
    if args.columns {
        render::out(&plan.to_string())?;
    }
    let warnings = plan.warnings(&spec);
    let count = match warnings.len() {
        0 => String::new(),
        count => format!(", {}", render::several(count as u64, "warning")),
    };
    if !warnings.is_empty() {
        render::warnings(&spec.refuse(warnings));
    }
    render::out(&format!("{}: no faults{count}\n", args.file.display()))
}
