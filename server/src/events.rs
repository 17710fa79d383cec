//! Changes of operations, as a stream of server-sent events.
//!
//! An event has the complete state of an operation, so a client that misses one loses nothing.
//! Changes are notified by the database; a stream also polls, in case it missed a notification.
//!
//! A stream may outlive the right to it. Before every event, and every [`ACCESS_CHECK_INTERVAL`],
//! the caller is authenticated and authorised again. Without the right, the stream sends `end` and
//! closes. If the store cannot be reached for the check, the event is not sent.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use metadata::OperationRecord;
use pipeline::StoreError;
use tokio_stream::wrappers::IntervalStream;
use uuid::Uuid;

use super::App;
use super::guard::Caller;
use super::ports::OperationChange;
use super::problem::HandlerResult;
use super::right::effective_level;
use super::streams::OpenStream;

/// Polling interval of a stream.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Interval of the checks of credentials and rights. Cached values are at most three seconds old
/// (`caches.rs`), so the loss of a right takes effect within five.
const ACCESS_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Interval of comments on an idle stream, which keep proxies from closing it.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Reason for a step of a stream.
enum Wake {
    /// The polling interval has passed.
    Poll,
    /// The interval of checks has passed.
    CheckAccess,
    /// An operation has changed.
    Change(OperationChange),
}

/// Result of a step.
enum StreamAction {
    Nothing,
    Send(Event),
    SendLast(Event),
}

/// Reason for which a stream ends early; sent in the event `end`.
#[derive(Clone, Copy)]
enum AccessLost {
    /// The session has ended, the key was revoked or has expired, or the account is deactivated.
    Credentials,
    /// The account or key lost a right that it had when the stream began.
    Rights,
}

impl AccessLost {
    fn event(self) -> Event {
        let reason = match self {
            Self::Credentials => "credentials",
            Self::Rights => "rights",
        };
        Event::default().event("end").data(format!(r#"{{"reason":"{reason}"}}"#))
    }
}

/// The operations of a stream.
enum Subscription {
    /// One operation, and its collection.
    One { operation: Uuid, collection: Uuid },
    /// All operations that the caller may see; `told` has the collections of the events sent so
    /// far.
    All { told: HashSet<Uuid> },
}

struct EventStream {
    app: App,
    caller: Caller,
    subject: Subscription,
    /// The last event sent.
    last_sent: Option<String>,
    _open: OpenStream,
}

/// Follows one operation until it ends.
pub(super) fn operation_events(
    app: &App,
    caller: &Caller,
    collection: Uuid,
    operation: Uuid,
) -> HandlerResult<impl IntoResponse + use<>> {
    let changes = app.service.operation_changes();
    let changes = changes.filter(move |it| std::future::ready(it.operation == operation));
    let looks = IntervalStream::new(tokio::time::interval(POLL_INTERVAL)).map(|_| Wake::Poll);
    let wakes = stream::select(looks, changes.map(Wake::Change));
    stream_events(app, caller, Subscription::One { operation, collection }, wakes.boxed())
}

/// Follows all operations that the caller may see, from now on.
pub(super) fn all_events(app: &App, caller: &Caller) -> HandlerResult<impl IntoResponse + use<>> {
    let wakes = app.service.operation_changes().map(Wake::Change);
    stream_events(app, caller, Subscription::All { told: HashSet::new() }, wakes.boxed())
}

/// Streams until the server stops, the operation has ended, or the caller loses its right.
fn stream_events(
    app: &App,
    caller: &Caller,
    subject: Subscription,
    wakes: BoxStream<'static, Wake>,
) -> HandlerResult<impl IntoResponse + use<>> {
    let open = app.streams.open(caller.identity.user(), caller.address)?;
    let (app, caller) = (app.clone(), caller.clone());
    let mut closing = app.closing.clone();
    let closed = async move {
        // An error means that the server has stopped already.
        drop(closing.wait_for(|is_closing| *is_closing).await);
    };
    let checks = IntervalStream::new(tokio::time::interval(ACCESS_CHECK_INTERVAL))
        .map(|_| Wake::CheckAccess);
    let wakes = stream::select(wakes, checks).boxed();
    let follower = EventStream { app, caller, subject, last_sent: None, _open: open };
    let events = stream::unfold(Some((follower, wakes)), |state| async move {
        let (mut follower, mut wakes) = state?;
        loop {
            let wake = wakes.next().await?;
            match follower.step(&wake).await {
                // A failed read is repeated at the next poll.
                Ok(StreamAction::Nothing) | Err(_) => {}
                Ok(StreamAction::Send(event)) => return Some((event, Some((follower, wakes)))),
                Ok(StreamAction::SendLast(event)) => return Some((event, None)),
            }
        }
    });
    let events = events.map(Ok::<_, Infallible>).take_until(closed.boxed());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL)))
}

impl EventStream {
    async fn step(&mut self, wake: &Wake) -> Result<StreamAction, StoreError> {
        if let Some(lost) = self.access_lost().await? {
            return Ok(StreamAction::SendLast(lost.event()));
        }
        match (&self.subject, wake) {
            (_, Wake::CheckAccess) | (Subscription::All { .. }, Wake::Poll) => {
                Ok(StreamAction::Nothing)
            }
            (Subscription::One { operation, .. }, Wake::Poll | Wake::Change(_)) => {
                let operation = *operation;
                self.operation_action(operation).await
            }
            (Subscription::All { .. }, Wake::Change(change)) => self.change_action(change).await,
        }
    }

    /// The credential or right that the caller has lost since the stream began.
    async fn access_lost(&self) -> Result<Option<AccessLost>, StoreError> {
        let Some(now) = self.caller.credential.identity(&self.app).await? else {
            return Ok(Some(AccessLost::Credentials));
        };
        if now != self.caller.identity {
            return Ok(Some(AccessLost::Rights));
        }
        let heard: Vec<Uuid> = match &self.subject {
            Subscription::One { collection, .. } => vec![*collection],
            Subscription::All { told } => told.iter().copied().collect(),
        };
        for collection in heard {
            if self.may_see(collection).await? == Some(false) {
                return Ok(Some(AccessLost::Rights));
            }
        }
        Ok(None)
    }

    /// `true` if the caller may see a collection; `None` if it does not exist.
    async fn may_see(&self, collection: Uuid) -> Result<Option<bool>, StoreError> {
        let Self { app, caller, .. } = self;
        let given = app.caches.grants(&app.metadata, caller.principal(), collection).await?;
        Ok(given.map(|given| effective_level(&caller.identity, given).is_some()))
    }

    async fn operation_action(&mut self, operation: Uuid) -> Result<StreamAction, StoreError> {
        let Some(operation) = self.app.metadata.operations().find_record(operation).await? else {
            return Ok(StreamAction::SendLast(Event::default().event("gone").data("{}")));
        };
        self.app.note_operation_end(&operation);
        let is_over = operation.completed_at.is_some();
        Ok(match self.changed_event(&operation) {
            Some(event) if is_over => StreamAction::SendLast(event),
            Some(event) => StreamAction::Send(event),
            None => StreamAction::Nothing,
        })
    }

    async fn change_action(
        &mut self,
        change: &OperationChange,
    ) -> Result<StreamAction, StoreError> {
        // Most changes concern other collections; those operations are not read.
        if let Some(collection) = change.collection
            && self.may_see(collection).await? != Some(true)
        {
            return Ok(StreamAction::Nothing);
        }
        let Some(operation) = self.app.metadata.operations().find_record(change.operation).await?
        else {
            return Ok(StreamAction::Nothing);
        };
        let collection = operation.collection_id;
        let is_checked = change.collection == Some(collection);
        if !is_checked && self.may_see(collection).await? != Some(true) {
            return Ok(StreamAction::Nothing);
        }
        if let Subscription::All { told } = &mut self.subject {
            told.insert(collection);
        }
        Ok(self.changed_event(&operation).map_or(StreamAction::Nothing, StreamAction::Send))
    }

    /// An event; `None` if the operation is unchanged since the last one.
    fn changed_event(&mut self, operation: &OperationRecord) -> Option<Event> {
        let state = serde_json::to_string(operation).expect("an operation serialises to JSON");
        if self.last_sent.as_ref() == Some(&state) {
            return None;
        }
        let event = Event::default().event("operation").data(&state);
        self.last_sent = Some(state);
        Some(event)
    }
}
