//! `semantik serve`: the HTTP front end.

use pipeline::BoxError;

use crate::cli::ServeArgs;

pub(super) async fn serve(args: &ServeArgs) -> Result<(), BoxError> {
    crate::serve::serve(args).await
}
