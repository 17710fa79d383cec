//! `semantik rollback`: makes the previous generation live again.

use pipeline::BoxError;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cli::RollbackArgs;
use crate::operate::{Operator, Swap, Wish};
use crate::{render, wiring};

pub(super) async fn rollback(args: &RollbackArgs) -> Result<(), BoxError> {
    let (spec, plan) = wiring::load(&args.file, &embedding::Engine::new())?;
    let wish = Wish { wait: args.wait, ..Wish::default() };
    let operator = Operator::new(spec, &plan, CancellationToken::new(), wish).await?;
    let Swap { live, retired } = operator.roll_back().await?;
    let words = format!(
        "generation {} ({}) is live again; generation {} ({}) is kept\n",
        live.number, live.model, retired.number, retired.model
    );
    render::answer(args.json, &json!({ "live": live, "retired": retired }), &words)
}
