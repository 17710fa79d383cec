//! What the verbs that change a collection share.

use std::io::{IsTerminal as _, stdin};

use pipeline::BoxError;
use tokio_util::sync::CancellationToken;

use crate::cli::Change;
use crate::operate::{Operator, Wish};
use crate::{render, wiring};

/// The operator of the file that the verb names.
pub(super) async fn operator(change: &Change) -> Result<Operator, BoxError> {
    let (spec, plan) = wiring::load(&change.config, &embedding::Engine::new())?;
    let wish = Wish { wait: change.wait, ..Wish::default() };
    Operator::new(spec, &plan, CancellationToken::new(), wish).await
}

/// Asks whether something is really to be done; where nobody can answer, `--yes` has to say so.
pub(super) fn confirm(change: &Change, what: &str) -> Result<(), BoxError> {
    ask(change.yes, what)
}

/// The same, where `--yes` was given or not.
pub(super) fn ask(yes: bool, what: &str) -> Result<(), BoxError> {
    if yes {
        return Ok(());
    }
    if !stdin().is_terminal() {
        return Err(format!("this would {what}; say --yes if that is meant").into());
    }
    render::say(format_args!("This will {what}. Type `yes` to go on:"));
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err("nothing was done".into()) }
}
