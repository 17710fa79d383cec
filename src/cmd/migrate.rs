//! `semantik migrate`: the schema of a metadata store, up, down, and where it stands.

use pipeline::BoxError;

use crate::cli::{Direction, StoreArgs};
use crate::render;
use crate::wiring::{Database, load};

pub(super) async fn migrate(direction: Direction) -> Result<(), BoxError> {
    match direction {
        Direction::Up { store } => {
            let database = open(&store).await?;
            database.postgres().migrate_up().await?;
            list(&database).await
        }
        Direction::Down { store, steps } => {
            let database = open(&store).await?;
            database.postgres().migrate_down(steps).await?;
            list(&database).await
        }
        Direction::Status { store } => list(&open(&store).await?).await,
    }
}

pub(super) async fn open(store: &StoreArgs) -> Result<Database, BoxError> {
    match (&store.config, &store.url) {
        (Some(file), _) => {
            let (spec, _) = load(file, &embedding::Engine::new())?;
            Database::open(&spec).await
        }
        (None, Some(url)) => Database::at(url).await,
        (None, None) => unreachable!("clap asks for one of them"),
    }
}

async fn list(database: &Database) -> Result<(), BoxError> {
    let migrations = database.postgres().migrate_status().await?;
    let rows = migrations.iter().map(|migration| {
        let applied = migration.applied_at.map_or_else(|| "not applied".to_owned(), render::time);
        vec![format!("{:04}", migration.version), migration.name.clone(), applied]
    });
    render::out(&render::table(&["version", "migration", "applied"], rows))
}
