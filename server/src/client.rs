//! The address of a client. Behind a reverse proxy the peer is the proxy; its headers are used only
//! if it is trusted.

use std::net::IpAddr;
use std::str::FromStr;

use axum::http::HeaderMap;

/// A network in CIDR notation such as `10.0.0.0/8`, or a single address.
///
/// ```
/// use server::Network;
///
/// assert_eq!("10.0.0.1".parse::<Network>()?, "10.0.0.1/32".parse()?);
/// let error = "10.0.0.0/33".parse::<Network>().unwrap_err();
/// assert_eq!(error, "prefix length `33` is not in 0 to 32");
/// # Ok::<_, String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: u128,
    /// Length of the prefix; for IPv4 that of the mapped IPv6 address.
    prefix_length: u32,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let differing = ipv6_bits(address) ^ self.address;
        self.prefix_length == 0 || differing.leading_zeros() >= self.prefix_length
    }
}

/// The address as IPv6; IPv4 addresses are mapped (RFC 4291, 2.5.5.2).
fn ipv6_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr =
            address.parse().map_err(|_| format!("invalid address `{address}`"))?;
        let (before, most) = if address.is_ipv4() { (96, 32) } else { (0, 128) };
        let bits = match bits {
            None => most,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= most)
                .ok_or_else(|| format!("prefix length `{bits}` is not in 0 to {most}"))?,
        };
        Ok(Self { address: ipv6_bits(address), prefix_length: before + bits })
    }
}

/// Returns true if the address belongs to a trusted proxy.
pub(super) fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// The address of the client: the peer, or for a trusted proxy the last address in
/// `X-Forwarded-For` that is not itself a trusted proxy.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let mut client = peer;
    let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|it| it.to_str().ok());
    let hops: Vec<&str> = forwarded.flat_map(|line| line.split(',')).map(str::trim).collect();
    for hop in hops.into_iter().rev() {
        if !is_trusted(client, trusted) {
            break;
        }
        let Ok(address) = hop.parse() else { break };
        client = address;
    }
    client
}

/// Returns true if the client connected by TLS: to this server, or to a trusted proxy that says so
/// in `X-Forwarded-Proto`.
pub(super) fn is_secure(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[Network],
    is_tls: bool,
) -> bool {
    let said = headers.get("x-forwarded-proto").and_then(|it| it.to_str().ok()).unwrap_or_default();
    // The first entry is that of the proxy to which the client connected.
    let first = said.split(',').next().unwrap_or_default().trim();
    is_tls || (first.eq_ignore_ascii_case("https") && is_trusted(peer, trusted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().expect("a header"));
        }
        let trusted: Vec<Network> = trusted.iter().map(|it| it.parse().expect("one")).collect();
        client_address(peer.parse().expect("an address"), &headers, &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_about_its_own_peer() {
        assert_eq!(seen("1.2.3.4", &["9.9.9.9"], &[]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["9.9.9.9"], &["10.0.0.0/8"]), "9.9.9.9");
        // Addresses written by the client precede the one that the proxy appends.
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 9.9.9.9"], &["10.0.0.0/8"]), "9.9.9.9");
        assert_eq!(seen("10.0.0.1", &["9.9.9.9, 10.0.0.2"], &["10.0.0.0/8"]), "9.9.9.9");
        assert_eq!(seen("10.0.0.1", &["9.9.9.9", "10.0.0.2"], &["10.0.0.0/8"]), "9.9.9.9");
        assert_eq!(seen("10.0.0.1", &["nonsense"], &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(seen("::1", &["2001:db8::1"], &["::1"]), "2001:db8::1");
        assert_eq!(seen("11.0.0.1", &["9.9.9.9"], &["10.0.0.0/8"]), "11.0.0.1");
        assert_eq!(seen("11.0.0.1", &["9.9.9.9"], &["0.0.0.0/0"]), "9.9.9.9");
    }

    #[test]
    fn only_a_trusted_proxy_says_that_a_client_came_by_tls() {
        let trusted = ["10.0.0.0/8".parse().expect("a network")];
        let by = |peer: &str, proto: &str, is_tls: bool| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-proto", proto.parse().expect("a header"));
            is_secure(peer.parse().expect("an address"), &headers, &trusted, is_tls)
        };
        assert!(by("10.0.0.1", "https", false));
        assert!(by("10.0.0.1", "HTTPS, http", false));
        assert!(by("1.2.3.4", "http", true));
        assert!(!by("1.2.3.4", "https", false));
        assert!(!by("10.0.0.1", "http, https", false));
        assert!(!by("10.0.0.1", "", false));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in ["", "10.0.0.0/33", "10.0.0", "::/129", "10.0.0.0/x"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
