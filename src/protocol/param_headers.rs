//! `x-mcp-header` annotations of a tool's input schema and the `Mcp-Param-*` headers that they ask for
//! (2026-07-28, Transports, "Custom Headers from Tool Parameters"; SEP-2243).

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::headers::{PARAM_PREFIX, decode_value, encode_value};
use super::json::Raw;
use crate::limits::PARAM_HEADERS_MAX;

const ANNOTATION: &str = "x-mcp-header";
/// Keywords under which an annotated property is not always reached, or reached more than once.
const SUBSCHEMAS: [&str; 14] = [
    "items",
    "prefixItems",
    "contains",
    "additionalProperties",
    "patternProperties",
    "unevaluatedProperties",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
];

/// One annotated parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamHeader {
    /// Keys from the arguments down to the value.
    path: Vec<String>,
    header: HeaderName,
    integer: bool,
}

/// Why a tool with annotations must not be listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid x-mcp-header annotation at {at}: {reason}")]
pub struct InvalidAnnotation {
    /// The property, as a path.
    pub at: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Finds the annotated parameters of an input schema.
///
/// # Errors
/// [`InvalidAnnotation`]: clients must leave such a tool out of their list.
pub fn annotated(schema: &Raw) -> Result<Vec<ParamHeader>, InvalidAnnotation> {
    if !schema.as_str().contains(ANNOTATION) {
        return Ok(Vec::new());
    }
    let schema: Value = schema.read().unwrap_or(Value::Null);
    let mut found = Vec::new();
    if schema.get(ANNOTATION).is_some() {
        return Err(InvalidAnnotation {
            at: "the schema's root".to_owned(),
            reason: "not a property",
        });
    }
    collect(&schema, &mut Vec::new(), &mut found)?;
    Ok(found)
}

fn collect(
    schema: &Value,
    path: &mut Vec<String>,
    found: &mut Vec<ParamHeader>,
) -> Result<(), InvalidAnnotation> {
    for (name, property) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        path.push(name.clone());
        if let Some(annotation) = property.get(ANNOTATION) {
            let param = read_annotation(annotation, property, path)?;
            if found.iter().any(|other| other.header == param.header) {
                return Err(InvalidAnnotation {
                    at: path.join("."),
                    reason: "the header's name is used twice",
                });
            }
            if found.len() == PARAM_HEADERS_MAX {
                return Err(InvalidAnnotation {
                    at: path.join("."),
                    reason: "a request has no room for so many headers",
                });
            }
            found.push(param);
        }
        collect(property, path, found)?;
        path.pop();
    }
    for keyword in SUBSCHEMAS {
        if schema.get(keyword).is_some_and(mentions_annotation) {
            return Err(InvalidAnnotation {
                at: path.join("."),
                reason: "not reached through `properties` alone",
            });
        }
    }
    for definitions in ["$defs", "definitions"] {
        if schema.get(definitions).is_some_and(mentions_annotation) {
            return Err(InvalidAnnotation {
                at: path.join("."),
                reason: "reached through `$ref`",
            });
        }
    }
    Ok(())
}

fn mentions_annotation(value: &Value) -> bool {
    match value {
        Value::Object(members) => {
            members.contains_key(ANNOTATION) || members.values().any(mentions_annotation)
        }
        Value::Array(elements) => elements.iter().any(mentions_annotation),
        _ => false,
    }
}

fn read_annotation(
    annotation: &Value,
    property: &Value,
    path: &[String],
) -> Result<ParamHeader, InvalidAnnotation> {
    let invalid = |reason| InvalidAnnotation {
        at: path.join("."),
        reason,
    };
    let name = annotation
        .as_str()
        .ok_or_else(|| invalid("the header's name must be a string"))?;
    if name.is_empty() {
        return Err(invalid("the header's name is empty"));
    }
    let kind = property.get("type").and_then(Value::as_str);
    if !matches!(kind, Some("string" | "integer" | "boolean")) {
        return Err(invalid(
            "only string, integer and boolean parameters can be mirrored",
        ));
    }
    let header = HeaderName::from_bytes(format!("{PARAM_PREFIX}{}", name.to_ascii_lowercase()).as_bytes())
        .map_err(|_| invalid("the header's name is no HTTP token"))?;
    Ok(ParamHeader {
        path: path.to_vec(),
        header,
        integer: kind == Some("integer"),
    })
}

impl ParamHeader {
    /// Returns the header for a call's arguments; `None` when the argument is absent or null.
    #[must_use]
    pub fn value(&self, arguments: &Raw) -> Option<(HeaderName, HeaderValue)> {
        let value = self.find(arguments)?;
        let text = value
            .string()
            .map_or_else(|| value.as_str().to_owned(), std::borrow::Cow::into_owned);
        Some((self.header.clone(), encode_value(&text)))
    }

    /// Tells whether a request's headers say the same as its arguments.
    #[must_use]
    pub fn agrees(&self, headers: &HeaderMap, arguments: &Raw) -> bool {
        let mut given = headers.get_all(&self.header).iter();
        let (first, second) = (given.next(), given.next());
        match (self.find(arguments), first) {
            (None, None) => true,
            (Some(value), Some(first)) if second.is_none() => {
                decode_value(first).is_some_and(|text| self.equal(&value, &text))
            }
            _ => false,
        }
    }

    /// Returns the header's name.
    #[must_use]
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    fn find(&self, arguments: &Raw) -> Option<Raw> {
        let mut value = arguments.clone();
        for key in &self.path {
            value = value.object().ok()?.get(key)?;
        }
        let scalar = !value.as_str().starts_with(['{', '[']);
        (scalar && !value.is_null()).then_some(value)
    }

    fn equal(&self, value: &Raw, text: &str) -> bool {
        if let Some(own) = value.string() {
            return own == text;
        }
        if self.integer && value.as_str() != text {
            if let (Ok(a), Ok(b)) = (value.as_str().parse::<i128>(), text.parse::<i128>()) {
                return a == b;
            }
            return matches!((value.as_str().parse::<f64>(), text.parse::<f64>()), (Ok(a), Ok(b)) if a.to_bits() == b.to_bits());
        }
        value.as_str() == text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn raw(text: &str) -> Raw {
        Raw::parse(&Bytes::from(text.to_owned())).unwrap()
    }

    #[test]
    fn nested_properties_are_mirrored() {
        let found = annotated(&raw(
            r#"{"properties":{"a":{"type":"object","properties":{"b":{"type":"integer","x-mcp-header":"Shard"}}}}}"#,
        ))
        .unwrap();
        let (name, value) = found[0].value(&raw(r#"{"a":{"b":42}}"#)).unwrap();
        assert_eq!(
            (name.as_str(), value.to_str().unwrap()),
            ("mcp-param-shard", "42")
        );
        assert!(found[0].value(&raw(r#"{"a":{"b":null}}"#)).is_none());
        let mut headers = HeaderMap::new();
        headers.insert("Mcp-Param-Shard", HeaderValue::from_static("42.0"));
        assert!(
            found[0].agrees(&headers, &raw(r#"{"a":{"b":42}}"#)),
            "integers compare as numbers"
        );
        assert!(!found[0].agrees(&headers, &raw("{}")));
        headers.insert("Mcp-Param-Shard", HeaderValue::from_static("9007199254740993"));
        assert!(
            !found[0].agrees(&headers, &raw(r#"{"a":{"b":9007199254740992}}"#)),
            "however large they are"
        );
    }

    #[test]
    fn bad_annotations_are_found() {
        for schema in [
            r#"{"properties":{"a":{"type":"string","x-mcp-header":""}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"a b"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":7}}}"#,
            r#"{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}"#,
            r#"{"properties":{"a":{"x-mcp-header":"A"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}"#,
            r#"{"properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}}"#,
            r#"{"anyOf":[{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}]}"#,
            r##"{"$defs":{"d":{"type":"string","x-mcp-header":"A"}},"properties":{"a":{"$ref":"#/$defs/d"}}}"##,
        ] {
            assert!(annotated(&raw(schema)).is_err(), "{schema}");
        }
    }
}
