//! Shared parts of the verbs that change a collection.

use std::io::{IsTerminal as _, stdin};

use pipeline::BoxError;
use tokio_util::sync::CancellationToken;

use crate::cli::Change;
use crate::operate::{Operator, Wish};
use crate::{render, wiring};

/// Creates the operator of the pipeline file.
pub(super) async fn operator(change: &Change) -> Result<Operator, BoxError> {
    let (spec, plan) = wiring::load(&change.config, &embedding::Engine::new())?;
    let wish = Wish { wait: change.wait, ..Wish::default() };
    Operator::new(spec, &plan, CancellationToken::new(), wish).await
}

/// Asks for confirmation of a change; without a terminal, `--yes` is required.
pub(super) fn confirm(change: &Change, what: &str) -> Result<(), BoxError> {
    ask(change.yes, what)
}

/// Like [`confirm`], for verbs without [`Change`] arguments.
pub(super) fn ask(yes: bool, what: &str) -> Result<(), BoxError> {
    if yes {
        return Ok(());
    }
    if !stdin().is_terminal() {
        return Err(format!("this would {what}; pass --yes to confirm").into());
    }
    render::say(format_args!("This will {what}. Type `yes` to continue:"));
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err("not confirmed; nothing was changed".into()) }
}
