//! The stores of a pipeline file.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Secret;
use crate::spec::automation::Webhooks;

/// Metadata store and vector store. `${VAR}` and `${VAR:-default}` are replaced here.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoresSpec {
    /// `embedded`, or the URL of a PostgreSQL database.
    pub postgres: PostgresSpec,
    /// `embedded`, or a Qdrant server.
    pub vectors: VectorsSpec,
    /// Folder of the embedded stores; default: the value of the environment variable
    /// `SEMANTIK_DATA`, else `.semantik` next to the file.
    pub data: Option<PathBuf>,
    /// Migration of an older database schema: `auto` migrates when a command writes, `manual`
    /// leaves it to `semantik migrate up`. A new database is always created, and a command that
    /// only reads never migrates.
    pub migrate: Migrate,
    /// Size limit in MiB of the cache of extracted texts and vectors in the data folder; 0 disables
    /// it.
    pub memo_mib: u32,
    /// HTTP endpoints for notifications, by the name that `notify` uses.
    pub webhooks: Webhooks,
}

impl Default for StoresSpec {
    fn default() -> Self {
        Self {
            postgres: PostgresSpec::default(),
            vectors: VectorsSpec::default(),
            data: None,
            migrate: Migrate::Auto,
            memo_mib: 4096,
            webhooks: Webhooks::new(),
        }
    }
}

/// When the schema of an older database is migrated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Migrate {
    /// By the next command that writes to the database.
    #[default]
    Auto,
    /// Only by `semantik migrate up`.
    Manual,
}

/// Location of the metadata store.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PostgresSpec {
    /// A private PostgreSQL cluster in the data folder.
    #[default]
    #[serde(skip)]
    Embedded,
    /// `embedded`, or `postgres://user:password@host/database`.
    Url(
        #[schemars(regex(pattern = r"^(embedded$|postgres(ql)?://|\$\{)"))]
        Secret,
    ),
}

/// Location of the vector store.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum VectorsSpec {
    /// Qdrant Edge, in this process.
    #[default]
    #[serde(skip)]
    Embedded,
    /// `embedded`.
    Word(Embedded),
    /// A Qdrant server or cluster.
    Server(QdrantSpec),
}

/// The value `embedded`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Embedded {
    /// In this process, in the data folder.
    Embedded,
}

/// A Qdrant server or cluster.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QdrantSpec {
    /// URL of its gRPC port: `http://localhost:6334`.
    #[schemars(regex(pattern = r"^(https?://|\$\{)"))]
    pub qdrant: Secret,
    /// API key of the server.
    #[serde(default)]
    pub api_key: Option<Secret>,
}
