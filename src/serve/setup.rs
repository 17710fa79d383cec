//! Preparation of a new server: the collections of its files, and the token for the first
//! administrator.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use metadata::Postgres;
use operations::PipelineFiles;
use pipeline::BoxError;
use server::secret;

use crate::render;

/// Lifetime of the token for the first administrator; each start issues a new one.
const SETUP_TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Creates missing collections of the files, so that operations on them can be requested.
pub(super) async fn open_collections(
    postgres: &Postgres,
    files: &PipelineFiles,
) -> Result<(), BoxError> {
    for loaded in files.loaded() {
        let file = &loaded.spec.file;
        if postgres.accounts().find_user_by_name(&file.owner).await?.is_none() {
            tracing::warn!(
                owner = file.owner,
                collection = file.collection,
                "unknown owner: the collection is not created; create the account and restart the \
                 server"
            );
            continue;
        }
        let settings = operations::generation_settings(&loaded.plan, &loaded.facts);
        postgres.ensure_collection(&operations::new_collection(&loaded.spec, settings)).await?;
    }
    Ok(())
}

/// The origin of the web UI on this machine: the loopback address if the server listens on all
/// addresses.
pub(super) fn page_origin(scheme: &str, mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("{scheme}://{address}")
}

/// Prints the address where the first administrator can be created, unless one exists. The link has
/// the token in its fragment, which browsers do not send and proxies do not log.
pub(super) async fn offer_setup(
    postgres: &Postgres,
    file: Option<&Path>,
    origin: &str,
) -> Result<(), BoxError> {
    let token = secret::random_secret();
    if !postgres
        .accounts()
        .create_setup_token(&secret::digest(&token), SETUP_TOKEN_LIFETIME)
        .await?
    {
        return Ok(());
    }
    match file {
        Some(file) => {
            write_private(file, &token)?;
            let file = file.display();
            render::print_error_line(format_args!(
                "semantik: this server has no administrator yet. Create one at {origin}/setup \
                 with the token in {file}"
            ));
        }
        None => render::print_error_line(format_args!(
            "semantik: this server has no administrator yet. Create one, within a day, at \
             {origin}/setup#token={token}"
        )),
    }
    Ok(())
}

/// Writes a file that only its owner can read. Replaces an existing file, whatever its permissions.
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
