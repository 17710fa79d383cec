//! `semantik migrate`: the schema of a metadata store, up, down, and where it stands.

use pipeline::BoxError;
use serde_json::json;

use crate::cli::{Direction, StoreArgs};
use crate::render;
use crate::wiring::{Database, load};

pub(super) async fn migrate(direction: Direction) -> Result<(), BoxError> {
    match direction {
        Direction::Up { store, json } => {
            let database = open(&store).await?;
            database.postgres().migrate_up().await?;
            list(&database, json).await
        }
        Direction::Down { store, steps, json } => {
            let database = open(&store).await?;
            database.postgres().migrate_down(steps).await?;
            list(&database, json).await
        }
        Direction::Status { store, json } => list(&open(&store).await?, json).await,
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

async fn list(database: &Database, as_json: bool) -> Result<(), BoxError> {
    let migrations = database.postgres().migrate_status().await?;
    if as_json {
        let migrations = migrations.iter().map(
            |it| json!({ "version": it.version, "name": it.name, "applied_at": it.applied_at }),
        );
        return render::json(&migrations.collect());
    }
    let rows = migrations.iter().map(|migration| {
        let applied = migration.applied_at.map_or_else(|| "not applied".to_owned(), render::time);
        vec![format!("{:04}", migration.version), migration.name.clone(), applied]
    });
    render::out(&render::table(&["version", "migration", "applied"], rows))
}
