//! `semantik check`: every fault of a pipeline file.

use pipeline::BoxError;

use crate::cli::CheckArgs;
use crate::{render, wiring};

pub(super) fn check(args: &CheckArgs) -> Result<(), BoxError> {
    let (_, plan) = wiring::load(&args.file, &embedding::Engine::new())?;
    if args.columns {
        render::out(&plan.to_string())?;
    }
    render::out(&format!("{}: no faults\n", args.file.display()))
}
