//! The port `Catalogue`, implemented on the metadata store.

use async_trait::async_trait;
use metadata::{CollectionChange, Grantee, Postgres, ResourceLimits};
use pipeline::StoreError;
use server::ports::{self, Before, Catalogue};
use server::{right, wire};
use uuid::Uuid;

use super::{lists, rows};
use crate::operate::Files;

/// The collections of a metadata store.
pub(super) struct StoredCatalogue {
    pub(super) postgres: Postgres,
    /// The files whose collections this server searches and changes.
    pub(super) files: Files,
}

impl StoredCatalogue {
    fn seen(&self, seen: metadata::Seen) -> (wire::Collection, right::Given) {
        let is_served = self.files.find(&seen.owner, &seen.collection.name, None).is_some();
        rows::seen(seen, is_served)
    }
}

#[async_trait]
impl Catalogue for StoredCatalogue {
    async fn seen(
        &self,
        reader: ports::Reader,
        id: Uuid,
    ) -> Result<Option<(wire::Collection, right::Given)>, StoreError> {
        let seen = self.postgres.grants().seen(rows::reader(reader), id).await?;
        Ok(seen.map(|seen| self.seen(seen)))
    }

    async fn owner_of_deleted(&self, id: Uuid) -> Result<Option<Uuid>, StoreError> {
        self.postgres.collections().owner_of_deleted(id).await
    }

    async fn readable(
        &self,
        reader: ports::Reader,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<(wire::Collection, right::Given)>, StoreError> {
        let found = self.postgres.grants().readable(rows::reader(reader), after, limit).await?;
        Ok(found.into_iter().map(|seen| self.seen(seen)).collect())
    }

    async fn change_collection(
        &self,
        id: Uuid,
        change: ports::CollectionChange,
        by: &ports::By,
    ) -> Result<bool, StoreError> {
        let ports::CollectionChange { description, is_public, owner } = change;
        let change = CollectionChange { description, is_public, owner };
        self.postgres.collections().change(id, &change, &rows::by(by)).await
    }

    async fn generations(&self, collection: Uuid) -> Result<Vec<wire::Generation>, StoreError> {
        let generations = self.postgres.generations().list(collection).await?;
        Ok(generations.into_iter().map(rows::generation).collect())
    }

    async fn sources(&self, collection: Uuid) -> Result<Vec<wire::Source>, StoreError> {
        let sources = self.postgres.sources().list(collection).await?;
        Ok(sources.into_iter().map(rows::source).collect())
    }

    async fn grants(&self, collection: Uuid) -> Result<Vec<wire::Grant>, StoreError> {
        let grants = self.postgres.grants().list(collection).await?;
        Ok(grants.into_iter().map(rows::grant).collect())
    }

    async fn give(
        &self,
        collection: Uuid,
        to: ports::Grantee,
        permission: &str,
        by: &ports::By,
    ) -> Result<Option<Uuid>, StoreError> {
        let to = match to {
            ports::Grantee::User(id) => Grantee::User(id),
            ports::Grantee::Key(id) => Grantee::Key(id),
        };
        self.postgres.grants().give(collection, to, permission, &rows::by(by)).await
    }

    async fn take(
        &self,
        collection: Uuid,
        grant: Uuid,
        by: &ports::By,
    ) -> Result<bool, StoreError> {
        self.postgres.grants().take(collection, grant, &rows::by(by)).await
    }

    async fn limits(&self, collection: Uuid) -> Result<Option<wire::LimitsAndUsage>, StoreError> {
        Ok(self.postgres.limits().of(collection).await?.map(rows::limits))
    }

    async fn set_limits(
        &self,
        collection: Uuid,
        limits: wire::Limits,
        by: &ports::By,
    ) -> Result<(), StoreError> {
        let limits = ResourceLimits {
            max_documents: limits.max_documents,
            max_storage_gb: limits.max_storage_gb,
            max_operations_per_hour: limits.max_operations_per_hour,
            max_sources: limits.max_sources,
        };
        self.postgres.limits().set(collection, &limits, &rows::by(by)).await
    }

    async fn audit(
        &self,
        collection: Uuid,
        before: Before,
        limit: u32,
    ) -> Result<Vec<wire::AuditEntry>, StoreError> {
        let entries = self.postgres.audit().of_collection(collection, before, limit).await?;
        Ok(entries.into_iter().map(rows::audit).collect())
    }

    async fn documents(
        &self,
        collection: Uuid,
        list: &wire::DocumentList,
        limit: u32,
    ) -> Result<Vec<ports::Listed>, StoreError> {
        let list = lists::list(list);
        let found = self.postgres.documents().page(collection, &list, limit).await?;
        let listed = found
            .into_iter()
            .map(|it| ports::Listed { key: it.key(list.sort), document: lists::document(it) });
        Ok(listed.collect())
    }

    async fn document_counts(&self, collection: Uuid) -> Result<wire::DocumentCounts, StoreError> {
        let documents = self.postgres.documents();
        let statuses = documents.count(collection).await?;
        let set_aside = documents.set_aside_counts(collection).await?;
        Ok(lists::counts(&statuses, set_aside))
    }

    async fn document(
        &self,
        collection: Uuid,
        id: Uuid,
    ) -> Result<Option<wire::Document>, StoreError> {
        Ok(self.postgres.documents().find(collection, id).await?.map(lists::document))
    }

    async fn operations(
        &self,
        collection: Uuid,
        before: Before,
        limit: u32,
    ) -> Result<Vec<wire::Operation>, StoreError> {
        let found = self.postgres.operations().of_collection(collection, before, limit).await?;
        Ok(found.into_iter().map(rows::operation).collect())
    }

    async fn readable_operations(
        &self,
        reader: ports::Reader,
        before: Before,
        limit: u32,
    ) -> Result<Vec<wire::Operation>, StoreError> {
        let reader = rows::reader(reader);
        let found = self.postgres.operations().readable(reader, before, limit).await?;
        Ok(found.into_iter().map(rows::operation).collect())
    }

    async fn operation(&self, id: Uuid) -> Result<Option<wire::Operation>, StoreError> {
        Ok(self.postgres.operations().past(id).await?.map(rows::operation))
    }
}
