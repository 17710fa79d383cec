//! Arguments of `semantik serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use server::{Network, PublicUrl, RATE_CLASSES, RateClass, RateLimit};

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Pipeline files, and folders that contain them
    ///
    /// All files must name the same metadata store.
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
    /// Listen on this address
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR", value_parser = super::parse::address)]
    pub listen: SocketAddr,
    /// Accept requests for this URL (repeatable)
    ///
    /// For example `https://search.example.org`. Requests for other hosts are refused, except for
    /// the address of --listen, and for localhost if that address is on this machine.
    #[arg(long, value_name = "URL")]
    pub public_url: Vec<PublicUrl>,
    /// Use TLS with these certificates
    ///
    /// PEM, the certificate of the server first.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Read the private key of the certificate from here
    ///
    /// PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Serve metrics without authentication on this address
    ///
    /// The main address serves them to administrators at /api/v1/metrics.
    #[arg(long, value_name = "ADDR", value_parser = super::parse::address)]
    pub metrics: Option<SocketAddr>,
    /// Allow browser requests from this origin (repeatable)
    ///
    /// For example `https://example.org`.
    #[arg(long, value_name = "ORIGIN")]
    pub cors_origin: Vec<String>,
    /// Trust client addresses reported by this proxy (repeatable)
    ///
    /// An address, or a network such as 10.0.0.0/8.
    #[arg(long, value_name = "NETWORK")]
    pub trusted_proxy: Vec<Network>,
    /// Limit the request rate of a client (repeatable)
    ///
    /// CLASS=RATE or CLASS=RATE:BURST, with RATE in requests per second and BURST in requests. The
    /// classes are light, login, search, look and change. Rate 0 removes the limit.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub rate: Vec<(RateClass, RateLimit)>,
    /// Write the setup token to this file
    ///
    /// The token permits the creation of the first administrator. The file is readable by this user
    /// only; without this option the token is printed on standard error.
    #[arg(long, value_name = "FILE")]
    pub setup_token_file: Option<PathBuf>,
    /// Limit the time for shutdown, in seconds
    ///
    /// Requests and operations in progress are given this time to finish.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub grace: u64,
}

fn rate(text: &str) -> Result<(RateClass, RateLimit), String> {
    let (class, rate) = text.split_once('=').ok_or("expected CLASS=RATE")?;
    let known = RATE_CLASSES.iter().find(|(name, ..)| *name == class);
    let (_, class, usual) = known.ok_or_else(|| {
        let names: Vec<_> = RATE_CLASSES.iter().map(|(name, ..)| *name).collect();
        format!("unknown class `{class}`: expected one of {}", names.join(", "))
    })?;
    let (rate, burst) = rate.split_once(':').map_or((rate, None), |(rate, it)| (rate, Some(it)));
    let is_good = |rate: &f64| rate.is_finite() && *rate >= 0.0;
    let per_second: f64 =
        rate.parse().ok().filter(is_good).ok_or_else(|| format!("invalid rate `{rate}`"))?;
    let burst = match burst {
        Some(burst) => burst.parse().map_err(|_| format!("invalid burst `{burst}`"))?,
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        None => usual.burst.max(per_second.ceil() as u32),
    };
    Ok((*class, RateLimit { per_second, burst }))
}
