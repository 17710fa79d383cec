//! `semantik rollback`: back to the generation that was live before.

use pipeline::BoxError;
use tokio_util::sync::CancellationToken;

use crate::cli::RollbackArgs;
use crate::operate::{Operator, Wish};
use crate::{render, wiring};

pub(super) async fn rollback(args: &RollbackArgs) -> Result<(), BoxError> {
    let (spec, plan) = wiring::load(&args.file, &embedding::Engine::new())?;
    let wish = Wish { wait: args.wait, ..Wish::default() };
    let operator = Operator::new(spec, &plan, CancellationToken::new(), wish).await?;
    let swapped = operator.roll_back().await?;
    let (live, retired) = (swapped.live, swapped.retired);
    render::out(&format!(
        "generation {} ({}) is live again; generation {} ({}) is kept\n",
        live.number, live.embedding_model, retired.number, retired.embedding_model
    ))
}
