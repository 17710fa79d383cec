//! The port `Catalogue`, implemented on the metadata store.

use async_trait::async_trait;
use metadata::{CollectionUpdate, Grantee, Postgres, ResourceLimits};
use operations::PipelineFiles;
use pipeline::StoreError;
use server::ports::{self, Catalogue, ListCursor};
use server::{right, wire};
use uuid::Uuid;

use super::{convert, lists};

/// The collections of a metadata store.
pub(super) struct StoredCatalogue {
    pub(super) postgres: Postgres,
    /// The files whose collections this server searches and changes.
    pub(super) files: PipelineFiles,
}

impl StoredCatalogue {
    fn to_wire(
        &self,
        seen: metadata::VisibleCollection,
    ) -> (wire::Collection, right::AccessGrants) {
        let is_served = self.files.find(&seen.owner, &seen.collection.name, None).is_some();
        convert::to_collection(seen, is_served)
    }
}

#[async_trait]
impl Catalogue for StoredCatalogue {
    async fn visible_collection(
        &self,
        reader: ports::Principal,
        id: Uuid,
    ) -> Result<Option<(wire::Collection, right::AccessGrants)>, StoreError> {
        let seen = self.postgres.grants().visible(convert::to_principal(reader), id).await?;
        Ok(seen.map(|seen| self.to_wire(seen)))
    }

    async fn owner_of_deleted(&self, id: Uuid) -> Result<Option<Uuid>, StoreError> {
        self.postgres.collections().owner_of_deleted(id).await
    }

    async fn readable_collections(
        &self,
        reader: ports::Principal,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<(wire::Collection, right::AccessGrants)>, StoreError> {
        let found =
            self.postgres.grants().readable(convert::to_principal(reader), after, limit).await?;
        Ok(found.into_iter().map(|seen| self.to_wire(seen)).collect())
    }

    async fn update_collection(
        &self,
        id: Uuid,
        change: ports::CollectionUpdate,
        by: &ports::Actor,
    ) -> Result<bool, StoreError> {
        let ports::CollectionUpdate { description, is_public, owner } = change;
        let change = CollectionUpdate { description, is_public, owner };
        self.postgres.collections().update(id, &change, &convert::to_actor(by)).await
    }

    async fn generations(&self, collection: Uuid) -> Result<Vec<wire::Generation>, StoreError> {
        let generations = self.postgres.generations().list(collection).await?;
        Ok(generations.into_iter().map(convert::to_generation).collect())
    }

    async fn sources(&self, collection: Uuid) -> Result<Vec<wire::Source>, StoreError> {
        let sources = self.postgres.sources().list(collection).await?;
        Ok(sources.into_iter().map(convert::to_source).collect())
    }

    async fn grants(&self, collection: Uuid) -> Result<Vec<wire::Grant>, StoreError> {
        let grants = self.postgres.grants().list(collection).await?;
        Ok(grants.into_iter().map(convert::to_grant).collect())
    }

    async fn grant(
        &self,
        collection: Uuid,
        to: ports::Grantee,
        permission: &str,
        by: &ports::Actor,
    ) -> Result<Option<Uuid>, StoreError> {
        let to = match to {
            ports::Grantee::User(id) => Grantee::User(id),
            ports::Grantee::Key(id) => Grantee::Key(id),
        };
        self.postgres.grants().grant(collection, to, permission, &convert::to_actor(by)).await
    }

    async fn revoke_grant(
        &self,
        collection: Uuid,
        grant: Uuid,
        by: &ports::Actor,
    ) -> Result<bool, StoreError> {
        self.postgres.grants().revoke(collection, grant, &convert::to_actor(by)).await
    }

    async fn limits(&self, collection: Uuid) -> Result<Option<wire::LimitsAndUsage>, StoreError> {
        Ok(self.postgres.limits().with_usage(collection).await?.map(convert::to_limits))
    }

    async fn set_limits(
        &self,
        collection: Uuid,
        limits: wire::Limits,
        by: &ports::Actor,
    ) -> Result<(), StoreError> {
        let limits = ResourceLimits {
            max_documents: limits.max_documents,
            max_storage_gb: limits.max_storage_gb,
            max_operations_per_hour: limits.max_operations_per_hour,
            max_sources: limits.max_sources,
        };
        self.postgres.limits().set(collection, &limits, &convert::to_actor(by)).await
    }

    async fn audit_log(
        &self,
        collection: Uuid,
        before: ListCursor,
        limit: u32,
    ) -> Result<Vec<wire::AuditEntry>, StoreError> {
        let entries = self.postgres.audit_log().for_collection(collection, before, limit).await?;
        Ok(entries.into_iter().map(convert::to_audit_entry).collect())
    }

    async fn documents(
        &self,
        collection: Uuid,
        list: &wire::DocumentList,
        limit: u32,
    ) -> Result<Vec<ports::ListedDocument>, StoreError> {
        let list = lists::to_document_list(list);
        let found = self.postgres.documents().page(collection, &list, limit).await?;
        let listed = found.into_iter().map(|it| ports::ListedDocument {
            key: it.key(list.sort),
            document: lists::to_wire(it),
        });
        Ok(listed.collect())
    }

    async fn document_counts(&self, collection: Uuid) -> Result<wire::DocumentCounts, StoreError> {
        let documents = self.postgres.documents();
        let statuses = documents.count_by_status(collection).await?;
        let set_aside = documents.rejection_counts(collection).await?;
        Ok(lists::to_counts(&statuses, set_aside))
    }

    async fn document(
        &self,
        collection: Uuid,
        id: Uuid,
    ) -> Result<Option<wire::Document>, StoreError> {
        Ok(self.postgres.documents().find(collection, id).await?.map(lists::to_wire))
    }

    async fn operations(
        &self,
        collection: Uuid,
        before: ListCursor,
        limit: u32,
    ) -> Result<Vec<wire::Operation>, StoreError> {
        let found = self.postgres.operations().for_collection(collection, before, limit).await?;
        Ok(found.into_iter().map(convert::to_operation).collect())
    }

    async fn readable_operations(
        &self,
        reader: ports::Principal,
        before: ListCursor,
        limit: u32,
    ) -> Result<Vec<wire::Operation>, StoreError> {
        let reader = convert::to_principal(reader);
        let found = self.postgres.operations().readable_by(reader, before, limit).await?;
        Ok(found.into_iter().map(convert::to_operation).collect())
    }

    async fn operation(&self, id: Uuid) -> Result<Option<wire::Operation>, StoreError> {
        Ok(self.postgres.operations().find_record(id).await?.map(convert::to_operation))
    }
}
