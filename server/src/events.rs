//! Changes of operations, as a stream of server-sent events.
//!
//! An event has the complete state of an operation, so a client that misses one loses nothing.
//! Changes are notified by the database; a stream also polls, in case it missed a notification.
//!
//! A stream may outlive the right to it. Before every event, and every [`CHECK`], the caller is
//! authenticated and authorised again. Without the right, the stream sends `end` and closes. If the
//! store cannot be reached for the check, the event is not sent.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use pipeline::StoreError;
use tokio_stream::wrappers::IntervalStream;
use uuid::Uuid;

use super::App;
use super::guard::Caller;
use super::ports::Change;
use super::problem::Answer;
use super::right::level;
use super::streams::OpenStream;
use super::wire::Operation;

/// Polling interval of a stream.
const LOOK: Duration = Duration::from_secs(5);
/// Interval of the checks of credentials and rights. Cached values are at most three seconds old
/// (`caches.rs`), so the loss of a right takes effect within five.
const CHECK: Duration = Duration::from_secs(2);
/// Interval of comments on an idle stream, which keep proxies from closing it.
const ALIVE: Duration = Duration::from_secs(15);

/// Reason for a step of a stream.
enum Wake {
    /// The polling interval has passed.
    Look,
    /// The interval of checks has passed.
    Check,
    /// An operation has changed.
    Change(Change),
}

/// Result of a step.
enum Step {
    Silence,
    Say(Event),
    SayLast(Event),
}

/// Reason for which a stream ends early; sent in the event `end`.
#[derive(Clone, Copy)]
enum Lost {
    /// The session has ended, the key was revoked or has expired, or the account is deactivated.
    Credentials,
    /// The account or key lost a right that it had when the stream began.
    Rights,
}

impl Lost {
    fn event(self) -> Event {
        let reason = match self {
            Self::Credentials => "credentials",
            Self::Rights => "rights",
        };
        Event::default().event("end").data(format!(r#"{{"reason":"{reason}"}}"#))
    }
}

/// The operations of a stream.
enum Subject {
    /// One operation, and its collection.
    One { operation: Uuid, collection: Uuid },
    /// All operations that the caller may see; `told` has the collections of the events sent so
    /// far.
    All { told: HashSet<Uuid> },
}

struct Follower {
    app: App,
    caller: Caller,
    subject: Subject,
    /// The last event sent.
    last: Option<String>,
    _open: OpenStream,
}

/// Follows one operation until it ends.
pub(super) fn of_one(
    app: &App,
    caller: &Caller,
    collection: Uuid,
    operation: Uuid,
) -> Answer<impl IntoResponse + use<>> {
    let changes = app.work.changes();
    let changes = changes.filter(move |it| std::future::ready(it.operation == operation));
    let looks = IntervalStream::new(tokio::time::interval(LOOK)).map(|_| Wake::Look);
    let wakes = stream::select(looks, changes.map(Wake::Change));
    sent(app, caller, Subject::One { operation, collection }, wakes.boxed())
}

/// Follows all operations that the caller may see, from now on.
pub(super) fn of_all(app: &App, caller: &Caller) -> Answer<impl IntoResponse + use<>> {
    let wakes = app.work.changes().map(Wake::Change);
    sent(app, caller, Subject::All { told: HashSet::new() }, wakes.boxed())
}

/// Streams until the server stops, the operation has ended, or the caller loses its right.
fn sent(
    app: &App,
    caller: &Caller,
    subject: Subject,
    wakes: BoxStream<'static, Wake>,
) -> Answer<impl IntoResponse + use<>> {
    let open = app.streams.open(caller.identity.user(), caller.address)?;
    let (app, caller) = (app.clone(), caller.clone());
    let mut closing = app.closing.clone();
    let closed = async move {
        // An error means that the server has stopped already.
        drop(closing.wait_for(|is_closing| *is_closing).await);
    };
    let checks = IntervalStream::new(tokio::time::interval(CHECK)).map(|_| Wake::Check);
    let wakes = stream::select(wakes, checks).boxed();
    let follower = Follower { app, caller, subject, last: None, _open: open };
    let events = stream::unfold(Some((follower, wakes)), |state| async move {
        let (mut follower, mut wakes) = state?;
        loop {
            let wake = wakes.next().await?;
            match follower.step(&wake).await {
                // A failed read is repeated at the next poll.
                Ok(Step::Silence) | Err(_) => {}
                Ok(Step::Say(event)) => return Some((event, Some((follower, wakes)))),
                Ok(Step::SayLast(event)) => return Some((event, None)),
            }
        }
    });
    let events = events.map(Ok::<_, Infallible>).take_until(closed.boxed());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)))
}

impl Follower {
    async fn step(&mut self, wake: &Wake) -> Result<Step, StoreError> {
        if let Some(lost) = self.lost().await? {
            return Ok(Step::SayLast(lost.event()));
        }
        match (&self.subject, wake) {
            (_, Wake::Check) | (Subject::All { .. }, Wake::Look) => Ok(Step::Silence),
            (Subject::One { operation, .. }, Wake::Look | Wake::Change(_)) => {
                let operation = *operation;
                self.one(operation).await
            }
            (Subject::All { .. }, Wake::Change(change)) => self.any(change).await,
        }
    }

    /// The credential or right that the caller has lost since the stream began.
    async fn lost(&self) -> Result<Option<Lost>, StoreError> {
        let Some(now) = self.caller.credential.identity(&self.app).await? else {
            return Ok(Some(Lost::Credentials));
        };
        if now != self.caller.identity {
            return Ok(Some(Lost::Rights));
        }
        let heard: Vec<Uuid> = match &self.subject {
            Subject::One { collection, .. } => vec![*collection],
            Subject::All { told } => told.iter().copied().collect(),
        };
        for collection in heard {
            if self.may_see(collection).await? == Some(false) {
                return Ok(Some(Lost::Rights));
            }
        }
        Ok(None)
    }

    /// `true` if the caller may see a collection; `None` if it does not exist.
    async fn may_see(&self, collection: Uuid) -> Result<Option<bool>, StoreError> {
        let Self { app, caller, .. } = self;
        let seen = app.caches.seen(app.catalogue.as_ref(), caller.reader(), collection).await?;
        Ok(seen.map(|seen| level(&caller.identity, seen.1).is_some()))
    }

    async fn one(&mut self, operation: Uuid) -> Result<Step, StoreError> {
        let Some(operation) = self.app.catalogue.operation(operation).await? else {
            return Ok(Step::SayLast(Event::default().event("gone").data("{}")));
        };
        self.app.tell_end(&operation);
        let is_over = operation.completed_at.is_some();
        Ok(match self.news(&operation) {
            Some(event) if is_over => Step::SayLast(event),
            Some(event) => Step::Say(event),
            None => Step::Silence,
        })
    }

    async fn any(&mut self, change: &Change) -> Result<Step, StoreError> {
        // Most changes concern other collections; those operations are not read.
        if let Some(collection) = change.collection
            && self.may_see(collection).await? != Some(true)
        {
            return Ok(Step::Silence);
        }
        let Some(operation) = self.app.catalogue.operation(change.operation).await? else {
            return Ok(Step::Silence);
        };
        let collection = operation.collection_id;
        let is_checked = change.collection == Some(collection);
        if !is_checked && self.may_see(collection).await? != Some(true) {
            return Ok(Step::Silence);
        }
        if let Subject::All { told } = &mut self.subject {
            told.insert(collection);
        }
        Ok(self.news(&operation).map_or(Step::Silence, Step::Say))
    }

    /// An event; `None` if the operation is unchanged since the last one.
    fn news(&mut self, operation: &Operation) -> Option<Event> {
        let state = serde_json::to_string(operation).expect("an operation serialises to JSON");
        if self.last.as_ref() == Some(&state) {
            return None;
        }
        let event = Event::default().event("operation").data(&state);
        self.last = Some(state);
        Some(event)
    }
}
