use super::*;
use crate::protocol::json::differential::{Change, value, written};
use proptest::prelude::*;

const NAMES: &[&str] = &[
    "a",
    "content",
    "isError",
    "id",
    "result",
    "error",
    "requestState",
    "taskId",
    "x\"y\\",
];

fn head(text: &str, era: Era) -> Option<Head> {
    Head::find(&Bytes::from(text.to_owned()), era)
}

/// Lets a whole response pass in pieces of a size.
fn passed(text: &str, era: Era, size: usize) -> Result<bool, PassingError> {
    let head = head(text, era).expect("a head");
    let mut passing = Passing::behind(era);
    for piece in text.as_bytes()[head.behind..].chunks(size) {
        passing.watch(piece)?;
    }
    passing.end()
}

#[test]
fn the_head_says_whose_answer_it_is() {
    let text = r#" { "jsonrpc" : "2.0" , "id" : 17 , "result" : {"content":[]}}"#;
    let found = head(text, Era::Legacy).unwrap();
    assert_eq!((found.id.raw().as_str(), &text[found.at]), ("17", "17"));
    assert_eq!(&text[found.behind..], r#""content":[]}}"#);
    let text = r#"{"id":"a b","jsonrpc":"2.0","result":{"resultType":"complete","content":[]}}"#;
    let found = head(text, Era::Modern).unwrap();
    assert_eq!(
        (found.id.raw().as_str(), &text[found.at]),
        (r#""a b""#, r#""a b""#)
    );
    assert_eq!(&text[found.behind..], r#","content":[]}}"#);
}

#[test]
fn what_must_be_read_as_a_whole_has_no_head() {
    for (text, era) in [
        (r#"{"result":{"content":[]},"jsonrpc":"2.0","id":1}"#, Era::Legacy),
        (
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#,
            Era::Legacy,
        ),
        (r#"{"jsonrpc":"2.0","result":{}}"#, Era::Legacy),
        (r#"{"id":1,"result":{}}"#, Era::Legacy),
        (r#"{"jsonrpc":"1.0","id":1,"result":{}}"#, Era::Legacy),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"result":{}}"#, Era::Legacy),
        (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, Era::Legacy),
        (r#"{"jsonrpc":"2.0","id":1,"result":[]}"#, Era::Legacy),
        (r#"{"jsonrpc":"2.0","id":1,"\u0069d":2,"result":{}}"#, Era::Legacy),
        (r#"{"jsonrpc":"2.0","id":1,"#, Era::Legacy),
        ("[]", Era::Legacy),
        ("", Era::Legacy),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#, Era::Modern),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"task"}}"#,
            Era::Modern,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required"}}"#,
            Era::Modern,
        ),
    ] {
        assert_eq!(head(text, era), None, "{text}");
    }
}

#[test]
fn the_verdict_is_that_of_the_result_and_no_other() {
    for (members, failed) in [
        (r#""content":[]"#, false),
        (r#""content":[],"isError":true"#, true),
        (r#""isError" : true,"content":[{"isError":false}]"#, true),
        (r#""isError":false"#, false),
        (r#""is\u0045rror":true"#, true),
        (r#""isError":"true""#, false),
        (r#""content":[{"isError":true}],"x":{"isError":true}"#, false),
        (r#""a":"\",\"isError\":true,","b":"\\","c":"isError""#, false),
    ] {
        let legacy = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{{members}}},"isError":true}}"#);
        let modern =
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"complete",{members}}} }} "#);
        for size in [1, 2, 3, 7, 1_000] {
            assert_eq!(
                passed(&legacy, Era::Legacy, size),
                Ok(failed),
                "{members} by {size}"
            );
            assert_eq!(
                passed(&modern, Era::Modern, size),
                Ok(failed),
                "{members} by {size}"
            );
        }
    }
}

#[test]
fn what_is_no_single_answer_does_not_pass() {
    let front = r#"{"jsonrpc":"2.0","id":1,"result":{"#;
    for (rest, error) in [
        ("", PassingError::NotJson),
        (r#""a":1"#, PassingError::NotJson),
        (r#""a":1}"#, PassingError::NotJson),
        (r#""a":"}}"#, PassingError::NotJson),
        ("}}{", PassingError::NotJson),
        ("}}}", PassingError::NotJson),
        (r#"}} "x""#, PassingError::NotJson),
        (r#"},"id":2}"#, PassingError::Misplaced),
        (r#"},"\u0069d":2}"#, PassingError::Misplaced),
        (r#"},"result":{}}"#, PassingError::Misplaced),
        (r#"},"error":{}}"#, PassingError::Misplaced),
    ] {
        let text = format!("{front}{rest}");
        for size in [1, 4, 1_000] {
            assert_eq!(passed(&text, Era::Legacy, size), Err(error), "{text} by {size}");
        }
    }
    let deep = format!(r#"{front}"a":{}"#, "[".repeat(JSON_DEPTH_MAX));
    assert_eq!(passed(&deep, Era::Legacy, 9), Err(PassingError::NotJson));
    for late in HELD {
        let text = format!(r#"{front}"resultType":"complete","x":[1],"{late}":"y"}}}}"#);
        assert_eq!(passed(&text, Era::Modern, 5), Err(PassingError::Misplaced));
        assert_eq!(passed(&text, Era::Legacy, 5), Ok(false));
    }
}

/// What the names of members say when a response is read as a whole; `None` when it is no JSON.
fn read_whole(text: &[u8], era: Era) -> Option<Result<bool, PassingError>> {
    let envelope = Raw::parse(&Bytes::copy_from_slice(text)).ok()?;
    let entries = |raw: &Raw| {
        // A key may come twice: what is last counts, as it does for whoever reads what has passed.
        serde_json::from_slice::<Members>(raw.as_bytes()).map(|members| members.0)
    };
    let envelope = entries(&envelope).ok()?;
    let result = envelope.iter().position(|(name, _)| name == "result")?;
    let mut failed = false;
    let mut misplaced = (envelope.iter().skip(result + 1)).any(|(name, _)| ENVELOPE.contains(&&**name));
    for (at, (name, value)) in entries(&envelope[result].1).ok()?.iter().enumerate() {
        misplaced |= era == Era::Modern && at > 0 && HELD.contains(&&**name);
        failed |= name == "isError" && value.as_str() == "true";
    }
    Some(if misplaced {
        Err(PassingError::Misplaced)
    } else {
        Ok(failed)
    })
}

/// The members of an object, in their order.
struct Members(Vec<(String, Raw)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) =
                    map.next_entry::<String, Box<serde_json::value::RawValue>>()?
                {
                    members.push((name, Raw::of(&value)));
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Visitor)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_passes_says_what_reading_it_whole_would(
        values in proptest::collection::vec((proptest::sample::select(NAMES), value()), 0..5),
        behind in proptest::option::of((proptest::sample::select(NAMES), value())),
        failed in proptest::option::of(any::<bool>()),
        for_people: bool,
        changes in Change::any(2),
        modern: bool,
        size in 1usize..70,
    ) {
        let era = if modern { Era::Modern } else { Era::Legacy };
        let member = |(name, value): &(&str, serde_json::Value)| {
            format!("{}:{}", serde_json::json!(name), String::from_utf8(written(value, for_people)).unwrap())
        };
        let mut members: Vec<String> = values.iter().map(member).collect();
        members.extend(failed.map(|failed| format!("\"isError\" : {failed}")));
        let (front, comma) = match era {
            Era::Modern => (r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete""#, ","),
            Era::Legacy => (r#"{"jsonrpc":"2.0","id":1,"result":{"#, ""),
        };
        let comma = if members.is_empty() { "" } else { comma };
        let mut rest = format!("{comma}{}}}", members.join(",")).into_bytes();
        rest.extend(behind.iter().flat_map(|behind| format!(",{}", member(behind)).into_bytes()));
        rest.extend(b"}");
        Change::all(&changes, &mut rest);
        let text = [front.as_bytes(), &rest].concat();
        let Some(expected) = read_whole(&text, era) else { return Ok(()) };
        let mut passing = Passing::behind(era);
        let watched = rest.chunks(size).try_for_each(|piece| passing.watch(piece));
        prop_assert_eq!(watched.and_then(|()| passing.end()), expected, "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn any_text_passes_however_it_is_cut(text in ".{0,40}", failed: bool, size in 1usize..9) {
        let result = serde_json::json!({ "content": [{ "type": "text", "text": text }], "isError": failed });
        let answer = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        prop_assert_eq!(passed(&answer, Era::Legacy, size), Ok(failed));
    }
}
