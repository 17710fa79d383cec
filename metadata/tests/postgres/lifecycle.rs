//! The contract of the port `Lifecycle`, on Postgres and in memory.

use std::sync::Arc;

use futures::future::BoxFuture;
use metadata::contract::{LIFECYCLE_CHECKS, Passes};
use metadata::{MemoryMetadata, RunMetadata};
use pipeline::Lifecycle;
use uuid::Uuid;

use crate::support::Database;

struct InPostgres(RunMetadata);

impl Passes for InPostgres {
    fn begin(&self) -> BoxFuture<'_, Arc<dyn Lifecycle>> {
        Box::pin(async {
            Arc::new(self.0.clone().with_current_time().await.unwrap()) as Arc<dyn Lifecycle>
        })
    }
}

struct InMemory(Arc<MemoryMetadata>);

impl Passes for InMemory {
    fn begin(&self) -> BoxFuture<'_, Arc<dyn Lifecycle>> {
        self.0.begin_pass();
        Box::pin(async { Arc::clone(&self.0) as Arc<dyn Lifecycle> })
    }
}

#[tokio::test]
async fn postgres_keeps_the_contract() {
    for (what, check) in LIFECYCLE_CHECKS {
        println!("{what}");
        let database = Database::new().await;
        let (_operation, metadata) = database.run().await;
        check(&InPostgres(metadata)).await;
    }
}

#[tokio::test]
async fn the_store_in_memory_keeps_the_contract() {
    for (what, check) in LIFECYCLE_CHECKS {
        println!("{what}");
        check(&InMemory(Arc::new(MemoryMetadata::new(Uuid::from_u128(1))))).await;
    }
}
