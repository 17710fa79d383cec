//! The port `Work`: searches and operations on the collections of the files that the server was given.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use search::http::ports::{By, Change, Order, Work};
use search::http::problem::{Answer, Code, Problem};
use search::http::wire;
use serde_json::Value;
use sinks::Postgres;
use uuid::Uuid;

use super::served::Served;
use crate::telemetry::Telemetry;

/// What is done to the collections of the files.
pub(super) struct ServedWork {
    pub(super) postgres: Postgres,
    pub(super) served: Arc<Served>,
    pub(super) telemetry: Telemetry,
}

#[async_trait]
impl Work for ServedWork {
    async fn start(&self, _: Uuid, _: Order, _: &By) -> Answer<Uuid> {
        Err(Problem::of(Code::NotServed))
    }

    async fn cancel(&self, operation: Uuid, _: &By) -> Answer<()> {
        Ok(self.postgres.operations().cancel(operation).await.map(drop)?)
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        stream::pending().boxed()
    }

    async fn chunks(&self, _: Uuid, _: Uuid, _: u32, _: u32) -> Answer<wire::Chunks> {
        Err(Problem::of(Code::NotServed))
    }

    async fn why(&self, _: Uuid, _: &str) -> Answer<Value> {
        Err(Problem::of(Code::NotServed))
    }

    async fn health(&self) -> Vec<(String, Result<(), String>)> {
        let asked = self.postgres.collections().list(None, 1).await;
        let said = asked.map(drop).map_err(|error| pipeline::chain(&error));
        vec![("postgres".to_owned(), said)]
    }

    async fn metrics(&self) -> String {
        self.telemetry.text().await
    }
}
