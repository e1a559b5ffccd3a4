//! What is read here, held against what `serde_json` makes of the same text: random values, written densely or for people,
//! whole and with a few bytes changed.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{JsonError, Raw};

/// Bytes that mean something, or are next to one that does.
const BYTES: &[u8] = b"\"\"\\\\/bfnrtu{}[]:,,+-.019eE \n\t\r\x00\x1f!#truefalsnl\x7f\x80\xc3\xa9\xff";

/// One change of a text: a byte taken out, put in, or put in the place of another.
#[derive(Clone, Debug)]
pub(in crate::protocol) struct Change(u8, Index, Index);

impl Change {
    pub(in crate::protocol) fn any(at_most: usize) -> impl Strategy<Value = Vec<Self>> {
        let change = (0..3_u8, any::<Index>(), any::<Index>());
        proptest::collection::vec(
            change.prop_map(|(kind, at, byte)| Self(kind, at, byte)),
            0..=at_most,
        )
    }

    pub(in crate::protocol) fn all(changes: &[Self], text: &mut Vec<u8>) {
        for Self(kind, at, byte) in changes {
            let (at, byte) = (at.index(text.len().max(1)), BYTES[byte.index(BYTES.len())]);
            match kind {
                0 if at < text.len() => drop(text.remove(at)),
                1 if at < text.len() => text[at] = byte,
                _ => text.insert(at, byte),
            }
        }
    }
}

/// Any value, with strings and numbers of every length that is read in another way.
pub(in crate::protocol) fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z]{0,9}",
        "[ -~]{0,40}",
        r#"[a-z\\"\n\t\x01é€😀]{0,24}"#,
        "[ -~\n]{120,300}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u8>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let members = proptest::collection::vec(("[a-z]{0,17}|[\"\\\\a-zé\n]{0,9}", inner.clone()), 0..6);
        prop_oneof![
            proptest::collection::vec(inner, 0..6).prop_map(Value::from),
            members.prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

pub(in crate::protocol) fn written(value: &Value, for_people: bool) -> Vec<u8> {
    let text = if for_people {
        serde_json::to_vec_pretty(value)
    } else {
        serde_json::to_vec(value)
    };
    text.unwrap()
}

/// Whether a text is UTF-8 and JSON, as `serde_json` sees it. It skips what nobody wants, so lone surrogates and numbers
/// beyond all bounds pass, as here.
fn is_json(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok() && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn takes_what_serde_json_takes(value in value(), for_people: bool, changes in Change::any(3)) {
        let mut text = written(&value, for_people);
        Change::all(&changes, &mut text);
        let read = Raw::parse(&Bytes::from(text.clone()));
        prop_assert_eq!(read.is_ok(), is_json(&text), "{}: {:?}", String::from_utf8_lossy(&text), read);
    }

    #[test]
    fn finds_the_members_that_serde_json_finds(value in value(), for_people: bool, changes in Change::any(2)) {
        let mut text = written(&json!({ "first": value, "second": [value], "": 1 }), for_people);
        Change::all(&changes, &mut text);
        let Ok(raw) = Raw::parse(&Bytes::from(text)) else { return Ok(()) };
        let theirs = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(raw.as_str());
        match raw.object() {
            Ok(object) => {
                // A name with half a surrogate pair is none, here and there.
                let Ok(theirs) = theirs else { return Ok(()) };
                prop_assert_eq!(theirs.len(), object.members.len());
                for (name, value) in object.entries() {
                    prop_assert_eq!(theirs[&*name].get(), value.as_str());
                    prop_assert_eq!(object.get(&name), Some(value));
                }
            }
            Err(JsonError::DuplicateKey) => {
                let count = |text: &str| text.matches(':').count();
                prop_assert!(theirs.is_err() || theirs.is_ok_and(|members| members.len() < count(raw.as_str())));
            }
            Err(error) => prop_assert_eq!(error, JsonError::NotAnObject),
        }
    }
}
