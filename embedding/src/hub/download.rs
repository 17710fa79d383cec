//! One file over HTTP: what breaks off goes on where it stopped, and a server that says nothing is not waited for.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use ureq::config::RedirectAuthHeaders;

/// How long to wait for a connection, an answer, or the next bytes of one.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often in a row an attempt may bring nothing.
const ATTEMPTS: u32 = 4;

/// Pause after the first of them; twice as long after each other one.
const PAUSE: Duration = Duration::from_millis(500);

const BLOCK: usize = 64 << 10;

/// Asks a hub.
pub(super) struct Client {
    agent: ureq::Agent,
    token: Option<String>,
}

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum DownloadError {
    #[error(transparent)]
    Http(Box<ureq::Error>),
    #[error("it ended before its end")]
    Short,
    #[error("it is longer than the hub says")]
    Long,
    #[error("it cannot be written")]
    Disk(#[source] io::Error),
}

impl From<ureq::Error> for DownloadError {
    fn from(error: ureq::Error) -> Self {
        Self::Http(Box::new(error))
    }
}

impl DownloadError {
    /// The status by which the server refused, if it did.
    pub(super) fn status(&self) -> Option<u16> {
        if let Self::Http(error) = self
            && let ureq::Error::StatusCode(status) = **error
        {
            return Some(status);
        }
        None
    }

    /// Whether it will be the same the next time.
    fn is_final(&self) -> bool {
        let passes = [408, 425, 429].map(Some).contains(&self.status());
        matches!(self, Self::Disk(_) | Self::Long)
            || matches!(self.status(), Some(400..=499)) && !passes
    }
}

impl Client {
    /// A client that shows this token. It is not shown to other hosts, to which a hub refers for large files.
    pub(super) fn new(token: Option<String>) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(concat!("semantik/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), token }
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    fn get(&self, url: &str) -> ureq::RequestBuilder<ureq::typestate::WithoutBody> {
        let request = self.agent.get(url);
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    /// What is at a URL, as text.
    pub(super) fn text(&self, url: &str) -> Result<String, DownloadError> {
        tried(|| Ok(self.get(url).call()?.body_mut().read_to_string()?), || false)
    }

    /// Has the file at a URL be in this file, of which a part may be there. `come` is told how much is there.
    pub(super) fn download(
        &self,
        url: &str,
        file: &Path,
        size: Option<u64>,
        come: &mut dyn FnMut(u64),
    ) -> Result<(), DownloadError> {
        let length = || length_of(file);
        let mut before = length();
        let attempt = || {
            if size.is_some_and(|size| length() > size) {
                // Not a part of this file.
                fs::remove_file(file).map_err(DownloadError::Disk)?;
            }
            if size != Some(length()) || length() == 0 {
                self.rest(url, file, size, come)?;
            }
            if size.is_none_or(|size| size == length()) {
                Ok(())
            } else {
                Err(DownloadError::Short)
            }
        };
        let has_come_on = || {
            let now = length();
            now > std::mem::replace(&mut before, now)
        };
        tried(attempt, has_come_on)?;
        fs::File::open(file).and_then(|file| file.sync_all()).map_err(DownloadError::Disk)
    }

    /// Asks for what is not there yet.
    fn rest(
        &self,
        url: &str,
        file: &Path,
        size: Option<u64>,
        come: &mut dyn FnMut(u64),
    ) -> Result<(), DownloadError> {
        let disk = DownloadError::Disk;
        let from = length_of(file);
        // Lengths and hashes are those of the file as it is.
        let mut request = self.get(url).header("accept-encoding", "identity");
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        let answer = match request.call() {
            Err(ureq::Error::StatusCode(416)) => {
                // There is nothing behind what is there: it is no part of this file.
                fs::remove_file(file).map_err(disk)?;
                return Err(DownloadError::Short);
            }
            answer => answer?,
        };
        let goes_on = answer.status() == 206;
        let range = answer.headers().get("content-range").and_then(|range| range.to_str().ok());
        if goes_on && range.is_none_or(|range| !range.starts_with(&format!("bytes {from}-"))) {
            // Another part than what was asked for: from the beginning, the next time.
            fs::write(file, []).map_err(disk)?;
            return Err(DownloadError::Short);
        }
        let mut options = fs::OpenOptions::new();
        options.create(true).write(true).append(goes_on).truncate(!goes_on);
        let mut written = if goes_on { from } else { 0 };
        let mut file = options.open(file).map_err(disk)?;
        let mut body = answer.into_body().into_reader();
        let mut block = vec![0; BLOCK];
        loop {
            let read = body.read(&mut block).map_err(ureq::Error::from)?;
            if read == 0 {
                return Ok(());
            }
            file.write_all(&block[..read]).map_err(disk)?;
            written += read as u64;
            if size.is_some_and(|size| written > size) {
                return Err(DownloadError::Long);
            }
            come(written);
        }
    }
}

/// How much of a file is there.
fn length_of(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |it| it.len())
}

/// Tries again until it is done, or will never be, or several attempts in a row did not get on.
fn tried<T>(
    mut attempt: impl FnMut() -> Result<T, DownloadError>,
    mut has_come_on: impl FnMut() -> bool,
) -> Result<T, DownloadError> {
    let mut futile = 0;
    loop {
        let error = match attempt() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        futile = if has_come_on() { 0 } else { futile + 1 };
        if error.is_final() || futile == ATTEMPTS {
            return Err(error);
        }
        if futile > 0 {
            std::thread::sleep(PAUSE * 2_u32.pow(futile - 1));
        }
    }
}
