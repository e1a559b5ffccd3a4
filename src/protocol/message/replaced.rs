//! A notification with another value at one place. What is known of where the others stand is moved, not read again.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::super::json::{Member, Object, Raw, Span};
use super::Notification;

impl Notification {
    /// Puts another value in the place of one of `params`; `None` when there is no such value.
    #[must_use]
    pub fn with_param(self, key: &str, value: &Raw) -> Option<Self> {
        let params = self.params.as_ref()?;
        let member = params.member(key)?.value.range();
        let base = start_of(&self.raw, &params.src)?;
        let edit = Edit::new(&self.raw, base + member.start..base + member.end, value)?;
        let moved = |object: Object| edit.moved(&self.raw, object);
        let (params, meta) = (self.params.map(moved), self.meta.map(|meta| moved(*meta)));
        Some(Self {
            params: Some(params??),
            meta: match meta {
                Some(meta) => Some(Box::new(meta?)),
                None => None,
            },
            method: self.method,
            raw: edit.text,
        })
    }
}

/// A text after the edit of one value.
struct Edit {
    text: Bytes,
    old: Range<usize>,
    new_end: usize,
}

impl Edit {
    fn new(raw: &Bytes, old: Range<usize>, value: &Raw) -> Option<Self> {
        let value = value.as_bytes();
        let mut text = BytesMut::with_capacity(raw.len() - old.len() + value.len());
        text.extend_from_slice(raw.get(..old.start)?);
        text.extend_from_slice(value);
        text.extend_from_slice(raw.get(old.end..)?);
        Some(Self {
            text: text.freeze(),
            new_end: old.start + value.len(),
            old,
        })
    }

    /// Finds an object of the old text in the new one.
    fn moved(&self, raw: &Bytes, mut object: Object) -> Option<Object> {
        let start = start_of(raw, &object.src)?;
        let new_start = self.place(start);
        let end = self.place(start + object.src.len());
        let place = |at: usize| self.place(start + at) - new_start;
        for Member { key, value, .. } in &mut object.members {
            *key = Span::new(place(key.start()), place(key.end()));
            *value = Span::new(place(value.start()), place(value.end()));
        }
        object.src = self
            .text
            .get(new_start..end)
            .map(|src| self.text.slice_ref(src))?;
        Some(object)
    }

    /// Finds a place that is not within the edited value.
    fn place(&self, at: usize) -> usize {
        if at < self.old.end {
            return at;
        }
        at - self.old.end + self.new_end
    }
}

/// Finds where a part of a text begins.
fn start_of(raw: &Bytes, part: &Bytes) -> Option<usize> {
    let start = (part.as_ptr() as usize).checked_sub(raw.as_ptr() as usize)?;
    (start + part.len() <= raw.len()).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::super::Message;
    use super::*;
    use proptest::prelude::*;

    fn notification(text: &Bytes) -> Notification {
        match Message::parse(text.clone()) {
            Ok(Message::Notification(notification)) => notification,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn a_replaced_value_leaves_what_reading_again_would_find(
            (before, after) in (0usize..3, 0usize..3),
            old in "[1-9][0-9]{0,8}",
            new in "\"[a-z]{0,12}\"",
            version_first: bool,
        ) {
            let others = |n: usize, name: &str| {
                let members: Vec<String> = (0..n).map(|at| format!(r#" "{name}{at}" : [{at}] ,"#)).collect();
                members.concat()
            };
            let meta = r#""_meta":{"a":{"progressToken":0},"b":[1, 2]}"#;
            let params = format!(
                r#"{{{}"progressToken": {old} , {meta},{}"last":null}}"#,
                others(before, "x"),
                others(after, "y"),
            );
            let (front, back) = if version_first { (r#""jsonrpc":"2.0","#, "") } else { ("", r#","jsonrpc":"2.0""#) };
            let text = format!(r#" {{{front}"method":"notifications/progress","params":{params}{back}}} "#);
            let new = Raw::parse(&Bytes::from(new)).unwrap();
            let replaced = notification(&text.into()).with_param("progressToken", &new).unwrap();
            prop_assert_eq!(replaced.params.as_ref().unwrap().get("progressToken"), Some(new));
            let again = notification(&replaced.raw);
            prop_assert_eq!(format!("{replaced:?}"), format!("{again:?}"));
        }
    }

    #[test]
    fn a_value_that_is_not_there_is_not_replaced() {
        let text = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"a","params":{"b":1}}"#);
        assert!(notification(&text).with_param("c", &Raw::from(1)).is_none());
        let text = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"a"}"#);
        assert!(notification(&text).with_param("c", &Raw::from(1)).is_none());
    }
}
