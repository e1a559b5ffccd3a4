//! Where requests go: the parts of a URL as HTTP/1.1 writes them, read once.

use std::sync::Arc;

use http::{HeaderValue, Uri};
use rustls::pki_types::ServerName;
use url::{Host, Position, Url};

/// What connections lead to.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream::http) struct Origin {
    /// Scheme, host and port.
    pub(super) uri: Uri,
    pub(super) peer: Peer,
}

/// What is at the other end of the TCP connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Plain,
    Tls(ServerName<'static>),
}

/// One URL at an origin.
#[derive(Clone)]
pub(in crate::upstream::http) struct Target {
    pub(in crate::upstream::http) origin: Arc<Origin>,
    /// The `Host` header.
    pub(in crate::upstream::http) host: HeaderValue,
    /// Path and query.
    pub(in crate::upstream::http) path: Uri,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its path may be a secret.
        f.debug_struct("Target")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Target {
    /// Reads a URL; `None` when HTTP cannot ask for it.
    pub(in crate::upstream::http) fn of(url: &Url) -> Option<Self> {
        let host = url.host()?.to_owned();
        let peer = match (url.scheme(), host) {
            ("http", _) => Peer::Plain,
            ("https", Host::Domain(name)) => Peer::Tls(ServerName::try_from(name).ok()?),
            ("https", Host::Ipv4(address)) => Peer::Tls(std::net::IpAddr::from(address).into()),
            ("https", Host::Ipv6(address)) => Peer::Tls(std::net::IpAddr::from(address).into()),
            _ => return None,
        };
        let authority = &url[Position::BeforeHost..Position::AfterPort];
        let uri = format!("{}://{authority}/", url.scheme());
        Some(Self {
            origin: Arc::new(Origin {
                uri: uri.parse().ok()?,
                peer,
            }),
            host: HeaderValue::from_str(authority).ok()?,
            path: url[Position::BeforePath..Position::AfterQuery].parse().ok()?,
        })
    }

    /// Reads another URL, which mostly is of the same origin.
    pub(in crate::upstream::http) fn beside(&self, url: &Url) -> Option<Self> {
        let mut target = Self::of(url)?;
        if target.origin == self.origin {
            target.origin = Arc::clone(&self.origin);
        }
        Some(target)
    }
}
