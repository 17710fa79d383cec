//! Shared parts of the verbs that change a collection.

use std::io::{IsTerminal as _, stdin};

use operations::Operator;
use pipeline::BoxError;

use crate::cli::ChangeArgs;
use crate::{composition, render};

/// Creates the operator of the pipeline file.
pub(super) async fn open_operator(change: &ChangeArgs) -> Result<Operator, BoxError> {
    composition::open_operator(&change.file, change.wait).await
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
