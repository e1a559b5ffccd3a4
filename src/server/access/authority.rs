//! `host[:port]` as `Host` and `Origin` carry it (RFC 9110 §7.2, RFC 6454 §7), in one form that can be compared.

use std::net::{IpAddr, Ipv6Addr};

/// A host in comparable form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostName {
    /// An address; IPv4 inside IPv6 is IPv4.
    Ip(IpAddr),
    /// A name in lower case without the trailing dot.
    Name(String),
}

impl HostName {
    /// Tells whether only this machine is meant.
    pub(super) fn is_loopback(&self) -> bool {
        match self {
            Self::Ip(ip) => ip.is_loopback(),
            Self::Name(name) => name == "localhost",
        }
    }

    /// Reads a host without port. An address of IPv6 stands in brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(bracketed) = text.strip_prefix('[') {
            let ip: Ipv6Addr = bracketed.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Ip(IpAddr::from(ip).to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if let Ok(ip) = name.parse::<std::net::Ipv4Addr>() {
            return Some(Self::Ip(ip.into()));
        }
        let of_labels = name.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        });
        of_labels.then(|| Self::Name(name.to_ascii_lowercase()))
    }
}

/// A host and perhaps a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) host: HostName,
    pub(super) port: Option<u16>,
}

impl Authority {
    /// Reads `host[:port]`. User information, an empty port, blanks and whatever else is `None`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // The colon of the port comes after the bracket of an IPv6 address.
        let after_host = text.rfind(']').map_or(0, |bracket| bracket + 1);
        let colon = text.get(after_host..)?.find(':').map(|colon| after_host + colon);
        let (host, port) = match colon {
            None => (text, None),
            Some(colon) => {
                let (host, port) = text.split_at_checked(colon)?;
                (host, Some(parse_port(port.strip_prefix(':')?)?))
            }
        };
        Some(Self {
            host: HostName::parse(host)?,
            port,
        })
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    let only_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    only_digits.then(|| digits.parse().ok()).flatten()
}

/// `scheme://host[:port]` of the web.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WebOrigin {
    secure: bool,
    pub(super) host: HostName,
    port: u16,
}

impl WebOrigin {
    /// Reads an `Origin`; `None` for `null`, other schemes, and anything after the authority.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let Authority { host, port } = Authority::parse(authority)?;
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        Some(Self { secure, host, port })
    }
}
