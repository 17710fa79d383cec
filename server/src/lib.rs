//! The HTTP front end: an API under `/api/v1` over the ports, and nothing that knows a store.
//!
//! `table.rs` has every endpoint on one screen with the right that it asks for; `guard.rs` sees to it before a handler
//! begins; `layers.rs` is what every answer goes through. Handlers are in `routes/`, one file for each kind of thing,
//! and JSON in `wire/`. Sockets, TLS and signals belong to whoever calls [`router`].

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

/// How the server is to behave.
#[derive(Clone, Debug)]
pub struct Config {
    /// Rates of classes that are not as usual.
    pub rates: Vec<(Class, Rate)>,
    /// Proxies whose word about the address of a client is taken.
    pub trusted_proxies: Vec<Network>,
    /// The names by which clients may call the server.
    pub hosts: Hosts,
    /// Origins of other pages that may use the API in a browser: `https://example.org`.
    pub origins: Vec<String>,
    /// Whether clients come by TLS, so that browsers may insist on it.
    pub is_tls: bool,
    /// The longest body, in bytes.
    pub longest_body: usize,
    /// How long a body may take to arrive.
    pub patience: Duration,
    /// How long an answer may take to begin.
    pub timeout: Duration,
    /// Passwords that are hashed at once.
    pub hashes_at_once: usize,
    /// Streams of events that are open at once.
    pub streams: usize,
    /// Where requests are counted.
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

/// What handlers share. Clones are the same one.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// See [`App`].
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
    /// Becomes true when the server stops; streams end then.
    pub(crate) closing: watch::Receiver<bool>,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// Forgets what was found in a collection: documents were taken in or out of it.
    pub fn forget(&self, collection: Uuid) {
        self.work.doubt(Some(collection));
        self.searcher.caches().forget(collection);
        self.caches.forget_counts(collection);
    }

    /// Somebody is told that an operation has ended: what they search from now on is as it left things, whether or not
    /// the database has told this server yet.
    pub(crate) fn tell_end(&self, operation: &wire::Operation) {
        if operation.completed_at.is_some() && self.caches.is_news(operation.id) {
            self.forget(operation.collection_id);
        }
    }

    /// Forgets what was found in any collection: something may have changed, and nobody was told what.
    pub fn forget_all(&self) {
        self.caches.forget_accounts();
        self.work.doubt(None);
        self.searcher.caches().forget_all();
    }

    /// A server over these ports. `closing` becomes true when streams are to end.
    ///
    /// # Errors
    /// If the keys that sign tokens can be neither read nor made.
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
