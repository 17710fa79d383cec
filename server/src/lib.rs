//! The HTTP API under `/api/v1`, over the metadata store and a port for the work on collections.
//!
//! `endpoints.rs` lists all endpoints with their rights, `guard.rs` enforces these before a handler
//! runs, and `layers.rs` applies to every response. Handlers are in `routes/`, one file per kind of
//! resource; JSON types are in `wire/`, and in `metadata` where they are rows. The caller of
//! [`router`] owns sockets, TLS and signals.

mod access_caches;
mod authenticate;
mod browser;
mod client;
mod credential;
mod endpoints;
mod events;
mod extract;
mod guard;
mod host;
mod layers;
mod local;
mod log_text;
mod openapi;
mod password;
pub mod ports;
pub mod problem;
mod rate;
pub mod right;
mod routes;
pub mod secret;
mod streams;
mod throttle;
mod token;
pub mod web;
pub mod wire;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use metadata::{Accounts, OperationRecord, Postgres, VisibleCollection};
use pipeline::StoreError;
use tokio::sync::watch;
use uuid::Uuid;

pub use self::client::Network;
pub use self::endpoints::{Endpoint, endpoints};
pub use self::host::{AllowedHosts, PublicUrl};
pub use self::layers::router;
pub use self::local::local_router;
pub use self::password::PasswordService;
pub use self::rate::{RATE_CLASSES, RateClass, RateLimit};

use self::access_caches::AccessCaches;
use self::ports::CollectionService;
use self::rate::RequestLimiter;
use self::right::AccessLevel;
use self::streams::StreamLimiter;
use self::throttle::LoginThrottle;
use self::token::TokenSigner;
use search::Searcher;
use search::metrics::SearchMetrics;

/// Settings of the server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Rates of classes that differ from the default.
    pub rate_limits: Vec<(RateClass, RateLimit)>,
    /// Proxies whose `X-Forwarded-*` headers are trusted.
    pub trusted_proxies: Vec<Network>,
    /// Host names of the server.
    pub hosts: AllowedHosts,
    /// Other origins that may use the API in a browser: `https://example.org`.
    pub origins: Vec<String>,
    /// `true` if the server itself uses TLS; responses then have HSTS.
    pub is_tls: bool,
    /// Size limit of a request body, in bytes.
    pub max_body_bytes: usize,
    /// Time limit for the arrival of a request body.
    pub body_timeout: Duration,
    /// Time limit for the start of a response.
    pub response_timeout: Duration,
    /// Passwords hashed concurrently.
    pub max_concurrent_hashes: usize,
    /// Event streams open concurrently.
    pub max_streams: usize,
    /// Metrics of requests.
    pub metrics: SearchMetrics,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            rate_limits: Vec::new(),
            trusted_proxies: Vec::new(),
            hosts: AllowedHosts::default(),
            origins: Vec::new(),
            is_tls: false,
            max_body_bytes: 1 << 20,
            body_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(60),
            max_concurrent_hashes: 2,
            max_streams: 1000,
            metrics: SearchMetrics::default(),
        }
    }
}

/// State shared by all handlers. Clones share it.
#[derive(Clone)]
pub struct App(Arc<AppState>);

/// Fields of [`App`].
pub struct AppState {
    pub(crate) metadata: Postgres,
    pub(crate) service: Arc<dyn CollectionService>,
    pub(crate) config: ServerConfig,
    pub(crate) signer: TokenSigner,
    pub(crate) passwords: PasswordService,
    pub(crate) request_limiter: RequestLimiter,
    pub(crate) throttle: LoginThrottle,
    pub(crate) streams: StreamLimiter,
    pub(crate) caches: AccessCaches,
    pub(crate) searcher: Searcher,
    /// Becomes `true` when the server stops; event streams then end.
    pub(crate) closing: watch::Receiver<bool>,
}

impl Deref for App {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.0
    }
}

impl App {
    /// Drops cached results of a collection whose documents changed.
    pub fn invalidate(&self, collection: Uuid) {
        self.service.invalidate(Some(collection));
        self.searcher.caches().invalidate(collection);
        self.caches.invalidate_counts(collection);
    }

    /// Called before a client learns that an operation has ended. Its later searches then see the
    /// result, even if the notification of the database has not arrived yet.
    pub(crate) fn note_operation_end(&self, operation: &OperationRecord) {
        if operation.completed_at.is_some() && self.caches.mark_ended(operation.id) {
            self.invalidate(operation.collection_id);
        }
    }

    /// Drops all cached results after an unknown change.
    pub fn invalidate_all(&self) {
        self.caches.invalidate_accounts();
        self.service.invalidate(None);
        self.searcher.caches().invalidate_all();
    }

    /// A collection as shown to a caller with this right on it.
    pub(crate) fn collection_view(
        &self,
        seen: VisibleCollection,
        right: AccessLevel,
    ) -> wire::Collection {
        let is_served = self.service.serves(&seen.owner, &seen.collection.name);
        wire::Collection::new(seen, is_served, right)
    }

    pub(crate) fn accounts(&self) -> Accounts<'_> {
        self.metadata.accounts()
    }

    /// A server over a metadata store. `closing` becomes `true` when event streams must end.
    ///
    /// # Errors
    /// If the keys that sign tokens can be neither read nor created.
    pub async fn new(
        metadata: Postgres,
        service: Arc<dyn CollectionService>,
        config: ServerConfig,
        closing: watch::Receiver<bool>,
    ) -> Result<Self, StoreError> {
        let signer = TokenSigner::new(&metadata.accounts()).await?;
        Ok(Self(Arc::new(AppState {
            metadata,
            service,
            signer,
            passwords: PasswordService::new(config.max_concurrent_hashes),
            request_limiter: RequestLimiter::new(&config.rate_limits),
            throttle: LoginThrottle::new(),
            streams: StreamLimiter::new(config.max_streams),
            caches: AccessCaches::new(),
            searcher: Searcher::new(search::SearchCaches::default().with_metrics(&config.metrics)),
            closing,
            config,
        })))
    }
}
