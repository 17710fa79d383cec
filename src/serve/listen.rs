//! Sockets, with or without TLS, timeouts for slow clients, and graceful shutdown.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Http1Builder;
use pipeline::BoxError;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Time limit for the head of a request, after which the connection is closed. It applies to idle
/// connections too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of the head of a request, in bytes; larger ones get 431. Other servers allow 8 to
/// 32 KiB.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// Binds a listening socket.
///
/// # Errors
/// If the address is in use or does not belong to this machine.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, BoxError> {
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {}", bind_error(&error)))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Explains why an address cannot be bound, with a remedy.
#[expect(clippy::wildcard_enum_match_arm, reason = "the standard library may add kinds")]
pub(crate) fn bind_error(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "another program uses the port; stop it or choose another port".to_owned()
        }
        ErrorKind::AddrNotAvailable => {
            "the address does not belong to this machine; use one that does, 127.0.0.1 or 0.0.0.0"
                .to_owned()
        }
        ErrorKind::PermissionDenied => {
            "this user may not use that port; choose a port above 1023".to_owned()
        }
        _ => pipeline::io_error_text(error),
    }
}

/// Reads certificate chain and private key of the server.
///
/// # Errors
/// If a file cannot be read, or the key does not belong to the certificate.
pub(super) fn tls(certificates: &Path, key: &Path) -> Result<RustlsConfig, BoxError> {
    let said = |path: &Path, error: rustls::pki_types::pem::Error| {
        if let rustls::pki_types::pem::Error::Io(error) = &error {
            return format!("cannot read {}: {}", path.display(), pipeline::io_error_text(error));
        }
        format!("{} has no usable PEM data: {error}", path.display())
    };
    let chain = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| said(certificates, error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| said(key, error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| {
            let certificates = certificates.display();
            format!("cannot use the certificates of {certificates} with this key: {error}")
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}

/// Serves until the handle is stopped and the requests in flight are answered or out of time.
///
/// # Errors
/// If the socket fails.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<RustlsConfig>,
    handle: Handle<SocketAddr>,
) -> Result<(), BoxError> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    match tls {
        None => {
            let mut server = axum_server::from_tcp(listener)?.handle(handle).http1_only();
            apply_limits(&mut server.http_builder().http1());
            Ok(server.serve(service).await?)
        }
        Some(tls) => {
            let server = axum_server::tls_rustls::from_tcp_rustls(listener, tls)?;
            let mut server = server.handle(handle).http1_only();
            apply_limits(&mut server.http_builder().http1());
            Ok(server.serve(service).await?)
        }
    }
}

/// Sets the limits of each connection.
pub(super) fn apply_limits<E>(http: &mut Http1Builder<'_, E>) {
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES);
}
