//! `semantik migrate`: applies, reverts and lists migrations of a metadata store.

use metadata::DowngradePlan;
use operations::Database;
use pipeline::{BoxError, PipelineSpec, VectorsSpec};
use serde_json::json;

use super::confirm;
use crate::cli::{Direction, ExplicitStoreArgs, StoreArgs};
use crate::composition::load;
use crate::render;

/// Collections that are listed by name.
const MAX_NAMED: usize = 20;

pub(super) async fn migrate(direction: Direction) -> Result<(), BoxError> {
    match direction {
        Direction::Up { store, json } => {
            let database = open(&store).await?;
            database.postgres().migrate_up().await?;
            list(&database, json).await
        }
        Direction::Down { store, steps, yes, json } => down(&store, steps, yes, json).await,
        Direction::Status { store, json } => list(&open(&store).await?, json).await,
    }
}

pub(super) async fn open(store: &StoreArgs) -> Result<Database, BoxError> {
    match (&store.file, &store.url) {
        (Some(file), _) => {
            let (spec, _) = load(file)?;
            Database::open(&spec).await
        }
        (None, Some(url)) => Database::at(url).await,
        (None, None) => unreachable!("clap requires one of them"),
    }
}

/// Opens the store for a read-only verb.
///
/// # Errors
/// If its schema has another version than this program needs, or it has no tables.
pub(super) async fn open_read_only(store: &StoreArgs) -> Result<Database, BoxError> {
    let database = open(store).await?;
    let named = match &store.file {
        Some(file) => file.display().to_string(),
        None => "--url URL".to_owned(),
    };
    if database.is_empty(&named).await? {
        let place = database.postgres().describe();
        return Err(format!("{place}, has no tables: run `semantik migrate up {named}`").into());
    }
    Ok(database)
}

async fn down(
    store: &ExplicitStoreArgs,
    steps: usize,
    yes: bool,
    as_json: bool,
) -> Result<(), BoxError> {
    let (spec, database) = match (&store.file, &store.url) {
        (Some(file), _) => {
            let (spec, _) = load(file)?;
            let database = Database::open(&spec).await?;
            (Some(spec), database)
        }
        (None, Some(url)) => (None, Database::at(url).await?),
        (None, None) => unreachable!("clap requires one of them"),
    };
    let postgres = database.postgres();
    let what = postgres.plan_downgrade(steps).await?;
    if what.migrations.is_empty() && as_json {
        return list(&database, as_json).await;
    }
    if what.migrations.is_empty() {
        return render::print("no migration is applied, so none can be reverted\n");
    }
    let place = postgres.describe();
    render::print_error_line(format_args!("{}", describe_downgrade(&what, &place)));
    confirm::confirm_unless(
        yes,
        &format!("revert these migrations in {place} and permanently delete the data above"),
    )?;
    postgres.migrate_down(steps).await?;
    if !what.vectors.is_empty() {
        render::print_error_line(format_args!(
            "{}",
            orphaned_vectors_note(&what.vectors, spec.as_ref())
        ));
    }
    list(&database, as_json).await
}

/// Describes the effect of a downgrade for the confirmation.
fn describe_downgrade(what: &DowngradePlan, place: &str) -> String {
    let mut out = format!("Migrations to revert in {place}:\n");
    for it in &what.migrations {
        out.push_str(&format!("  {:04} {}\n", it.version, it.name));
    }
    out.push_str("This permanently deletes:\n");
    for (table, rows) in &what.tables {
        out.push_str(&format!("  the table {table} with {}\n", render::count_of(*rows, "row")));
    }
    for column in &what.columns {
        out.push_str(&format!("  the column {column}\n"));
    }
    if what.tables.is_empty() && what.columns.is_empty() {
        out.push_str("  only indexes and functions, no data\n");
    }
    let named = render::shown(what.collections.len(), MAX_NAMED);
    for (name, documents) in what.collections.iter().take(named) {
        let documents = render::count_of(*documents, "document");
        out.push_str(&format!("  the collection `{name}` with {documents}\n"));
    }
    if let more @ 1.. = what.collections.len() - named {
        out.push_str(&format!("  and {} more\n", render::count_of(more, "collection")));
    }
    out.truncate(out.trim_end().len());
    out
}

/// Lists the vector collections without metadata, and how to remove them.
fn orphaned_vectors_note(vectors: &[String], spec: Option<&PipelineSpec>) -> String {
    let mut out = "These vector collections have no metadata any more".to_owned();
    match spec.map(|spec| (spec, &spec.file.stores.vectors)) {
        Some((_, VectorsSpec::Server(_))) => {
            out.push_str("; delete them from the Qdrant server (6333 is its default HTTP port):\n");
            for name in vectors {
                out.push_str(&format!("  curl -X DELETE http://HOST:6333/collections/{name}\n"));
            }
        }
        Some((spec, VectorsSpec::Embedded | VectorsSpec::Word(_))) => {
            let folder = spec.data_folder().join("vectors");
            let (here, elsewhere): (Vec<&String>, Vec<&String>) =
                vectors.iter().partition(|name| folder.join(name).exists());
            out.push_str("; remove those of this file:\n");
            for name in here {
                out.push_str(&format!("  rm -r '{}'\n", folder.join(name).display()));
            }
            for name in elsewhere {
                out.push_str(&format!("  {name}, in the store of another file\n"));
            }
        }
        None => {
            out.push_str(
                "; remove them from the data folder (`vectors/NAME`) or from the Qdrant server:\n",
            );
            for name in vectors {
                out.push_str(&format!("  {name}\n"));
            }
        }
    }
    out.truncate(out.trim_end().len());
    out
}

async fn list(database: &Database, as_json: bool) -> Result<(), BoxError> {
    let migrations = database.postgres().migrate_status().await?;
    if as_json {
        let migrations = migrations.iter().map(
            |it| json!({ "version": it.version, "name": it.name, "applied_at": it.applied_at }),
        );
        return render::print_json(&migrations.collect());
    }
    let rows = migrations.iter().map(|migration| {
        let applied =
            migration.applied_at.map_or_else(|| "not applied".to_owned(), render::format_time);
        vec![format!("{:04}", migration.version), migration.name.clone(), applied]
    });
    render::print(&render::table(&["version", "migration", "applied"], rows))
}
