//! The HTTP API under `/api/v1`, over the ports; independent of the stores.
//!
//! `table.rs` lists all endpoints with their rights, `guard.rs` enforces these before a handler
//! runs, and `layers.rs` applies to every response. Handlers are in `routes/`, one file per kind of
//! resource, and JSON types in `wire/`. The caller of [`router`] owns sockets, TLS and signals.

mod browser;
mod caches;
mod client;
mod credential;
mod events;
mod extract;
mod guard;
mod head;
mod layers;
mod logged;
mod openapi;
mod password;
pub mod ports;
pub mod problem;
mod rate;
pub mod right;
mod routes;
pub mod secret;
mod streams;
mod table;
mod throttle;
mod token;
pub mod web;
pub mod wire;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use pipeline::StoreError;
use tokio::sync::watch;
use uuid::Uuid;

pub use self::browser::{IDLE, MOST};
pub use self::client::Network;
pub use self::head::{Hosts, PublicUrl};
pub use self::layers::router;
pub use self::password::Passwords;
pub use self::rate::{CLASSES, Class, Rate};
pub use self::table::{Endpoint, endpoints};
pub use self::token::{LIFETIME, REFRESH};

use self::caches::Caches;
use self::ports::{Accounts, Catalogue, Work};
use self::rate::Rates;
use self::streams::Streams;
use self::throttle::Throttle;
use self::token::Signer;
use search::Searcher;
use search::metrics::SearchMetrics;

/// Settings of the server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Rates of classes that differ from the default.
    pub rates: Vec<(Class, Rate)>,
    /// Proxies whose `X-Forwarded-*` headers are trusted.
    pub trusted_proxies: Vec<Network>,
    /// Host names of the server.
    pub hosts: Hosts,
    /// Other origins that may use the API in a browser: `https://example.org`.
    pub origins: Vec<String>,
    /// `true` if the server itself uses TLS; responses then have HSTS.
    pub is_tls: bool,
    /// Size limit of a request body, in bytes.
    pub longest_body: usize,
    /// Time limit for the arrival of a request body.
    pub patience: Duration,
    /// Time limit for the start of a response.
    pub timeout: Duration,
    /// Passwords hashed concurrently.
    pub hashes_at_once: usize,
    /// Event streams open concurrently.
    pub streams: usize,
    /// Metrics of requests.
    pub metrics: SearchMetrics,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rates: Vec::new(),
            trusted_proxies: Vec::new(),
            hosts: Hosts::default(),
            origins: Vec::new(),
            is_tls: false,
            longest_body: 1 << 20,
            patience: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
            hashes_at_once: 2,
            streams: 1000,
            metrics: SearchMetrics::default(),
        }
    }
}

/// State shared by all handlers. Clones share it.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// Fields of [`App`].
pub struct Shared {
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) work: Arc<dyn Work>,
    pub(crate) config: Config,
    pub(crate) signer: Signer,
    pub(crate) passwords: Passwords,
    pub(crate) rates: Rates,
    pub(crate) throttle: Throttle,
    pub(crate) streams: Streams,
    pub(crate) caches: Caches,
    pub(crate) searcher: Searcher,
    /// Becomes `true` when the server stops; event streams then end.
    pub(crate) closing: watch::Receiver<bool>,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// Drops cached results of a collection whose documents changed.
    pub fn forget(&self, collection: Uuid) {
        self.work.doubt(Some(collection));
        self.searcher.caches().forget(collection);
        self.caches.forget_counts(collection);
    }

    /// Called before a client learns that an operation has ended. Its later searches then see the
    /// result, even if the notification of the database has not arrived yet.
    pub(crate) fn tell_end(&self, operation: &wire::Operation) {
        if operation.completed_at.is_some() && self.caches.is_news(operation.id) {
            self.forget(operation.collection_id);
        }
    }

    /// Drops all cached results after an unknown change.
    pub fn forget_all(&self) {
        self.caches.forget_accounts();
        self.work.doubt(None);
        self.searcher.caches().forget_all();
    }

    /// A server over these ports. `closing` becomes `true` when event streams must end.
    ///
    /// # Errors
    /// If the keys that sign tokens can be neither read nor created.
    pub async fn new(
        accounts: Arc<dyn Accounts>,
        catalogue: Arc<dyn Catalogue>,
        work: Arc<dyn Work>,
        config: Config,
        closing: watch::Receiver<bool>,
    ) -> Result<Self, StoreError> {
        let signer = Signer::new(accounts.as_ref()).await?;
        Ok(Self(Arc::new(Shared {
            accounts,
            catalogue,
            work,
            signer,
            passwords: Passwords::new(config.hashes_at_once),
            rates: Rates::new(&config.rates),
            throttle: Throttle::new(),
            streams: Streams::new(config.streams),
            caches: Caches::new(),
            searcher: Searcher::new(search::Caches::default().counted(&config.metrics)),
            closing,
            config,
        })))
    }
}
