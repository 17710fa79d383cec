//! Download of a file over HTTP: resumes interrupted transfers, and times out on silent servers.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use ureq::config::RedirectAuthHeaders;

/// Timeout of a connection, a response, and each read of its body.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Consecutive attempts without progress before the download fails.
const MAX_ATTEMPTS: u32 = 4;

/// Pause after the first attempt without progress; doubled after each further one.
const RETRY_BACKOFF: Duration = Duration::from_millis(500);

const BLOCK_BYTES: usize = 64 << 10;

/// HTTP client for a hub.
pub(super) struct HubClient {
    agent: ureq::Agent,
    token: Option<String>,
}

/// Errors of a download.
#[derive(Debug, thiserror::Error)]
pub(super) enum DownloadError {
    #[error(transparent)]
    Http(Box<ureq::Error>),
    #[error("the response ended early")]
    TooShort,
    #[error("the file is longer than the hub declares")]
    TooLong,
    #[error("cannot write the file")]
    Io(#[source] io::Error),
}

impl From<ureq::Error> for DownloadError {
    fn from(error: ureq::Error) -> Self {
        Self::Http(Box::new(error))
    }
}

impl DownloadError {
    /// The HTTP status of a rejected request; `None` for other errors.
    pub(super) fn status(&self) -> Option<u16> {
        if let Self::Http(error) = self
            && let ureq::Error::StatusCode(status) = **error
        {
            return Some(status);
        }
        None
    }

    /// `true` if a retry cannot succeed.
    fn is_final(&self) -> bool {
        let passes = [408, 425, 429].map(Some).contains(&self.status());
        matches!(self, Self::Io(_) | Self::TooLong)
            || matches!(self.status(), Some(400..=499)) && !passes
    }
}

impl HubClient {
    /// A client that sends this token. On a redirect to another host, as hubs use for large files,
    /// the token is not sent.
    pub(super) fn new(token: Option<String>) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(TIMEOUT))
            .timeout_recv_response(Some(TIMEOUT))
            .timeout_per_read(Some(TIMEOUT))
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

    /// The text at a URL.
    pub(super) fn text(&self, url: &str) -> Result<String, DownloadError> {
        with_retries(|| Ok(self.get(url).call()?.body_mut().read_to_string()?), || false)
    }

    /// Downloads a URL to `file`, which may hold a first part. `come` gets the total bytes written.
    pub(super) fn download(
        &self,
        url: &str,
        file: &Path,
        size: Option<u64>,
        come: &mut dyn FnMut(u64),
    ) -> Result<(), DownloadError> {
        let length = || file_len(file);
        let mut before = length();
        let attempt = || {
            if size.is_some_and(|size| length() > size) {
                // Longer than the file on the hub, so not a part of it.
                fs::remove_file(file).map_err(DownloadError::Io)?;
            }
            if size != Some(length()) || length() == 0 {
                self.download_rest(url, file, size, come)?;
            }
            if size.is_none_or(|size| size == length()) {
                Ok(())
            } else {
                Err(DownloadError::TooShort)
            }
        };
        let has_come_on = || {
            let now = length();
            now > std::mem::replace(&mut before, now)
        };
        with_retries(attempt, has_come_on)?;
        fs::File::open(file).and_then(|file| file.sync_all()).map_err(DownloadError::Io)
    }

    /// Requests the bytes after the local part.
    fn download_rest(
        &self,
        url: &str,
        file: &Path,
        size: Option<u64>,
        come: &mut dyn FnMut(u64),
    ) -> Result<(), DownloadError> {
        let disk = DownloadError::Io;
        let from = file_len(file);
        // Sizes and hashes are those of the uncompressed file.
        let mut request = self.get(url).header("accept-encoding", "identity");
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        let answer = match request.call() {
            Err(ureq::Error::StatusCode(416)) => {
                // The range starts after the end of the file, so the local content is not a part of
                // it.
                fs::remove_file(file).map_err(disk)?;
                return Err(DownloadError::TooShort);
            }
            answer => answer?,
        };
        let goes_on = answer.status() == 206;
        let range = answer.headers().get("content-range").and_then(|range| range.to_str().ok());
        if goes_on && range.is_none_or(|range| !range.starts_with(&format!("bytes {from}-"))) {
            // Not the requested range: the next attempt starts from the beginning.
            fs::write(file, []).map_err(disk)?;
            return Err(DownloadError::TooShort);
        }
        let mut options = fs::OpenOptions::new();
        options.create(true).write(true).append(goes_on).truncate(!goes_on);
        let mut written = if goes_on { from } else { 0 };
        let mut file = options.open(file).map_err(disk)?;
        let mut body = answer.into_body().into_reader();
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let read = body.read(&mut block).map_err(ureq::Error::from)?;
            if read == 0 {
                return Ok(());
            }
            file.write_all(&block[..read]).map_err(disk)?;
            written += read as u64;
            if size.is_some_and(|size| written > size) {
                return Err(DownloadError::TooLong);
            }
            come(written);
        }
    }
}

/// Length of a local file in bytes; 0 if it does not exist.
fn file_len(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |it| it.len())
}

/// Retries with backoff until success, a final error, or [`MAX_ATTEMPTS`] consecutive attempts
/// without progress.
fn with_retries<T>(
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
        if error.is_final() || futile == MAX_ATTEMPTS {
            return Err(error);
        }
        if futile > 0 {
            std::thread::sleep(RETRY_BACKOFF * 2_u32.pow(futile - 1));
        }
    }
}
