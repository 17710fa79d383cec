//! Operations as they change, as a stream of server-sent events.
//!
//! An event says how an operation is now, whole; who misses one has lost nothing with the next. Changes are told by the
//! database; now and then a stream looks by itself, in case that it was not told.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use tokio_stream::wrappers::IntervalStream;
use uuid::Uuid;

use super::App;
use super::guard::Caller;
use super::ports::Change;
use super::right::level;
use super::wire::Operation;

/// How often a stream looks by itself.
const LOOK: Duration = Duration::from_secs(5);
/// How often a silent stream says that it is there, for proxies.
const ALIVE: Duration = Duration::from_secs(15);

/// One operation until it ends.
pub(super) fn of_one(app: &App, operation: Uuid) -> impl IntoResponse + use<> {
    let changes =
        app.work.changes().filter(move |change| std::future::ready(change.operation == operation));
    let looks = IntervalStream::new(tokio::time::interval(LOOK)).map(|_| ());
    let wakes = stream::select(looks, changes.map(|_| ()));
    let reader = app.clone();
    let states = wakes.then(move |()| {
        let app = reader.clone();
        async move { app.catalogue.operation(operation).await }
    });
    let (mut last, teller) = (None, app.clone());
    // A state that cannot be read is read again at the next look.
    let news = states.filter_map(|state| std::future::ready(state.ok())).scan(
        false,
        move |is_over, state| {
            let next = match (*is_over, state) {
                (true, _) => None,
                (false, None) => {
                    *is_over = true;
                    Some(Some(Event::default().event("gone").data("{}")))
                }
                (false, Some(operation)) => {
                    *is_over = operation.completed_at.is_some();
                    teller.tell_end(&operation);
                    Some(news_of(&operation, &mut last))
                }
            };
            std::future::ready(next)
        },
    );
    let events = news.filter_map(std::future::ready).map(Ok::<_, Infallible>).boxed();
    sent(app, events)
}

/// Every operation that the caller may see, from now on.
pub(super) fn of_all(app: &App, caller: &Caller) -> impl IntoResponse + use<> {
    let (reader, caller) = (app.clone(), caller.clone());
    let seen = app.work.changes().filter_map(move |change| {
        let (app, caller) = (reader.clone(), caller.clone());
        async move { visible(&app, &caller, &change).await }
    });
    let mut last = None;
    let news = seen.filter_map(move |operation| std::future::ready(news_of(&operation, &mut last)));
    sent(app, news.map(Ok::<_, Infallible>).boxed())
}

async fn visible(app: &App, caller: &Caller, change: &Change) -> Option<Operation> {
    // Most are of collections that this caller has no business with: nothing of those is read.
    if let Some(collection) = change.collection
        && !may_see(app, caller, collection).await
    {
        return None;
    }
    let operation = app.catalogue.operation(change.operation).await.ok()??;
    let is_checked = change.collection == Some(operation.collection_id);
    (is_checked || may_see(app, caller, operation.collection_id).await).then_some(operation)
}

async fn may_see(app: &App, caller: &Caller, collection: Uuid) -> bool {
    let seen = app.caches.seen(app.catalogue.as_ref(), caller.reader(), collection).await;
    seen.ok().flatten().is_some_and(|seen| level(&caller.identity, seen.1).is_some())
}

/// An event, if an operation is not as it was said last.
fn news_of(operation: &Operation, last: &mut Option<String>) -> Option<Event> {
    let state = serde_json::to_string(operation).expect("it is JSON");
    if last.as_ref() == Some(&state) {
        return None;
    }
    let event = Event::default().event("operation").data(&state);
    *last = Some(state);
    Some(event)
}

/// Streams until the server stops.
fn sent(
    app: &App,
    events: BoxStream<'static, Result<Event, Infallible>>,
) -> impl IntoResponse + use<> {
    let mut closing = app.closing.clone();
    let closed = async move {
        // An error is a server that is gone already.
        drop(closing.wait_for(|is_closing| *is_closing).await);
    };
    let stream = events.take_until(closed.boxed());
    Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE))
}
