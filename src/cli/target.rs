//! Where the Toolgate is that a client command talks to, and with which key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::Url;

use super::Failure;
use super::args::At;
use crate::config::{self, Config, Flags, KEY_VARIABLE, Secret, Sources};

/// A Toolgate to talk to.
#[derive(Debug)]
pub(super) struct Target {
    /// Its MCP endpoint.
    pub(super) url: Url,
    /// The key to send.
    pub(super) key: Option<Secret>,
    /// The configuration from which to start the gateways when nothing listens; absent when a URL was given.
    pub(super) config: Option<Config>,
}

impl Target {
    /// Finds it: the URL that was given, or where the configuration listens.
    pub(super) fn find(at: &At, flags: Flags) -> Result<Self, Failure> {
        let given = at.url.as_deref().map(mcp_url).transpose()?;
        let key = |sources: &Sources| {
            let from_env = || sources.env.get(KEY_VARIABLE).filter(|key| !key.trim().is_empty());
            let key = at.key.as_ref().or_else(from_env)?;
            Some(Secret::new(key.trim().to_owned()))
        };
        if let Some(url) = given {
            let sources = Sources::new(None, config::environment(), flags);
            return Ok(Self {
                url,
                key: key(&sources),
                config: None,
            });
        }
        let sources = Sources::read(flags)?;
        let loaded = config::load(&sources)?;
        Ok(Self {
            url: local_url(&loaded.config.server.listen, "/mcp")?,
            key: key(&sources),
            config: Some(loaded.config),
        })
    }
}

/// Returns what `toolgate health` asks. Works while the rest of the configuration has problems.
pub(super) fn readiness_url(given: Option<&str>, flags: Flags) -> Result<Url, Failure> {
    match given {
        Some(url) => http_url(url),
        None => local_url(&config::listen_address(&Sources::read(flags)?), "/readyz"),
    }
}

/// Returns the URL of a path at a listen address, from this machine: an address that stands for all becomes loopback.
pub(super) fn local_url(listen: &str, path: &str) -> Result<Url, Failure> {
    let listen = match listen.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            let loopback = match address.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            };
            SocketAddr::new(loopback, address.port()).to_string()
        }
        _ => listen.to_owned(),
    };
    if listen.ends_with(":0") {
        let text = format!("{listen} stands for any free port, so it is not known where to ask; give --url");
        return Err(Failure::Usage(text));
    }
    Url::parse(&format!("http://{listen}{path}"))
        .map_err(|error| Failure::Usage(format!("server.listen {listen:?} gives no URL: {error}")))
}

/// Reads the URL of an MCP endpoint; a URL without a path means `/mcp`.
pub(super) fn mcp_url(text: &str) -> Result<Url, Failure> {
    let mut url = http_url(text)?;
    if url.path() == "/" {
        url.set_path("/mcp");
    }
    Ok(url)
}

fn http_url(text: &str) -> Result<Url, Failure> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => Err(Failure::Usage(
            "--url must be a URL such as http://127.0.0.1:8080/mcp".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_url_is_one_that_can_be_connected_to() {
        let url = |listen: &str| local_url(listen, "/readyz").unwrap().to_string();
        assert_eq!(url("0.0.0.0:8080"), "http://127.0.0.1:8080/readyz");
        assert_eq!(url("[::]:8080"), "http://[::1]:8080/readyz");
        assert_eq!(url("10.1.2.3:80"), "http://10.1.2.3/readyz");
        assert_eq!(url("localhost:9"), "http://localhost:9/readyz");
        assert!(local_url("127.0.0.1:0", "/").is_err());
    }

    #[test]
    fn an_endpoint_without_a_path_is_mcp() {
        assert_eq!(mcp_url("http://h:1").unwrap().as_str(), "http://h:1/mcp");
        assert_eq!(
            mcp_url("http://h:1/tools/mcp").unwrap().as_str(),
            "http://h:1/tools/mcp"
        );
        assert!(mcp_url("h:1").is_err());
    }
}
