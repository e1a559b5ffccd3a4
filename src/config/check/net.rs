//! Addresses, URLs, origins and hosts.

use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

use super::Checker;

impl Checker<'_> {
    /// Checks `host:port`.
    pub(super) fn listen(&mut self, listen: &str) -> Option<String> {
        let listen = listen.trim();
        let right = match split(listen) {
            Some(_) => return Some(listen.to_owned()),
            None if listen.parse::<u16>().is_ok() => format!("127.0.0.1:{listen}"),
            None if listen.starts_with(':') => {
                format!("127.0.0.1{listen}, or 0.0.0.0{listen} for every address")
            }
            None => "127.0.0.1:8080".to_owned(),
        };
        self.problem(
            "server.listen",
            format!("must be an address and a port, such as {right}"),
        );
        None
    }

    /// Without keys anybody who reaches the address may use every tool.
    pub(super) fn open_address(&mut self, listen: &str) {
        if !is_loopback(listen) {
            self.problem(
                "server.listen",
                format!(
                    "{listen} is reachable from other machines and no key is set. Make one with `toolgate keys new`, \
                     then set TOOLGATE_KEY, or put it into the file: [auth] keys = [{{ user = \"…\", key = \"${{MY_KEY}}\" }}]. \
                     Or listen on 127.0.0.1 only"
                ),
            );
        }
    }

    /// Checks a URL of HTTP. Says nothing of the value beyond its form: it may hold a token.
    pub(super) fn http_url(&mut self, key: &str, text: &str) -> Option<Url> {
        let text = text.trim();
        let problem = match Url::parse(text) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                format!("must begin with http:// or https://, not {}:", url.scheme())
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                "must be without user and password; put them into `headers`, as Authorization".to_owned()
            }
            Ok(url) => return Some(url),
            Err(_) if text.is_empty() => "must not be empty".to_owned(),
            Err(url::ParseError::RelativeUrlWithoutBase) => {
                "must be a whole URL, such as http://127.0.0.1:3001/mcp".to_owned()
            }
            Err(error) => format!("is no URL: {error}"),
        };
        self.problem(key, problem);
        None
    }

    pub(super) fn origins(&mut self, origins: &[String]) -> Vec<String> {
        let mut right = Vec::new();
        for (index, text) in origins.iter().enumerate() {
            let key = format!("server.allowed_origins[{index}]");
            match origin(text.trim()) {
                Some(origin) => right.push(origin),
                None if text.trim() == "*" => {
                    self.problem(
                        &key,
                        "`*` would let every web page use the tools; name the origins",
                    );
                }
                None => self.problem(&key, "must be an origin, such as https://app.example.com"),
            }
        }
        right
    }

    pub(super) fn hosts(&mut self, hosts: &[String]) -> Vec<String> {
        let mut right = Vec::new();
        for (index, text) in hosts.iter().enumerate() {
            let host = text.trim().to_ascii_lowercase();
            let bare = split(&host).map_or_else(|| host.clone(), |(host, _)| host);
            if host == "*" || Host::parse(&bare).is_ok() {
                right.push(host);
            } else {
                let key = format!("server.allowed_hosts[{index}]");
                self.problem(
                    &key,
                    "must be a host, such as tools.example.com, or host:port, or `*`",
                );
            }
        }
        right
    }
}

/// Splits `host:port`; `[::1]:8080` keeps its brackets.
fn split(address: &str) -> Option<(String, u16)> {
    if let Ok(address) = address.parse::<SocketAddr>() {
        return Some(match address.ip() {
            IpAddr::V4(ip) => (ip.to_string(), address.port()),
            IpAddr::V6(ip) => (format!("[{ip}]"), address.port()),
        });
    }
    let (host, port) = address.rsplit_once(':')?;
    let name = !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    (name && Host::parse(host).is_ok()).then_some((host.to_owned(), port.parse().ok()?))
}

/// Returns whether only this machine reaches the address, by its text alone.
fn is_loopback(listen: &str) -> bool {
    match listen.parse::<SocketAddr>() {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => split(listen).is_some_and(|(host, _)| is_local_name(&host)),
    }
}

fn is_local_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// Returns whether a URL stays on this machine.
pub(super) fn stays_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => is_local_name(name),
        None => false,
    }
}

/// Returns an origin in the form in which browsers send it.
fn origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.has_host() || !url.username().is_empty() {
        return None;
    }
    match url.origin() {
        origin @ url::Origin::Tuple(..) => Some(origin.ascii_serialization()),
        url::Origin::Opaque(_) => Some(text.trim_end_matches('/').to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_count_as_local() {
        for listen in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "localhost:1",
            "a.localhost:1",
        ] {
            assert!(is_loopback(listen), "{listen}");
        }
        for listen in [
            "0.0.0.0:1",
            "[::]:1",
            "10.0.0.1:1",
            "example.com:1",
            "localhost.example.com:1",
        ] {
            assert!(!is_loopback(listen), "{listen}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        assert_eq!(
            origin("https://App.Example.com:443/").as_deref(),
            Some("https://app.example.com")
        );
        assert_eq!(
            origin("vscode-webview://abc").as_deref(),
            Some("vscode-webview://abc")
        );
        for wrong in ["app.example.com", "https://a/b", "https://u@a", "*", "null", ""] {
            assert_eq!(origin(wrong), None, "{wrong}");
        }
    }
}
