//! `semantik rollback`: makes the previous generation live again.

use operations::{GenerationSwap, OperationOptions};
use pipeline::BoxError;
use serde_json::json;

use crate::cli::RollbackArgs;
use crate::{composition, render};

pub(super) async fn rollback(args: &RollbackArgs) -> Result<(), BoxError> {
    let wish = OperationOptions { wait: args.wait, ..OperationOptions::default() };
    let operator = composition::open_operator(&args.file, wish).await?;
    let GenerationSwap { live, retired } = operator.roll_back().await?;
    let words = format!(
        "generation {} ({}) is live again; generation {} ({}) is kept\n",
        live.number, live.model, retired.number, retired.model
    );
    render::print_answer(args.json, &json!({ "live": live, "retired": retired }), &words)
}
