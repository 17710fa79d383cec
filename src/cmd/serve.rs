//! `semantik serve`: runs the server.

use pipeline::BoxError;

use crate::cli::ServeArgs;
use crate::telemetry::Telemetry;

pub(super) async fn serve(args: &ServeArgs, telemetry: &Telemetry) -> Result<(), BoxError> {
    crate::serve::serve(args, telemetry).await
}
