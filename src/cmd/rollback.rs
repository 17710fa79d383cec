//! `semantik rollback`: makes the previous generation live again.

use pipeline::BoxError;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cli::RollbackArgs;
use crate::operate::{GenerationSwap, OperationOptions, Operator};
use crate::{compose, render};

pub(super) async fn rollback(args: &RollbackArgs) -> Result<(), BoxError> {
    let (spec, plan) = compose::load(&args.file, &embedding::EmbeddingEngine::new())?;
    let wish = OperationOptions { wait: args.wait, ..OperationOptions::default() };
    let operator = Operator::new(spec, &plan, CancellationToken::new(), wish).await?;
    let GenerationSwap { live, retired } = operator.roll_back().await?;
    let words = format!(
        "generation {} ({}) is live again; generation {} ({}) is kept\n",
        live.number, live.model, retired.number, retired.model
    );
    render::print_answer(args.json, &json!({ "live": live, "retired": retired }), &words)
}
