//! The sockets on which the server answers the commands of its own user, one in each data folder
//! with embedded vectors (`src/local_socket.rs`).

use std::collections::BTreeSet;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use futures::future::try_join_all;
use operations::PipelineFiles;
use pipeline::BoxError;

use super::listen::apply_limits;
use crate::local_socket;

/// The bound sockets; dropping the value deletes their files.
pub(super) struct LocalSockets {
    sockets: Vec<(PathBuf, Option<UnixListener>)>,
    handle: Handle<SocketAddr>,
}

impl LocalSockets {
    /// Binds a socket in the data folder of each file with embedded vectors. Without it, as on a
    /// read-only volume, commands read the vectors themselves.
    pub(super) fn bind(files: &PipelineFiles) -> Self {
        let loaded = files.loaded();
        let embedded = loaded.iter().filter(|it| local_socket::has_embedded_vectors(&it.spec));
        let folders: BTreeSet<PathBuf> = embedded.map(|it| it.spec.data_folder()).collect();
        let mut sockets = Vec::new();
        for data in folders {
            match local_socket::bind(&data) {
                Ok((path, listener)) => sockets.push((path, Some(listener))),
                Err(error) => tracing::warn!(
                    error = pipeline::io_error_text(&error),
                    folder = %data.display(),
                    "cannot create a socket in the data folder; commands cannot read the vectors \
                     during an operation of this server",
                ),
            }
        }
        Self { sockets, handle: Handle::new() }
    }

    /// Stops the service; requests in flight have `grace` to end.
    pub(super) fn stop(&self, grace: Duration) {
        self.handle.graceful_shutdown(Some(grace));
    }

    /// The service of all sockets, until it is stopped.
    ///
    /// # Errors
    /// If a socket fails.
    pub(super) fn serve(
        &mut self,
        router: &Router,
    ) -> impl Future<Output = Result<(), BoxError>> + use<> {
        let listeners: Vec<_> = self.sockets.iter_mut().filter_map(|it| it.1.take()).collect();
        let services = listeners.into_iter().map(|listener| {
            let (router, handle) = (router.clone(), self.handle.clone());
            async move {
                listener.set_nonblocking(true)?;
                let mut server = axum_server::from_unix(listener)?.handle(handle).http1_only();
                apply_limits(&mut server.http_builder().http1());
                Ok::<_, BoxError>(server.serve(router.into_make_service()).await?)
            }
        });
        let services: Vec<_> = services.collect();
        async move { try_join_all(services).await.map(drop) }
    }
}

impl Drop for LocalSockets {
    fn drop(&mut self) {
        for (path, _) in &self.sockets {
            drop(fs_err::remove_file(path));
        }
    }
}
