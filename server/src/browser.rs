//! Security of browser sessions: the session cookie, and the proof that a request that may use it
//! was sent by this server's own page.
//!
//! The cookie grants access to three endpoints only (`routes/browser.rs`), one of which returns an
//! access token to the page. All others require the header `Authorization`, which no browser sends
//! by itself. See docs/adr/0028-browser-sessions.md.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::header::{COOKIE, HOST, HeaderName, HeaderValue, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};

use super::problem::{HandlerResult, Problem, ProblemCode};

/// Lifetime of an unused browser session.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Longest lifetime of a browser session.
pub(super) const ABSOLUTE_TIMEOUT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Header of the page's requests that may use the cookie. A form cannot send it, and a script of
/// another origin only after a CORS preflight, which never allows it: `layers.rs` does not list
/// this header.
const CSRF: HeaderName = HeaderName::from_static("x-semantik-csrf");
/// Header in which a browser states the origin of a request relative to its target (Fetch Metadata
/// Request Headers).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// `true` if the client connected by TLS; set by `layers.rs`.
#[derive(Clone, Copy, Debug)]
pub(super) struct IsSecure(pub(super) bool);

/// A request from this server's own page.
#[derive(Debug)]
pub(super) struct BrowserRequest {
    /// Name of the cookie.
    name: String,
    is_secure: bool,
    /// The credential in the cookie; `None` without cookie.
    pub(super) credential: Option<String>,
}

impl BrowserRequest {
    /// The `Set-Cookie` header that stores a credential for the longest lifetime of a session.
    pub(super) fn set_cookie(&self, credential: &str) -> HeaderValue {
        self.cookie_header(credential, ABSOLUTE_TIMEOUT.as_secs())
    }

    /// The `Set-Cookie` header that deletes the cookie.
    pub(super) fn clear_cookie(&self) -> HeaderValue {
        self.cookie_header("", 0)
    }

    fn cookie_header(&self, value: &str, seconds: u64) -> HeaderValue {
        let name = &self.name;
        let secure = if self.is_secure { "; Secure" } else { "" };
        let text =
            format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::try_from(text).expect("the name and the credential are ASCII")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for BrowserRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> HandlerResult<Self> {
        let Some(IsSecure(is_secure)) = parts.extensions.get().copied() else {
            return Err(Problem::internal("the layers set no `IsSecure`"));
        };
        let host = request_host(&parts.headers, &parts.uri);
        ensure_own_page(&parts.headers, host)?;
        let name = cookie_name(host, is_secure);
        let credential = read_cookie(&parts.headers, &name);
        Ok(Self { name, is_secure, credential })
    }
}

/// The authority to which the client sent the request: a host name, and the port unless it is the
/// default one.
fn request_host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> &'a str {
    let named = headers.get(HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| uri.authority().map(|it| it.as_str())).unwrap_or_default()
}

/// The name of the cookie. Browsers send the cookies of a host to all of its ports. With the port
/// in the name, two servers on one host do not overwrite each other's cookie.
fn cookie_name(host: &str, is_secure: bool) -> String {
    // Other hosts of the same domain cannot set a cookie with this prefix (RFC 6265bis, 4.1.3.2).
    let prefix = if is_secure { "__Host-" } else { "" };
    let port = host.rsplit_once(':').map(|(_, port)| port);
    let is_port = |port: &&str| !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit());
    match port.filter(is_port) {
        Some(port) => format!("{prefix}semantik-session-{port}"),
        None => format!("{prefix}semantik-session"),
    }
}

fn read_cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs =
        lines.flat_map(|line| line.split(';')).filter_map(|it| it.trim().split_once('='));
    let (_, value) = pairs.find(|(it, _)| *it == name)?;
    (!value.is_empty()).then(|| value.to_owned())
}

/// Accepts requests of this server's own page: they carry the CSRF header, and the browser states
/// that the origin is that of the target.
fn ensure_own_page(headers: &HeaderMap, host: &str) -> HandlerResult<()> {
    let refused = |why: &str| Err(Problem::new(ProblemCode::Forbidden, why));
    if headers.get(CSRF).is_none_or(|value| value != "1") {
        return refused("requests for browser sessions require the header `X-Semantik-CSRF: 1`");
    }
    // Browsers omit it on pages that were loaded without TLS from another machine.
    let is_own = match headers.get(FETCH_SITE) {
        Some(site) => site == "same-origin",
        None => {
            let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
            let origin = origin.and_then(|origin| origin.split_once("://"));
            origin.is_some_and(|(_, it)| !it.is_empty() && it.eq_ignore_ascii_case(host))
        }
    };
    if is_own {
        return Ok(());
    }
    refused(
        "only the page of this server may use browser sessions: programs log in by `POST \
         /api/v1/sessions` (a reverse proxy must forward `Host`)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a header"));
        }
        headers
    }

    #[test]
    fn only_the_own_page_may_use_the_cookie() {
        let host = "search.example:8080";
        for (is_own, pairs) in [
            (true, &[("x-semantik-csrf", "1"), ("sec-fetch-site", "same-origin")][..]),
            (true, &[("x-semantik-csrf", "1"), ("origin", "http://search.example:8080")]),
            (true, &[("x-semantik-csrf", "1"), ("origin", "https://SEARCH.example:8080")]),
            // A form, or a script that was not allowed to send the header.
            (false, &[("sec-fetch-site", "same-origin")]),
            (false, &[("origin", "http://search.example:8080")]),
            (false, &[("x-semantik-csrf", "0"), ("sec-fetch-site", "same-origin")]),
            // Another port is another origin of the same site.
            (false, &[("x-semantik-csrf", "1"), ("sec-fetch-site", "same-site")]),
            (false, &[("x-semantik-csrf", "1"), ("sec-fetch-site", "cross-site")]),
            (false, &[("x-semantik-csrf", "1"), ("sec-fetch-site", "none")]),
            (false, &[("x-semantik-csrf", "1"), ("origin", "http://search.example")]),
            (false, &[("x-semantik-csrf", "1"), ("origin", "http://search.example:9090")]),
            (false, &[("x-semantik-csrf", "1"), ("origin", "http://evil.example:8080")]),
            (false, &[("x-semantik-csrf", "1"), ("origin", "null")]),
            (false, &[("x-semantik-csrf", "1")]),
            // `Sec-Fetch-Site` takes precedence over `Origin`.
            (
                false,
                &[
                    ("x-semantik-csrf", "1"),
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://search.example:8080"),
                ],
            ),
            (false, &[]),
        ] {
            assert_eq!(ensure_own_page(&headers(pairs), host).is_ok(), is_own, "{pairs:?}");
        }
        let no_host = headers(&[("x-semantik-csrf", "1"), ("origin", "http://")]);
        assert!(ensure_own_page(&no_host, "").is_err());
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name_and_told_apart_by_port() {
        assert_eq!(cookie_name("127.0.0.1:8080", false), "semantik-session-8080");
        assert_eq!(cookie_name("[::1]:8080", false), "semantik-session-8080");
        assert_eq!(cookie_name("[::1]", false), "semantik-session");
        assert_eq!(cookie_name("search.example", true), "__Host-semantik-session");
        let sent = headers(&[
            ("cookie", "a=1; semantik-session-80800=no; semantik-session=other"),
            ("cookie", "semantik-session-8080=abc-_; semantik-session-8080=later"),
        ]);
        assert_eq!(read_cookie(&sent, "semantik-session-8080").as_deref(), Some("abc-_"));
        assert_eq!(read_cookie(&sent, "semantik"), None);
        let browser = |is_secure| BrowserRequest {
            name: cookie_name("search.example", is_secure),
            is_secure,
            credential: None,
        };
        assert_eq!(
            browser(true).set_cookie("abc").to_str().expect("plain"),
            "__Host-semantik-session=abc; Path=/; Max-Age=7776000; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            browser(false).clear_cookie().to_str().expect("plain"),
            "semantik-session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
        );
    }
}
