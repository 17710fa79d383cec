//! Checks the head of every request: `Host` names this server, and there is at most one
//! `Authorization`.
//!
//! A page of another site can let its own host name resolve to an address of this server (DNS
//! rebinding), and a browser would let it read the responses of a server on loopback. So a server
//! accepts only its own host names.

use std::net::IpAddr;
use std::str::FromStr;

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};

use super::log_text::sanitized;
use super::problem::{HandlerResult, Problem, ProblemCode};

/// Characters of a refused host name shown in the response.
const MAX_SHOWN_NAME: usize = 100;

/// A URL by which clients reach the server: `https://search.example.org`.
///
/// ```
/// use server::PublicUrl;
///
/// let url: PublicUrl = "https://search.example.org/".parse()?;
/// assert_eq!(url.as_str(), "https://search.example.org");
/// assert!("https://example.org/search".parse::<PublicUrl>().is_err(), "a path");
/// # Ok::<_, String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    url: String,
    host: String,
}

impl PublicUrl {
    /// The URL without trailing slash.
    pub fn as_str(&self) -> &str {
        &self.url
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("invalid URL `{text}`: expected the form https://search.example.org");
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let host = uri.authority().and_then(host_of).filter(|_| is_http && is_bare);
        let url = text.trim_end_matches('/').to_owned();
        host.map(|host| Self { url, host }).ok_or_else(wrong)
    }
}

/// The host names of the server.
#[derive(Clone, Debug)]
pub struct AllowedHosts {
    listen: IpAddr,
    names: Vec<String>,
}

impl AllowedHosts {
    /// The names of a server that listens at `listen` and is reached by the URLs `public`.
    pub fn new(listen: IpAddr, public: &[PublicUrl]) -> Self {
        Self { listen, names: public.iter().map(|url| url.host.clone()).collect() }
    }

    /// Returns true if a name, or an address in the form of a URL, belongs to this server. A server
    /// that listens at all addresses accepts every address: only a name can be made to resolve to
    /// another address.
    fn allows(&self, host: &str) -> bool {
        if self.names.iter().any(|name| name == host) {
            return true;
        }
        let is_local = self.listen.is_loopback() || self.listen.is_unspecified();
        if host == "localhost" || host.ends_with(".localhost") {
            return is_local;
        }
        let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let Ok(address) = literal.unwrap_or(host).parse::<IpAddr>() else { return false };
        let address = address.to_canonical();
        address == self.listen.to_canonical()
            || self.listen.is_unspecified()
            || (self.listen.is_loopback() && address.is_loopback())
    }
}

impl Default for AllowedHosts {
    /// The names of a server on loopback.
    fn default() -> Self {
        Self::new(std::net::Ipv4Addr::LOCALHOST.into(), &[])
    }
}

/// Checks the head of a request. For a trusted proxy, `X-Forwarded-Host` replaces `Host`.
pub(super) fn check_host(
    request: &Request,
    hosts: &AllowedHosts,
    is_from_proxy: bool,
) -> HandlerResult<()> {
    let headers = request.headers();
    if headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        return Err(bad_request("several `Authorization` headers: expected at most one"));
    }
    let mut named = headers.get_all(HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else {
        return Err(bad_request("expected exactly one `Host` header"));
    };
    let called = match forwarded_hosts(headers).filter(|_| is_from_proxy) {
        Some(names) => names,
        // The name in an absolute target precedes the header (RFC 9112, 3.2.2); both must be valid.
        None => {
            let target = request.uri().authority().map(|it| it.as_str().to_owned());
            let header = host
                .to_str()
                .map_err(|_| bad_request("`Host` is not a valid host name"))?
                .to_owned();
            target.into_iter().chain([header]).collect()
        }
    };
    for name in called {
        let authority: Option<Authority> = name.parse().ok();
        let host = authority
            .as_ref()
            .and_then(host_of)
            .ok_or_else(|| bad_request("`Host` is not a valid host name"))?;
        if !hosts.allows(&host) {
            let detail = format!(
                "this server does not accept the host name `{}`: add it with --public-url",
                sanitized(&host, MAX_SHOWN_NAME)
            );
            return Err(Problem::new(ProblemCode::Misdirected, detail));
        }
    }
    Ok(())
}

/// The names in `X-Forwarded-Host`; `None` without the header.
fn forwarded_hosts(headers: &HeaderMap) -> Option<Vec<String>> {
    let lines = headers.get_all("x-forwarded-host").iter();
    let names = lines.flat_map(|line| line.to_str().unwrap_or_default().split(','));
    let names: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
    (!names.is_empty()).then_some(names)
}

/// The host of an authority in lower case, without trailing dot. `None` if it is empty or there is
/// user information.
fn host_of(authority: &Authority) -> Option<String> {
    let host = authority.host();
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    (!host.is_empty() && !authority.as_str().contains('@')).then_some(host)
}

fn bad_request(detail: &str) -> Problem {
    Problem::new(ProblemCode::BadRequest, detail)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn answered(listen: &str, public: &[&str], headers: &[(&str, &str)], proxy: bool) -> u16 {
        let public: Vec<PublicUrl> = public.iter().map(|it| it.parse().expect("a URL")).collect();
        let hosts = AllowedHosts::new(listen.parse().expect("an address"), &public);
        let mut request = Request::builder().uri("/api/v1/search");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        check_host(&request, &hosts, proxy)
            .map_or_else(|problem| problem.code.status().as_u16(), |()| 200)
    }

    #[test]
    fn a_server_answers_to_its_own_names() {
        let (loopback, any, one) = ("127.0.0.1", "0.0.0.0", "192.0.2.7");
        for (listen, host, status) in [
            (loopback, "127.0.0.1:8080", 200),
            (loopback, "127.0.0.1", 200),
            (loopback, "127.9.9.9:1", 200),
            (loopback, "[::1]:8080", 200),
            (loopback, "localhost:9000", 200),
            (loopback, "LOCALHOST.", 200),
            (loopback, "app.localhost", 200),
            (loopback, "evil.example", 421),
            (loopback, "evil.example:8080", 421),
            (loopback, "localhost.evil.example", 421),
            (loopback, "127.0.0.1.evil.example", 421),
            (loopback, "192.0.2.7", 421),
            (loopback, "root@localhost", 400),
            (loopback, "", 400),
            (loopback, "a b", 400),
            (loopback, "search.example.org", 200),
            (loopback, "Search.Example.ORG:443", 200),
            (loopback, "other.example.org", 421),
            ("::1", "localhost", 200),
            ("::1", "127.0.0.1", 200),
            (any, "192.0.2.7:8080", 200),
            (any, "[2001:db8::1]:8080", 200),
            (any, "localhost", 200),
            (any, "evil.example", 421),
            ("::", "192.0.2.7", 200),
            (one, "192.0.2.7:8080", 200),
            (one, "[::ffff:192.0.2.7]", 200),
            (one, "192.0.2.8", 421),
            (one, "localhost", 421),
        ] {
            let got = answered(listen, &["https://search.example.org"], &[("host", host)], false);
            assert_eq!(got, status, "{listen} called {host}");
        }
    }

    #[test]
    fn there_is_one_host_and_one_caller() {
        let head = |headers: &[(&str, &str)]| answered("127.0.0.1", &[], headers, false);
        assert_eq!(head(&[]), 400);
        assert_eq!(head(&[("host", "localhost"), ("host", "localhost")]), 400);
        assert_eq!(head(&[("host", "localhost"), ("authorization", "Bearer a")]), 200);
        let two = [("host", "localhost"), ("authorization", "a"), ("authorization", "a")];
        assert_eq!(head(&two), 400);
    }

    #[test]
    fn only_a_trusted_proxy_says_by_what_name_it_was_called() {
        let of = |host, forwarded, proxy| {
            let headers = [("host", host), ("x-forwarded-host", forwarded)];
            answered("127.0.0.1", &["https://search.example.org"], &headers, proxy)
        };
        assert_eq!(of("backend:8080", "search.example.org", true), 200);
        assert_eq!(of("backend:8080", "search.example.org", false), 421);
        assert_eq!(of("localhost", "evil.example", true), 421);
        assert_eq!(of("localhost", "search.example.org, evil.example", true), 421);
        assert_eq!(of("localhost", "evil.example", false), 200, "the header is ignored");
    }

    #[test]
    fn a_public_url_has_a_scheme_and_a_host() {
        for good in ["https://search.example.org", "http://10.0.0.5:8080/", "https://[2001:db8::1]"]
        {
            assert!(good.parse::<PublicUrl>().is_ok(), "{good}");
        }
        for bad in [
            "search.example.org",
            "ftp://a",
            "https://",
            "https://a/b",
            "https://a?b",
            "https://u@a",
            "",
        ] {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }
}
