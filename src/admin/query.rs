//! Query strings, read strictly: a filter with a slip of the pen in its name must not show everything.

use http::StatusCode;

use crate::web::Problem;

/// The parameters of one request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string that may have these parameters, each once.
    ///
    /// # Errors
    /// 400 that names the parameter.
    pub(super) fn read(text: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut found: Vec<(String, String)> = Vec::new();
        for (key, value) in url::form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*key) {
                let known = known.join(", ");
                return Err(bad(format!(
                    "there is no parameter {key:?} here; there are: {known}"
                )));
            }
            if found.iter().any(|(other, _)| *other == key) {
                return Err(bad(format!(
                    "the parameter {key} stands there twice; give it once"
                )));
            }
            found.push((key.into_owned(), value.into_owned()));
        }
        Ok(Self(found))
    }

    /// Returns a parameter.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(other, _)| other == key);
        found.next().map(|(_, value)| value.as_str())
    }

    /// Reads `limit`; without one, as many as may be.
    ///
    /// # Errors
    /// 400 that says what would be right.
    pub(super) fn limit(&self, at_most: usize) -> Result<usize, Problem> {
        let Some(text) = self.get("limit") else {
            return Ok(at_most);
        };
        let limit = text.parse().ok().filter(|limit| (1..=at_most).contains(limit));
        limit.ok_or_else(|| bad(format!("limit must be a number from 1 to {at_most}")))
    }
}

/// A request that cannot be understood.
pub(super) fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 2] = ["q", "limit"];

    #[test]
    fn known_parameters_are_read_decoded() {
        let query = Query::read(Some("q=a%20b+c&limit=3"), &KNOWN).unwrap();
        assert_eq!(query.get("q"), Some("a b c"));
        assert_eq!(query.limit(10).unwrap(), 3);
        assert_eq!(Query::read(None, &KNOWN).unwrap().limit(10).unwrap(), 10);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (text, named) in [
            ("Q=a", "\"Q\""),
            ("q=a&q=b", "q stands there twice"),
            ("=", "\"\""),
        ] {
            let problem = Query::read(Some(text), &KNOWN).unwrap_err();
            assert_eq!(problem.status(), 400);
            assert!(problem.detail().contains(named), "{text}: {}", problem.detail());
        }
        for limit in ["0", "11", "-1", "x", ""] {
            let query = Query::read(Some(&format!("limit={limit}")), &KNOWN).unwrap();
            assert!(query.limit(10).is_err(), "{limit}");
        }
    }
}
