//! The server: the HTTP API over the stores of the given pipeline files, together with an executor
//! that runs queued operations and schedules, so that one process is a complete system.
//!
//! This module implements the port of the API for the work on collections
//! (`serve/collections.rs`, `serve/targets.rs`). `serve/listen.rs` has the sockets; routes and
//! permissions are in `server`. All parts run concurrently in one task and end together.

mod collections;
mod descriptors;
mod listen;
mod local;
mod setup;
mod targets;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use futures::future::try_join4;
use metadata::{OperationEvent, OperationStatus};
use operations::{PipelineFiles, Worker, WorkerConfig};
use pipeline::BoxError;
use search::SearchMetrics;
use server::ports;
use server::{AllowedHosts, App, PublicUrl, ServerConfig};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use self::listen::bind_error;

use self::collections::ServedCollections;
use self::local::LocalSockets;
use self::targets::Targets;
use crate::cli::ServeArgs;
use crate::cmd::Signals;
use crate::telemetry::Telemetry;
use crate::{composition, render};

/// Capacity of the channel of changes; a slower reader misses the oldest ones.
const CHANGE_BUFFER: usize = 256;
/// Interval in which unused vectors are closed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Serves until a signal arrives and the requests in flight are answered.
pub(crate) async fn serve(args: &ServeArgs, telemetry: &Telemetry) -> Result<(), BoxError> {
    let mut signals = Signals::new()?;
    let files = PipelineFiles::new(args.files.clone(), composition::composition());
    tokio::select! {
        () = files.fetch_models() => {}
        _ = signals.next() => return Ok(()),
    }
    if let Some((_, fault)) = files.faults().into_iter().next() {
        return Err(fault.trim_end().to_owned().into());
    }
    let first = files.loaded().into_iter().next().ok_or("no pipeline file to serve")?;
    let descriptors = descriptors::raise_limit();
    let listener = listen::bind(args.listen)?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificates), Some(key)) => Some(listen::tls(certificates, key)?),
        _ => None,
    };
    let runtime = composition::open_runtime(&first.spec, telemetry).await?;
    let postgres = runtime.database.postgres().clone();
    // On a read-only database searches, lists, keys and existing sessions work; other requests get
    // 503.
    let is_read_only = postgres.is_read_only().await?;
    if is_read_only {
        tracing::warn!(
            "the database is read-only: searches work, but logins and operations fail until the \
             server is restarted with a writable database"
        );
    } else {
        setup::open_collections(&postgres, &files).await?;
    }
    let grace = Duration::from_secs(args.grace);
    let manner = WorkerConfig { grace, ..WorkerConfig::default() };
    let executor = Worker::new(runtime.clone(), files.clone(), manner);
    let mut sockets = LocalSockets::bind(&files);
    let targets = Arc::new(Targets::new(runtime, files));
    tokio::task::block_in_place(|| targets.load_models());

    let (close, closing) = watch::channel(false);
    let (told, _) = broadcast::channel(CHANGE_BUFFER);
    let work = Arc::new(ServedCollections {
        targets: Arc::clone(&targets),
        changes: told.clone(),
        telemetry: telemetry.clone(),
    });
    let config = ServerConfig {
        rate_limits: args.rate.clone(),
        trusted_proxies: args.trusted_proxy.clone(),
        hosts: AllowedHosts::new(listener.local_addr()?.ip(), &args.public_url),
        max_streams: descriptors::max_streams(descriptors),
        origins: args.cors_origin.clone(),
        is_tls: tls.is_some(),
        metrics: SearchMetrics::new(telemetry.exposition().registry()),
        ..ServerConfig::default()
    };
    let app = App::new(postgres.clone(), work, config, closing).await?;
    let router = server::router(&app, server::web::router());

    let address = listener.local_addr()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    if tls.is_none() && !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "passwords and keys are sent in clear text: use a TLS proxy or --tls-cert",
        );
    }
    let (handle, stop) = (Handle::new(), CancellationToken::new());
    let answering = sockets.serve(&server::local_router(&app));
    let serving = async {
        let ended = listen::serve(listener, router, tls, handle.clone()).await;
        // No more requests can arrive, whatever the cause.
        stop.cancel();
        ended
    };
    let working = async {
        if is_read_only {
            stop.cancelled().await;
            return Ok(());
        }
        executor.run(&stop).await
    };
    // A standby does not support LISTEN.
    let changes = if is_read_only { None } else { Some(postgres.listen().await?) };
    let telling = forward_changes(changes, &app, &told, &targets, &stop);
    let all = try_join4(serving, answering, working, telling);
    if !is_read_only {
        let public = args.public_url.first().map(PublicUrl::as_str);
        let origin = public.map_or_else(|| setup::page_origin(scheme, address), str::to_owned);
        setup::offer_setup(&postgres, args.setup_token_file.as_deref(), &origin).await?;
    }
    render::print_error_line(format_args!("semantik: serving on {scheme}://{address}"));
    tokio::pin!(all);
    let until_told = async {
        loop {
            tokio::select! {
                ended = &mut all => return ended.map(drop),
                signal = signals.next() => {
                    if *close.borrow() {
                        // A second signal: the leases expire, and other workers continue from the
                        // stored state.
                        std::process::exit(i32::from(128 + signal));
                    }
                    shut_down(&close, &handle, grace);
                    sockets.stop(grace);
                    stop.cancel();
                }
            }
        }
    };
    telemetry.serve_metrics_while(args.metrics, until_told).await
}

/// The next change; pending forever if changes are not received.
async fn next_change(changes: &mut Option<metadata::OperationEvents>) -> OperationEvent {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

/// Rejects new requests, lets those in flight finish, and ends streams.
fn shut_down(close: &watch::Sender<bool>, handle: &Handle<SocketAddr>, grace: Duration) {
    tracing::info!(?grace, "stopping: requests in flight may take this long");
    close.send_replace(true);
    handle.graceful_shutdown(Some(grace));
}

/// Forwards changes to event streams, and invalidates cached results of changed collections.
/// Without notifications, as on a standby, all cached results are invalidated at each sweep.
async fn forward_changes(
    mut changes: Option<metadata::OperationEvents>,
    app: &App,
    told: &broadcast::Sender<ports::OperationChange>,
    targets: &Targets,
    stop: &CancellationToken,
) -> Result<(), BoxError> {
    let mut sweeps = tokio::time::interval(SWEEP_INTERVAL);
    sweeps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Collections by running operation: progress notifications lack the collection.
    let mut collections = HashMap::new();
    loop {
        let change = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = sweeps.tick() => {
                if let Err(error) = targets.sweep().await {
                    tracing::debug!(error, "failed to sweep unused vectors");
                }
                if changes.is_none() {
                    app.invalidate_all();
                }
                continue;
            }
            change = next_change(&mut changes) => change,
        };
        match change {
            OperationEvent::StatusChanged { id, collection, status } => {
                if matches!(status, OperationStatus::Pending | OperationStatus::Processing) {
                    collections.insert(id, collection);
                } else {
                    collections.remove(&id);
                    app.invalidate(collection);
                }
                drop(
                    told.send(ports::OperationChange {
                        operation: id,
                        collection: Some(collection),
                    }),
                );
            }
            OperationEvent::Progress(id) => {
                let collection = collections.get(&id).copied();
                drop(told.send(ports::OperationChange { operation: id, collection }));
            }
            OperationEvent::Lagged => {
                // The ends of these operations may have been missed.
                collections.clear();
                app.invalidate_all();
            }
        }
    }
}
