//! `semantik rollback`: makes the previous generation live again.

use operations::GenerationSwap;
use pipeline::{BoxError, OperationRequest};
use serde_json::json;

use crate::cli::RollbackArgs;
use crate::{composition, render};

pub(super) async fn rollback(args: &RollbackArgs) -> Result<(), BoxError> {
    let operator = composition::open_operator(&args.file, args.wait).await?;
    let swap = operator.execute(&OperationRequest::RollBack).await?.swap;
    let swap = swap.ok_or("the result of the operation lacks the live generation")?;
    let GenerationSwap { live, retired } = swap;
    let words = format!(
        "generation {} ({}) is live again; generation {} ({}) is kept\n",
        live.number, live.model, retired.number, retired.model
    );
    render::print_answer(args.json, &json!({ "live": live, "retired": retired }), &words)
}
