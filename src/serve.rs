//! The server: the HTTP front end of `search` over the stores of the pipeline files that it is given.
//!
//! Here the ports of the front end meet the metadata store (`serve/accounts.rs`, `serve/catalogue.rs`) and the vectors
//! (`serve/work.rs`). Sockets are in `serve/listen.rs`; what is served, and to whom, is the front end's to say.

mod accounts;
mod catalogue;
mod listen;
mod rows;
mod served;
mod work;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use pipeline::BoxError;
use search::SearchMetrics;
use search::http::{App, Config, secret};
use sinks::Postgres;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use self::accounts::StoredAccounts;
use self::catalogue::StoredCatalogue;
use self::served::Served;
use self::work::ServedWork;
use crate::cli::ServeArgs;
use crate::render;
use crate::telemetry::Telemetry;
use crate::wiring::Database;

/// How long the token is good by which the first administrator is made; the next start gives another one.
const SETUP: Duration = Duration::from_secs(24 * 60 * 60);

/// Serves until a signal comes, and what is under way has ended.
pub(crate) async fn serve(args: &ServeArgs, telemetry: &Telemetry) -> Result<(), BoxError> {
    let engine = Arc::new(embedding::Engine::new());
    let served = Arc::new(Served::read(&args.config, &engine)?);
    let listener = listen::bind(args.listen)?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificates), Some(key)) => Some(listen::tls(certificates, key)?),
        _ => None,
    };
    // Held for as long as the server runs: so does the private cluster.
    let database = Database::open(&served.first().spec).await?;
    let postgres = database.postgres().clone();
    postgres.migrate_up().await?;
    let (close, closing) = watch::channel(false);
    let config = Config {
        rates: args.rate.clone(),
        trusted_proxies: args.trusted_proxy.clone(),
        origins: args.cors_origin.clone(),
        is_tls: tls.is_some(),
        metrics: SearchMetrics::new(telemetry.exposition().registry()),
        ..Config::default()
    };
    telemetry.watch(&postgres, &served.first().spec.data_folder());
    let work = ServedWork {
        postgres: postgres.clone(),
        served: Arc::clone(&served),
        telemetry: telemetry.clone(),
    };
    let catalogue = StoredCatalogue { postgres: postgres.clone(), served };
    let accounts = StoredAccounts(postgres.clone());
    let app =
        App::new(Arc::new(accounts), Arc::new(catalogue), Arc::new(work), config, closing).await?;
    let router = search::http::router(&app, Router::new());

    let address = listener.local_addr()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    if tls.is_none() && !address.ip().is_loopback() {
        tracing::warn!(%address, "passwords and keys travel in clear text: put TLS in front, or name --tls-cert");
    }
    let handle = Handle::new();
    let serving = listen::serve(listener, router, tls, handle.clone());
    offer_setup(&postgres, args.setup_token_file.as_deref()).await?;
    render::say(format_args!("semantik: serving on {scheme}://{address}"));
    let serving = until_told(serving, &handle, &close, Duration::from_secs(args.grace));
    telemetry.served_while(args.metrics, serving).await
}

/// Serves until SIGINT or SIGTERM; a second one stops at once.
async fn until_told(
    serving: impl Future<Output = Result<(), BoxError>>,
    handle: &Handle<SocketAddr>,
    close: &watch::Sender<bool>,
    grace: Duration,
) -> Result<(), BoxError> {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::pin!(serving);
    let mut is_stopping = false;
    loop {
        tokio::select! {
            ended = &mut serving => return ended,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if is_stopping {
            return Ok(());
        }
        is_stopping = true;
        tracing::info!("stopping: no new requests, and those under way are answered");
        close.send_replace(true);
        handle.graceful_shutdown(Some(grace));
    }
}

/// Says by what token the first administrator is made, where there is none yet.
async fn offer_setup(postgres: &Postgres, file: Option<&Path>) -> Result<(), BoxError> {
    let token = secret::random();
    if !postgres.sessions().offer_setup(&secret::digest(&token), SETUP).await? {
        return Ok(());
    }
    match file {
        Some(file) => write_private(file, &token),
        None => {
            render::say(format_args!(
                "semantik: nobody administers this server yet. `POST /api/v1/setup` makes the first administrator with \
                 this token, once, within a day: {token}"
            ));
            Ok(())
        }
    }
}

/// Writes a file that nobody else can read. One that is there is replaced, whoever could read that.
fn write_private(file: &Path, text: &str) -> Result<(), BoxError> {
    use std::io::Write as _;
    let aside = file.with_extension("part");
    drop(fs_err::remove_file(&aside));
    let mut options = fs_err::OpenOptions::new();
    fs_err::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600)
        .open(&aside)?
        .write_all(format!("{text}\n").as_bytes())?;
    Ok(fs_err::rename(&aside, file)?)
}
