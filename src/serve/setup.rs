//! What there has to be before anybody can use a server: the collections of its files, and a way to make the first
//! administrator.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use metadata::Postgres;
use pipeline::BoxError;
use server::secret;

use crate::operate::Files;
use crate::{render, wiring};

/// How long the token is good by which the first administrator is made; the next start gives another one.
const SETUP: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes the collections of files that are not there yet, so that an operation can be asked for that fills them.
pub(super) async fn open_collections(postgres: &Postgres, files: &Files) -> Result<(), BoxError> {
    for loaded in files.loaded() {
        let Some(model) = loaded.plan.model() else { continue };
        let file = &loaded.spec.file;
        if postgres.users().named(&file.owner).await?.is_none() {
            tracing::warn!(
                owner = file.owner,
                collection = file.collection,
                "there is no such account, so the collection is not made; a server that is started when there is makes it"
            );
            continue;
        }
        let settings = wiring::generation_settings(&loaded.spec, &loaded.plan, model);
        postgres.open_collection(&wiring::new_collection(&loaded.spec, settings)).await?;
    }
    Ok(())
}

/// Where the page is found from this machine: a server that listens on every address is found on the loopback one.
pub(super) fn origin(scheme: &str, mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("{scheme}://{address}")
}

/// Says where the first administrator is made, where there is none yet: by one link that has the token in its fragment,
/// which no browser sends and no proxy logs.
pub(super) async fn offer(
    postgres: &Postgres,
    file: Option<&Path>,
    origin: &str,
) -> Result<(), BoxError> {
    let token = secret::random();
    if !postgres.sessions().offer_setup(&secret::digest(&token), SETUP).await? {
        return Ok(());
    }
    match file {
        Some(file) => {
            write_private(file, &token)?;
            let file = file.display();
            render::say(format_args!(
                "semantik: this server has no administrator yet. Make one at {origin}/setup with the token in {file}"
            ));
        }
        None => render::say(format_args!(
            "semantik: this server has no administrator yet. Make one, within a day, at {origin}/setup#token={token}"
        )),
    }
    Ok(())
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
