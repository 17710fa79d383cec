//! Shared parts of the verbs that change a collection.

use std::io::{IsTerminal as _, stdin};

use pipeline::BoxError;
use tokio_util::sync::CancellationToken;

use crate::cli::ChangeArgs;
use crate::operate::{OperationOptions, Operator};
use crate::{compose, render};

/// Creates the operator of the pipeline file.
pub(super) async fn open_operator(change: &ChangeArgs) -> Result<Operator, BoxError> {
    let (spec, plan) = compose::load(&change.file, &embedding::EmbeddingEngine::new())?;
    let wish = OperationOptions { wait: change.wait, ..OperationOptions::default() };
    Operator::new(spec, &plan, CancellationToken::new(), wish).await
}

/// Asks for confirmation of a change; without a terminal, `--yes` is required.
pub(super) fn confirm(change: &ChangeArgs, what: &str) -> Result<(), BoxError> {
    confirm_unless(change.yes, what)
}

/// Like [`confirm`], for verbs without [`ChangeArgs`] arguments.
pub(super) fn confirm_unless(yes: bool, what: &str) -> Result<(), BoxError> {
    if yes {
        return Ok(());
    }
    if !stdin().is_terminal() {
        return Err(format!("this would {what}; pass --yes to confirm").into());
    }
    render::print_error_line(format_args!("This will {what}. Type `yes` to continue:"));
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err("not confirmed; nothing was changed".into()) }
}
