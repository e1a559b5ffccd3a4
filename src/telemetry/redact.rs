//! URLs as logs and errors show them.

use std::fmt;

use url::Url;

/// Shows a URL without its user information, query and fragment: keys travel there.
#[must_use]
pub fn redacted(url: &Url) -> impl fmt::Display + fmt::Debug + '_ {
    Redacted(url)
}

struct Redacted<'a>(&'a Url);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.0;
        let Some(host) = url.host_str() else {
            return write!(f, "{}:***", url.scheme());
        };
        write!(f, "{}://", url.scheme())?;
        if !url.username().is_empty() || url.password().is_some() {
            f.write_str("***@")?;
        }
        f.write_str(host)?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(url.path())?;
        if url.query().is_some() {
            f.write_str("?***")?;
        }
        if url.fragment().is_some() {
            f.write_str("#***")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_hold_a_secret_is_hidden_and_the_rest_is_shown() {
        for (url, shown) in [
            ("https://example.com/mcp", "https://example.com/mcp"),
            ("http://[::1]:8080/mcp", "http://[::1]:8080/mcp"),
            (
                "https://example.com/mcp?key=s3cret&x=1",
                "https://example.com/mcp?***",
            ),
            (
                "https://u:s3cret@example.com:8443/mcp",
                "https://***@example.com:8443/mcp",
            ),
            ("https://s3cret@example.com/", "https://***@example.com/"),
            ("https://:s3cret@example.com/", "https://***@example.com/"),
            ("https://example.com/#s3cret", "https://example.com/#***"),
            ("data:text/plain,s3cret", "data:***"),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(redacted(&url).to_string(), shown);
            assert_eq!(format!("{:?}", redacted(&url)), shown);
        }
    }
}
