//! Tells whether a URI can come of a URI template (RFC 6570). Good enough to route by: an expression matches any
//! text, so a match says "this gateway may know it", never "it exists".

/// The literal parts of a template, between its expressions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template {
    literals: Vec<Box<str>>,
}

impl Template {
    pub(super) fn parse(template: &str) -> Self {
        let mut literals = Vec::new();
        let mut rest = template;
        while let Some((literal, tail)) = rest.split_once('{') {
            literals.push(literal.into());
            rest = tail.split_once('}').map_or("", |(_, after)| after);
        }
        literals.push(rest.into());
        Self { literals }
    }

    /// Tells whether the literals occur in the URI in their order, the first at its start, the last at its end.
    pub(super) fn matches(&self, uri: &str) -> bool {
        let Some((first, others)) = self.literals.split_first() else {
            return false;
        };
        let Some(mut rest) = uri.strip_prefix(&**first) else {
            return false;
        };
        let Some((last, middle)) = others.split_last() else {
            return rest.is_empty();
        };
        for literal in middle {
            let Some(at) = rest.find(&**literal) else {
                return false;
            };
            rest = rest.get(at + literal.len()..).unwrap_or_default();
        }
        rest.ends_with(&**last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_any_text() {
        for (template, uri, matches) in [
            ("test://template/{id}/data", "test://template/123/data", true),
            ("test://template/{id}/data", "test://template/123/other", false),
            ("file:///{+path}", "file:///a/b/c", true),
            ("a{x}b{y}", "a1b2", true),
            ("a{x}b{y}", "a12", false),
            ("plain://x", "plain://x", true),
            ("plain://x", "plain://xy", false),
            ("broken{", "broken", true),
        ] {
            assert_eq!(
                Template::parse(template).matches(uri),
                matches,
                "{template} against {uri}"
            );
        }
    }
}
