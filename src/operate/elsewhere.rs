//! An operation that another process carries out: beside somebody who serves a collection with embedded vectors,
//! which one process has open at a time, an operation is handed over to them and followed from here.
//!
//! Whoever asks sees no difference: progress, report, errors and exit code are what they would be. With a Qdrant
//! server there is no need for it, and everybody does their own work.

use std::sync::PoisonError;
use std::time::Duration;

use metadata::{Change, Changes, Collection, HandedOver, OperationStatus, OperationSummary};
use pipeline::{BoxError, Progress, VectorsSpec};
use uuid::Uuid;

use super::errand::{self, Errand};
use super::{NotDone, Operator};

/// How often the operation is looked at when nothing is told of it.
const LOOK: Duration = Duration::from_secs(2);

impl Operator {
    /// Has somebody else carry out an errand who serves the collection; `None` if it is to be done here.
    pub(super) async fn elsewhere(
        &self,
        errand: &Errand,
    ) -> Result<Option<errand::Result>, BoxError> {
        if self.is_executor || matches!(self.spec.file.stores.vectors, VectorsSpec::Server(_)) {
            return Ok(None);
        }
        let postgres = self.database.postgres();
        let owner = Some(self.spec.file.owner.as_str());
        let found = postgres.collections().find(owner, &self.spec.file.collection).await?;
        let Some(collection) = found else { return Ok(None) };
        let serving = postgres.executors().alive(Some(collection.id)).await?;
        let Some(executor) = serving.first() else { return Ok(None) };
        if !self.wish.wait {
            postgres.nobody_works_on(&collection).await?;
        }
        // From here on, so that nothing of it is missed.
        let changes = postgres.listen().await?;
        let id = self.hand_over(&collection, errand).await?;
        tracing::info!(operation = %id, worker = executor.worker, "handed over to who serves the collection");
        self.follow(changes, &collection, id).await
    }

    /// Asks for an errand without waiting for it; gives the operation.
    pub(crate) async fn hand_over(
        &self,
        collection: &Collection,
        errand: &Errand,
    ) -> Result<Uuid, BoxError> {
        let config = self.config(errand.details());
        let kind = match errand {
            Errand::Run { .. } => self.kind_of_run(collection).await?,
            Errand::DeleteDocuments { .. }
            | Errand::UndeleteDocuments { .. }
            | Errand::RemoveSource { .. }
            | Errand::RollBack
            | Errand::Repair
            | Errand::DeleteCollection => errand.kind(),
        };
        let handed_over = HandedOver { collection, kind, config: &config };
        Ok(self.database.postgres().operations().hand_over(&handed_over).await?)
    }

    /// Follows an operation to its end, and those that go on with it; `None` if nobody is left to carry it out.
    async fn follow(
        &self,
        mut changes: Changes,
        collection: &Collection,
        mut id: Uuid,
    ) -> Result<Option<errand::Result>, BoxError> {
        let operations = self.database.postgres().operations();
        let mut asked_to_stop = false;
        loop {
            let Some(found) = operations.find(id).await? else {
                // Somebody has removed it by hand.
                return Ok(Some(errand::Result::default()));
            };
            match found.status {
                OperationStatus::Pending | OperationStatus::Processing => {}
                OperationStatus::Completed => return Ok(Some(self.result_of(id).await?)),
                OperationStatus::Failed | OperationStatus::Cancelled => {
                    if let Some(next) = operations.continued_by(id).await?
                        && !asked_to_stop
                    {
                        tracing::info!(operation = %next.id, "the operation goes on");
                        id = next.id;
                        continue;
                    }
                    return self.ended(found, asked_to_stop).await.map(Some);
                }
            }
            if self.stop.is_cancelled() && !asked_to_stop {
                asked_to_stop = true;
                // It may have ended just now, which the next look finds.
                if let Err(error) = operations.cancel(id).await {
                    tracing::debug!(%error, "the operation could not be cancelled");
                }
                continue;
            }
            if self.is_orphaned(collection, &found).await? {
                tracing::warn!(operation = %id, "nobody serves the collection any more; the operation is done here");
                *self.followed.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.take_up(collection, id).await?;
                return Ok(None);
            }
            self.wait(&mut changes, id, asked_to_stop).await?;
        }
    }

    /// Whether an operation is nobody's: it waits, or its worker has died, and nobody serves the collection.
    async fn is_orphaned(
        &self,
        collection: &Collection,
        operation: &OperationSummary,
    ) -> Result<bool, BoxError> {
        let postgres = self.database.postgres();
        if !postgres.executors().alive(Some(collection.id)).await?.is_empty() {
            return Ok(false);
        }
        // While its worker holds the collection it is carried out, whoever says that it lives.
        Ok(operation.status == OperationStatus::Pending
            || postgres.nobody_works_on(collection).await.is_ok())
    }

    /// Takes an operation up that is nobody's, or the one that goes on with it, so that it is carried out here.
    async fn take_up(&self, collection: &Collection, id: Uuid) -> Result<(), BoxError> {
        let postgres = self.database.postgres();
        while let Some((operation, summary)) = postgres.take_up(&[collection.id]).await? {
            if summary.id == id || summary.continues == Some(id) {
                *self.given.lock().unwrap_or_else(PoisonError::into_inner) = Some(operation);
                return Ok(());
            }
            // Somebody else's; whoever serves the collection next has it.
            postgres.operations().hand_back(summary.id, None).await?;
            operation.let_go().await;
        }
        Ok(())
    }

    /// Waits until something happens to an operation, and notes how far it is.
    async fn wait(
        &self,
        changes: &mut Changes,
        id: Uuid,
        asked_to_stop: bool,
    ) -> Result<(), BoxError> {
        let look = tokio::time::sleep(LOOK);
        tokio::pin!(look);
        loop {
            let change = tokio::select! {
                change = changes.next() => change,
                () = &mut look => return Ok(()),
                () = self.stop.cancelled(), if !asked_to_stop => return Ok(()),
            };
            match change {
                Change::Progress(of) if of == id => {
                    let progress = self.database.postgres().operations().progress(id).await?;
                    self.note_followed(progress);
                }
                Change::Operation { id: of, .. } if of == id => return Ok(()),
                Change::Missed => return Ok(()),
                Change::Progress(_) | Change::Operation { .. } => {}
            }
        }
    }

    fn note_followed(&self, progress: Option<Progress>) {
        if progress.is_some() {
            *self.followed.lock().unwrap_or_else(PoisonError::into_inner) = progress;
        }
    }

    async fn result_of(&self, id: Uuid) -> Result<errand::Result, BoxError> {
        let meta = self.database.postgres().operations().result(id).await?;
        Ok(serde_json::from_value(meta)?)
    }

    /// What an operation that did not come to its end gives back.
    async fn ended(
        &self,
        operation: OperationSummary,
        asked_to_stop: bool,
    ) -> Result<errand::Result, BoxError> {
        if let Some(message) = operation.error_message {
            return Err(message.into());
        }
        let result = self.result_of(operation.id).await?;
        match (&result.report, asked_to_stop) {
            (Some(report), _) if report.stopped => Ok(result),
            (_, true) => Err(NotDone::Stopped.into()),
            (_, false) => Err(NotDone::Cancelled(operation.id).into()),
        }
    }
}
