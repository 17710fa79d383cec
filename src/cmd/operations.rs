//! `semantik operations`: what was and is being done to a collection.

use pipeline::BoxError;

use crate::cli::OperationsVerb;
use crate::render;
use crate::wiring::{self, Database};

pub(super) async fn operations(verb: OperationsVerb) -> Result<(), BoxError> {
    match verb {
        OperationsVerb::Cancel { id, of } => {
            let (spec, _) = wiring::load(&of.config, &embedding::Engine::new())?;
            let database = Database::open(&spec).await?;
            database.postgres().operations().cancel(id).await?;
            render::out(&format!("operation {id} is cancelled\n"))
        }
    }
}
