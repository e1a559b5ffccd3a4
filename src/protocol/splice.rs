//! Edits of a JSON text in place: everything between the edits leaves as the bytes that came.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::json::{Object, Raw};

/// Collects edits of one text. Values and objects must be slices of that text; edits must not overlap.
#[derive(Debug)]
pub struct Splice {
    src: Bytes,
    edits: Vec<(Range<usize>, Bytes)>,
}

impl Splice {
    /// Starts with the text as it is.
    #[must_use]
    pub fn new(src: &Bytes) -> Self {
        Self {
            src: src.clone(),
            edits: Vec::new(),
        }
    }

    /// Puts another text in the place of a value.
    pub fn replace(&mut self, value: &Raw, with: &Raw) {
        if value != with
            && let Some(span) = self.span_of(value.as_bytes())
        {
            self.edits.push((span, with.as_bytes().clone()));
        }
    }

    /// Sets a member of an object: replaces its value or puts the member first.
    pub fn set(&mut self, object: &Object, key: &str, value: &Raw) {
        if let Some(old) = object.get(key) {
            self.replace(&old, value);
        } else {
            self.insert(object, &[(key, value)]);
        }
    }

    /// Puts new members at the front of an object. Their keys must not be there yet; at most one call an object.
    pub fn insert(&mut self, object: &Object, members: &[(&str, &Raw)]) {
        let Some(span) = self.span_of(&object.src) else {
            return;
        };
        let mut text = BytesMut::new();
        for (index, (key, value)) in members.iter().enumerate() {
            if index > 0 {
                text.extend_from_slice(b",");
            }
            text.extend_from_slice(Raw::from(*key).as_bytes());
            text.extend_from_slice(b":");
            text.extend_from_slice(value.as_bytes());
        }
        if !object.members.is_empty() && !members.is_empty() {
            text.extend_from_slice(b",");
        }
        self.edits.push((span.start + 1..span.start + 1, text.freeze()));
    }

    /// Takes members out of an object, with the comma that goes with each.
    pub fn remove(&mut self, object: &Object, keys: &[&str]) {
        let Some(base) = self.span_of(&object.src) else {
            return;
        };
        let doomed: Vec<bool> = object.keys().map(|key| keys.contains(&&*key)).collect();
        let mut kept_before = false;
        for (index, member) in object.members.iter().enumerate() {
            if !doomed.get(index).copied().unwrap_or_default() {
                kept_before = true;
                continue;
            }
            // After a kept member the comma before goes too, otherwise the comma behind.
            let start = match index
                .checked_sub(1)
                .and_then(|previous| object.members.get(previous))
            {
                Some(previous) if kept_before => previous.value.end(),
                _ => member.key.start().saturating_sub(1),
            };
            let end = match object.members.get(index + 1) {
                Some(next) if !kept_before => next.key.start().saturating_sub(1),
                _ => member.value.end(),
            };
            self.edits
                .push((base.start + start..base.start + end, Bytes::new()));
        }
    }

    /// Takes members out of an object and puts new ones at its front, which [`Self::remove`] and [`Self::insert`]
    /// cannot do together. The new keys must be among the removed ones or not there.
    pub fn rework(&mut self, object: &Object, removed: &[&str], added: &[(&str, &Raw)]) {
        let kept = object.keys().any(|key| !removed.contains(&&*key));
        let before = self.edits.len();
        self.insert(object, added);
        if !kept && let Some((_, text)) = self.edits.get_mut(before) {
            *text = text
                .strip_suffix(b",")
                .map_or_else(|| text.clone(), |text| text.to_vec().into());
        }
        self.remove(object, removed);
    }

    /// Returns the edited text; the text itself, not copied, when nothing was edited.
    #[must_use]
    pub fn done(mut self) -> Bytes {
        if self.edits.is_empty() {
            return self.src;
        }
        self.edits.sort_by_key(|(span, _)| span.start);
        let added: usize = self.edits.iter().map(|(_, text)| text.len()).sum();
        let mut out = BytesMut::with_capacity(self.src.len() + added);
        let mut at = 0;
        for (span, text) in &self.edits {
            out.extend_from_slice(self.src.get(at..span.start).unwrap_or_default());
            out.extend_from_slice(text);
            at = span.end;
        }
        out.extend_from_slice(self.src.get(at..).unwrap_or_default());
        out.freeze()
    }

    /// Finds where a slice of the text stands in it.
    fn span_of(&self, part: &[u8]) -> Option<Range<usize>> {
        let start = (part.as_ptr() as usize).checked_sub(self.src.as_ptr() as usize)?;
        let end = start + part.len();
        debug_assert!(end <= self.src.len(), "an edit belongs to another text");
        (end <= self.src.len()).then_some(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(text: &str) -> Raw {
        Raw::parse(&Bytes::from(text.to_owned())).unwrap()
    }

    fn edited(text: &str, edit: impl Fn(&mut Splice, &Object)) -> String {
        let value = raw(text);
        let object = value.object().unwrap();
        let mut splice = Splice::new(value.as_bytes());
        edit(&mut splice, &object);
        String::from_utf8(splice.done().to_vec()).unwrap()
    }

    #[test]
    fn a_nested_value_is_replaced_in_one_copy() {
        let text = r#"{"id":1, "params" :{"name":"a","x": 1e400}}"#;
        let out = edited(text, |splice, object| {
            splice.replace(&object.get("id").unwrap(), &Raw::from("seven"));
            let params = object.object("params").unwrap();
            splice.replace(&params.get("name").unwrap(), &Raw::from("b"));
        });
        assert_eq!(out, r#"{"id":"seven", "params" :{"name":"b","x": 1e400}}"#);
    }

    #[test]
    fn members_are_set_where_they_are_or_first() {
        let seven = Raw::from(7);
        assert_eq!(edited("{}", |s, o| s.set(o, "a", &seven)), r#"{"a":7}"#);
        assert_eq!(
            edited(r#"{"b":1}"#, |s, o| s.set(o, "a", &seven)),
            r#"{"a":7,"b":1}"#
        );
        assert_eq!(
            edited(r#"{"b":1,"a":2}"#, |s, o| s.set(o, "a", &seven)),
            r#"{"b":1,"a":7}"#
        );
    }

    proptest! {
        #[test]
        fn removing_members_leaves_the_others(kept in proptest::collection::vec(any::<bool>(), 0..6)) {
            let text: Vec<String> = (0..kept.len()).map(|n| format!("\"k{n}\" : {n}")).collect();
            let doomed: Vec<String> =
                kept.iter().enumerate().filter(|(_, keep)| !**keep).map(|(n, _)| format!("k{n}")).collect();
            let doomed: Vec<&str> = doomed.iter().map(String::as_str).collect();
            let text = format!("{{ {} }}", text.join(" , "));
            let seven = Raw::from(7);
            let added = edited(&text, |s, o| s.rework(o, &doomed, &[("new", &seven)]));
            prop_assert_eq!(raw(&added).object().unwrap().get("new"), Some(seven));
            let out = edited(&text, |s, o| s.remove(o, &doomed));
            let left = raw(&out).object().unwrap();
            let want: Vec<String> =
                kept.iter().enumerate().filter(|(_, keep)| **keep).map(|(n, _)| format!("k{n}")).collect();
            prop_assert_eq!(left.keys().collect::<Vec<_>>(), want.clone());
            let added = raw(&added).object().unwrap();
            prop_assert_eq!(added.keys().skip(1).collect::<Vec<_>>(), want);
        }
    }
}
