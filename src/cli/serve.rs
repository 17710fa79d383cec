//! What can be typed behind `semantik serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use server::{CLASSES, Class, Network, PublicUrl, Rate};

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The pipeline files whose collections are searched and worked on. They have one metadata store.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub config: Vec<PathBuf>,
    /// Where clients come in.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR", value_parser = super::typed::address)]
    pub listen: SocketAddr,
    /// A URL by which clients reach the server: https://search.example.org. Requests for other hosts are refused; the
    /// address of --listen, and localhost where it is one of this machine, are always served.
    #[arg(long, value_name = "URL")]
    pub public_url: Vec<PublicUrl>,
    /// Certificates of the server, its own first, in PEM; clients come by TLS then.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of the first certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Another address, where the metrics are given to whoever asks. At the first one, administrators find them under
    /// /api/v1/metrics.
    #[arg(long, value_name = "ADDR", value_parser = super::typed::address)]
    pub metrics: Option<SocketAddr>,
    /// A page of another origin that may use the API in a browser: https://example.org.
    #[arg(long, value_name = "ORIGIN")]
    pub cors_origin: Vec<String>,
    /// A proxy in front of the server, as an address or 10.0.0.0/8: what it says of a client's address is believed.
    #[arg(long, value_name = "NETWORK")]
    pub trusted_proxy: Vec<Network>,
    /// How often one client may come: CLASS=REQUESTS-A-SECOND, or CLASS=REQUESTS-A-SECOND:AT-ONCE, where a class is
    /// light, login, search, look or change. 0 is any number.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub rate: Vec<(Class, Rate)>,
    /// Writes the token by which the first administrator is made here, readable by this user alone, and not to
    /// standard error.
    #[arg(long, value_name = "FILE")]
    pub setup_token_file: Option<PathBuf>,
    /// Seconds that requests and operations under way are given when the server is told to stop.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub grace: u64,
}

fn rate(text: &str) -> Result<(Class, Rate), String> {
    let (class, rate) = text.split_once('=').ok_or("this has the form CLASS=RATE")?;
    let known = CLASSES.iter().find(|(name, ..)| *name == class);
    let (_, class, usual) = known.ok_or_else(|| {
        let names: Vec<_> = CLASSES.iter().map(|(name, ..)| *name).collect();
        format!("`{class}` is none of {}", names.join(", "))
    })?;
    let (rate, burst) = rate.split_once(':').map_or((rate, None), |(rate, it)| (rate, Some(it)));
    let is_good = |rate: &f64| rate.is_finite() && *rate >= 0.0;
    let per_second: f64 =
        rate.parse().ok().filter(is_good).ok_or_else(|| format!("`{rate}` is no rate"))?;
    let burst = match burst {
        Some(burst) => burst.parse().map_err(|_| format!("`{burst}` is no number"))?,
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        None => usual.burst.max(per_second.ceil() as u32),
    };
    Ok((*class, Rate { per_second, burst }))
}
