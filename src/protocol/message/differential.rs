//! What one pass over a message finds, held against what its members say when they are looked up one by one: random
//! messages, whole and with a few bytes changed.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::{Message, MessageError, Outcome, RpcId, Series};
use crate::protocol::json::differential::{Change, value, written};
use crate::protocol::json::{JsonError, Object, Raw};
use crate::protocol::method::Method;

const METHODS: &[&str] = &[
    "tools/call",
    "notifications/progress",
    "notifications/message",
    "ping",
    "x/y",
];

/// The names of the envelope, also as nobody writes them.
const NAMES: &[&str] = &[
    "\"jsonrpc\"",
    "\"id\"",
    "\"method\"",
    "\"params\"",
    "\"result\"",
    "\"error\"",
    "\"extra\"",
    "\"jsonrpcs\"",
    "\"\"",
    "\"\\u0069d\"",
    "\"meth\\u006fd\"",
    "\"p\\u0061rams\"",
    "\"resul\\u0074\"",
    "\"erro\"",
    "\"extr\\u0061\"",
    "\"a long one that is not known\"",
];

/// A member of an envelope: mostly what belongs there.
fn member() -> impl Strategy<Value = String> {
    let params = (value(), value(), any::<bool>()).prop_map(|(first, second, people)| {
        let text = |value: &Value| String::from_utf8(written(value, people)).unwrap();
        format!(
            r#""params": {{"progressToken":{},"_meta":{{"progressToken":{}}},"progress":7}}"#,
            text(&first),
            text(&second)
        )
    });
    prop_oneof![
        3 => Just(r#""jsonrpc":"2.0""#.to_owned()),
        3 => (0..3_u8, any::<i32>()).prop_map(|(kind, id)| match kind {
            0 => format!(r#""id":{id}"#),
            1 => format!(r#""id" : "a{id}""#),
            _ => r#""id":null"#.to_owned(),
        }),
        4 => select(METHODS).prop_map(|method| format!(r#""method":"{method}""#)),
        3 => params,
        1 => value().prop_map(|value| format!(r#""result":{{"a":{value}}}"#)),
        1 => Just(r#""error":{"code":-32000,"message":"no"}"#.to_owned()),
        2 => (select(NAMES), value()).prop_map(|(name, value)| format!("{name}:{value}")),
    ]
}

/// The id, the method and the members of `params`.
type Parts = (Option<Raw>, Option<Raw>, Option<Object>);

/// Reads a message the long way.
fn looked_up(raw: &Raw) -> Result<Parts, JsonError> {
    let envelope = raw.object()?;
    let object = |raw: Option<Raw>| match raw {
        Some(raw) if raw.as_bytes().first() == Some(&b'{') => raw.object().map(Some),
        _ => Ok(None),
    };
    let params = object(envelope.get("params"))?;
    object(params.as_ref().and_then(|params| params.get("_meta")))?;
    object(envelope.get("result"))?;
    Ok((envelope.get("id"), envelope.get("method"), params))
}

fn same(ours: Option<&Object>, theirs: Option<&Object>) -> bool {
    let listed = |object: &Object| format!("{object:?}");
    ours.map(listed) == theirs.map(listed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn one_pass_finds_what_looking_up_finds(
        members in proptest::collection::vec(member(), 0..6),
        comma in select(&[",", " , ", ",\n  "][..]),
        changes in Change::any(1),
    ) {
        let mut text = format!("{{{}}}", members.join(comma)).into_bytes();
        Change::all(&changes, &mut text);
        let text = Bytes::from(text);
        let read = Message::parse(text.clone());
        let raw = match Raw::parse(&text) {
            Ok(raw) => raw,
            Err(error) => {
                // What is wrong may be told before the place where the text is no JSON.
                prop_assert!(matches!(read, Err(MessageError::Json(_) | MessageError::Batch)), "{error:?}, {read:?}");
                return Ok(());
            }
        };
        let (id, method, params) = match looked_up(&raw) {
            Ok(found) => found,
            Err(JsonError::NotAnObject) => {
                prop_assert!(matches!(read, Err(MessageError::Invalid { .. } | MessageError::Batch)), "{read:?}");
                return Ok(());
            }
            Err(error) => {
                prop_assert_eq!(read.unwrap_err(), MessageError::Json(error));
                return Ok(());
            }
        };
        let id = id.and_then(RpcId::new);
        let meta = params.as_ref().and_then(|params| params.object("_meta"));
        let named = method.as_ref().and_then(Raw::string);
        let named = named.as_deref().map_or(Method::Other, Method::parse);
        match read {
            Ok(Message::Request(request)) => {
                prop_assert_eq!((Some(&request.id), request.method), (id.as_ref(), named));
                prop_assert_eq!(Some(&request.method_name), method.as_ref());
                prop_assert!(same(request.params.as_ref(), params.as_ref()) && same(request.meta.as_ref(), meta.as_ref()));
            }
            Ok(Message::Notification(notification)) => {
                prop_assert_eq!((None, notification.method), (id.as_ref(), named));
                prop_assert!(method.is_some());
                prop_assert!(
                    same(notification.params.as_ref(), params.as_ref()) && same(notification.meta.as_deref(), meta.as_ref())
                );
            }
            Ok(Message::Response(response)) => {
                prop_assert_eq!(response.id.as_ref(), id.as_ref());
                prop_assert!(method.is_none());
                let result = raw.object().unwrap().object("result");
                match &response.outcome {
                    Outcome::Result(found) => prop_assert!(same(Some(found), result.as_ref())),
                    Outcome::Error(_) => prop_assert!(result.is_none()),
                }
            }
            Err(error) => prop_assert!(matches!(error, MessageError::Invalid { .. }), "{error:?}"),
        }
    }

    #[test]
    fn a_series_is_read_as_each_message_alone_is(
        members in proptest::collection::vec(member(), 1..5),
        reports in proptest::collection::vec((value(), Change::any(2), any::<bool>()), 2..6),
        token_first: bool,
        version_first: bool,
    ) {
        let mut series = Series::default();
        for (value, changes, other) in reports {
            let params = if token_first {
                format!(r#""progressToken": 17 , "progress":1,"message":{value}"#)
            } else {
                format!(r#""_":1,"progressToken":"t","message":{value},"progress":2,"_meta":{{"a":{value}}}"#)
            };
            let (front, back) = if version_first { (r#""jsonrpc":"2.0","#, "") } else { ("", r#","jsonrpc":"2.0""#) };
            let mut text = format!(r#"{{{front}"method":"notifications/progress","params":{{{params}}}{back}}}"#).into_bytes();
            if other {
                text = format!("{{{}}}", members.join(",")).into_bytes();
            }
            Change::all(&changes, &mut text);
            let text = Bytes::from(text);
            let (ours, alone) = (series.read(text.clone()), Message::parse(text));
            prop_assert_eq!(format!("{ours:?}"), format!("{alone:?}"));
        }
    }
}
