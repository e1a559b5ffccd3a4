//! Which `Host` and `Origin` are served (MCP Transports, "Security Warning": DNS rebinding). A page on the web can make
//! a browser send requests to a local address, but neither header can be chosen by it.
//! Always checked, on every path but the probes, before anybody is authenticated.

mod authority;

use std::net::{IpAddr, SocketAddr};

use arc_swap::ArcSwap;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use self::authority::{Authority, HostName, WebOrigin};
use crate::config;
use crate::web::Problem;

/// An entry of `allowed_hosts` or `allowed_origins` that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Not `host`, `host:port` or `*`.
    #[error("server.allowed_hosts: {0:?} is not a host, host:port or *")]
    Host(String),
    /// Not `scheme://host[:port]` or `null`.
    #[error("server.allowed_origins: {0:?} is not of the form scheme://host[:port], or null")]
    Origin(String),
}

/// The rules; a reload swaps them.
#[derive(Debug)]
pub struct Access {
    listening: SocketAddr,
    rules: ArcSwap<Rules>,
}

#[derive(Debug)]
struct Rules {
    /// Without a port: any.
    hosts: Vec<Authority>,
    any_host: bool,
    /// Listening on all addresses, we cannot tell ours. An address is no name that could be rebound.
    any_ip: bool,
    origins: Vec<WebOrigin>,
    /// `null` and schemes that are not of the web, letter by letter.
    other_origins: Vec<String>,
}

impl Access {
    /// Makes the rules of a server that listens on an address.
    ///
    /// # Errors
    /// [`AccessError`] for the first entry that cannot be read.
    pub fn new(server: &config::Server, listening: SocketAddr) -> Result<Self, AccessError> {
        Ok(Self {
            listening,
            rules: ArcSwap::from_pointee(Rules::new(server, listening)?),
        })
    }

    /// Takes other rules into use.
    ///
    /// # Errors
    /// [`AccessError`]; the rules before stay in use then.
    pub fn replace(&self, server: &config::Server) -> Result<(), AccessError> {
        self.rules.store(Rules::new(server, self.listening)?.into());
        Ok(())
    }

    /// Refuses a request whose `Host` or `Origin` is foreign.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let rules = self.rules.load();
        let host = one_host(headers)?;
        if !rules.admits_host(&host) {
            return Err(foreign("Host", headers.get(HOST), "server.allowed_hosts"));
        }
        // The absolute form of a request's target names the host a second time.
        if let Some(target) = uri.authority() {
            let target = Authority::parse(target.as_str());
            if !target.is_some_and(|target| rules.admits_host(&target)) {
                let detail = "the request's target names a host that is not served here";
                return Err(Problem::new(StatusCode::FORBIDDEN, detail));
            }
        }
        for origin in headers.get_all(ORIGIN) {
            if !rules.admits_origin(origin, &host) {
                return Err(foreign("Origin", Some(origin), "server.allowed_origins"));
            }
        }
        Ok(())
    }
}

impl Rules {
    fn new(server: &config::Server, listening: SocketAddr) -> Result<Self, AccessError> {
        let mut rules = Self {
            hosts: vec![of_any_port(HostName::Ip(listening.ip().to_canonical()))],
            any_host: false,
            any_ip: listening.ip().is_unspecified(),
            origins: Vec::new(),
            other_origins: Vec::new(),
        };
        if let Some(listen) = Authority::parse(&server.listen) {
            rules.hosts.push(of_any_port(listen.host));
        }
        if let Some(url) = &server.public_url {
            rules
                .hosts
                .extend(url.host_str().and_then(HostName::parse).map(of_any_port));
            rules
                .origins
                .extend(WebOrigin::parse(&url.origin().ascii_serialization()));
        }
        for entry in &server.allowed_hosts {
            match Authority::parse(entry) {
                _ if entry == "*" => rules.any_host = true,
                Some(authority) => rules.hosts.push(authority),
                None => return Err(AccessError::Host(entry.clone())),
            }
        }
        for entry in &server.allowed_origins {
            let text = entry.strip_suffix('/').unwrap_or(entry);
            match WebOrigin::parse(text) {
                Some(origin) => rules.origins.push(origin),
                None if is_other_origin(text) => rules.other_origins.push(text.to_ascii_lowercase()),
                None => return Err(AccessError::Origin(entry.clone())),
            }
        }
        Ok(rules)
    }

    fn admits_host(&self, sent: &Authority) -> bool {
        let is_listed = |allowed: &Authority| {
            allowed.host == sent.host && (allowed.port.is_none() || allowed.port == sent.port)
        };
        self.any_host
            || sent.host.is_loopback()
            || (self.any_ip && matches!(sent.host, HostName::Ip(_)))
            || self.hosts.iter().any(is_listed)
    }

    fn admits_origin(&self, sent: &HeaderValue, host: &Authority) -> bool {
        let Ok(text) = sent.to_str() else { return false };
        let Some(origin) = WebOrigin::parse(text) else {
            return self.other_origins.contains(&text.to_ascii_lowercase());
        };
        let is_ours = |ours: &HostName| {
            matches!(ours, HostName::Ip(ip) if !ip.is_unspecified()) && *ours == origin.host
        };
        origin.host.is_loopback()
            || self.origins.contains(&origin)
            || self.hosts.first().is_some_and(|listening| is_ours(&listening.host))
            // A page that came from the very address at which it now asks.
            || (self.any_ip && is_ours(&host.host))
    }
}

fn of_any_port(host: HostName) -> Authority {
    Authority { host, port: None }
}

/// `null`, and origins of applications such as `vscode-webview://…`.
fn is_other_origin(text: &str) -> bool {
    let of_application = |(scheme, rest): (&str, &str)| {
        !matches!(scheme.to_ascii_lowercase().as_str(), "" | "http" | "https") && !rest.is_empty()
    };
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    visible && (text == "null" || text.split_once("://").is_some_and(of_application))
}

/// RFC 9112 §3.2: exactly one `Host`.
fn one_host(headers: &HeaderMap) -> Result<Authority, Problem> {
    let mut values = headers.get_all(HOST).iter();
    let (Some(host), None) = (values.next(), values.next()) else {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "a request has one Host header",
        ));
    };
    host.to_str()
        .ok()
        .and_then(Authority::parse)
        .ok_or_else(|| foreign("Host", Some(host), "server.allowed_hosts"))
}

fn foreign(header: &str, value: Option<&HeaderValue>, setting: &str) -> Problem {
    let value: String = value
        .map(|value| {
            String::from_utf8_lossy(value.as_bytes())
                .chars()
                .take(200)
                .collect()
        })
        .unwrap_or_default();
    let detail = format!("{header} {value:?} is not served here; if it is yours, add it to {setting}");
    Problem::new(StatusCode::FORBIDDEN, detail)
}

/// Tells whether a server can be reached from this machine alone, as far as it knows.
pub(super) fn is_local(server: &config::Server, listening: SocketAddr) -> bool {
    let is_public = |url: &url::Url| {
        !url.host_str()
            .and_then(HostName::parse)
            .is_some_and(|host| host.is_loopback())
    };
    let ip: IpAddr = listening.ip().to_canonical();
    ip.is_loopback() && !server.public_url.as_ref().is_some_and(is_public)
}

#[cfg(test)]
mod tests;
