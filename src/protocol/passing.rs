//! A response that is too large to be held, read while it passes by: its head, which says whose answer it is, and then
//! where its result ends and what the members of the result are called. Everything between stays unread.

use std::ops::Range;

use bytes::Bytes;
use memchr::memchr2;

use super::json::{Raw, unescaped};
use super::message::RpcId;
use super::version::Era;
use crate::limits::JSON_DEPTH_MAX;

/// Longer names are none that mean anything here.
const NAME_BYTES_MAX: usize = 128;
/// Members of the envelope; a second one would be another answer.
const ENVELOPE: [&str; 5] = ["jsonrpc", "id", "result", "error", "method"];
/// Members of a modern result that are read, or changed, before a client sees them.
const HELD: [&str; 4] = ["resultType", "inputRequests", "requestState", "taskId"];

/// Why a response cannot pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassingError {
    /// It is no JSON object, or not one alone.
    #[error("it is not one JSON object")]
    NotJson,
    /// It says twice what may be said once, or late what must come first.
    #[error("a member of it came twice or too late")]
    Misplaced,
}

/// The front of a response: version and id, and a result that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whose answer it is.
    pub id: RpcId,
    /// Where the id stands.
    pub at: Range<usize>,
    /// What is behind: members of the result, and in a modern one a comma before them.
    pub behind: usize,
}

impl Head {
    /// Finds the head in the first bytes of a response. `None` when it does not come first, is an error, or is a modern
    /// result that does not say first that it is complete: such a response must be read as a whole.
    #[must_use]
    pub fn find(text: &Bytes, era: Era) -> Option<Self> {
        let mut cursor = Cursor { text, at: 0 };
        let (mut id, mut version) = (None, false);
        cursor.eat(b'{')?;
        loop {
            let key = cursor.string()?;
            cursor.eat(b':')?;
            match text.get(key)? {
                b"jsonrpc" if !version => {
                    let value = cursor.string()?;
                    version = text.get(value)? == b"2.0";
                }
                b"id" if id.is_none() => {
                    let at = cursor.scalar()?;
                    let raw = Raw::parse(&text.slice(at.clone())).ok()?;
                    id = Some((RpcId::new(raw)?, at));
                }
                b"result" => break,
                _ => return None,
            }
            cursor.eat(b',')?;
        }
        cursor.eat(b'{')?;
        let (id, at) = id.filter(|_| version)?;
        if era == Era::Modern {
            let key = cursor.string()?;
            cursor.eat(b':')?;
            let kind = cursor.string()?;
            if text.get(key)? != b"resultType" || text.get(kind)? != b"complete" {
                return None;
            }
        }
        Some(Self {
            id,
            at,
            behind: cursor.at,
        })
    }
}

/// Reads the plain forms that a head has.
struct Cursor<'a> {
    text: &'a Bytes,
    at: usize,
}

impl Cursor<'_> {
    fn blank(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| is_blank(**byte)).count();
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        self.blank();
        (self.text.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    /// Reads a string without escapes and returns what is between the quotes.
    fn string(&mut self) -> Option<Range<usize>> {
        self.eat(b'"')?;
        let start = self.at;
        let length = memchr2(b'"', b'\\', self.text.get(start..)?)?;
        self.at = start + length;
        self.eat(b'"')?;
        Some(start..start + length)
    }

    /// Reads a string or a number whole.
    fn scalar(&mut self) -> Option<Range<usize>> {
        self.blank();
        if self.text.get(self.at) == Some(&b'"') {
            let inner = self.string()?;
            return Some(inner.start - 1..inner.end + 1);
        }
        let rest = self.text.get(self.at..)?;
        let length = rest.iter().position(|byte| is_blank(*byte) || *byte == b',')?;
        let start = self.at;
        self.at += length;
        Some(start..self.at)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// What passes by behind the head, in pieces cut anywhere.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing of where a cut may fall"
)]
pub struct Passing {
    era: Era,
    /// Objects and arrays that are open: the envelope, the result, what is in it.
    depth: usize,
    in_result: bool,
    in_string: bool,
    escaped: bool,
    /// The next string is a member's name.
    name_next: bool,
    /// The name that is being read, of a member of the envelope or of the result, with its opening quote.
    name: Option<Vec<u8>>,
    /// The next value tells whether the tool failed.
    verdict_next: bool,
    failed: bool,
}

impl Passing {
    /// Starts behind the head of a response.
    #[must_use]
    pub fn behind(era: Era) -> Self {
        Self {
            era,
            depth: 2,
            in_result: true,
            in_string: false,
            escaped: false,
            // A comma comes before the next name of a modern result.
            name_next: era == Era::Legacy,
            name: None,
            verdict_next: false,
            failed: false,
        }
    }

    /// Watches the next bytes.
    ///
    /// # Errors
    /// [`PassingError`]: what has passed already is no answer.
    pub fn watch(&mut self, bytes: &[u8]) -> Result<(), PassingError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = if self.in_string {
                self.within_string(rest)?
            } else {
                self.outside(rest)?
            };
        }
        Ok(())
    }

    /// Says, at the end, whether the tool failed (`isError`).
    ///
    /// # Errors
    /// [`PassingError`] when it is not the end.
    pub fn end(self) -> Result<bool, PassingError> {
        if self.depth > 0 || self.in_string {
            return Err(PassingError::NotJson);
        }
        Ok(self.failed)
    }

    fn within_string<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], PassingError> {
        if std::mem::take(&mut self.escaped) {
            let (byte, behind) = rest.split_at_checked(1).unwrap_or_default();
            self.keep(byte);
            return Ok(behind);
        }
        let plain = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        let (text, rest) = rest.split_at_checked(plain).unwrap_or_default();
        self.keep(text);
        match rest.split_first() {
            Some((b'"', behind)) => {
                self.in_string = false;
                self.named()?;
                Ok(behind)
            }
            Some((_, behind)) => {
                self.keep(b"\\");
                self.escaped = true;
                Ok(behind)
            }
            None => Ok(rest),
        }
    }

    fn keep(&mut self, text: &[u8]) {
        if let Some(name) = &mut self.name {
            let room = NAME_BYTES_MAX.saturating_sub(name.len());
            name.extend(text.iter().take(room));
        }
    }

    fn outside<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], PassingError> {
        let Some((byte, rest)) = rest.split_first() else {
            return Ok(rest);
        };
        if is_blank(*byte) {
            return Ok(rest);
        }
        if self.depth == 0 {
            return Err(PassingError::NotJson);
        }
        match byte {
            b'"' => {
                self.in_string = true;
                let named = std::mem::take(&mut self.name_next);
                self.name = named.then(|| vec![b'"']);
                self.verdict_next = false;
            }
            b'{' | b'[' => {
                self.depth += 1;
                self.verdict_next = false;
                if self.depth > JSON_DEPTH_MAX {
                    return Err(PassingError::NotJson);
                }
            }
            b'}' | b']' => {
                self.depth -= 1;
                self.name_next = false;
                self.in_result &= self.depth > 1;
            }
            b',' => self.name_next = self.depth == 1 || (self.depth == 2 && self.in_result),
            b':' => {}
            byte => self.failed |= std::mem::take(&mut self.verdict_next) && *byte == b't',
        }
        Ok(rest)
    }

    /// Reads a name that has ended.
    fn named(&mut self) -> Result<(), PassingError> {
        let Some(mut name) = self.name.take() else {
            return Ok(());
        };
        name.push(b'"');
        let name = unescaped(&name, &(1..name.len() - 1));
        if !self.in_result {
            return if ENVELOPE.contains(&&*name) {
                Err(PassingError::Misplaced)
            } else {
                Ok(())
            };
        }
        if self.era == Era::Modern && HELD.contains(&&*name) {
            return Err(PassingError::Misplaced);
        }
        self.verdict_next = name == "isError";
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn any_text_passes_however_it_is_cut(text in ".{0,40}", failed: bool, size in 1usize..9) {
            let result = serde_json::json!({ "content": [{ "type": "text", "text": text }], "isError": failed });
            let answer = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
            prop_assert_eq!(passed(&answer, Era::Legacy, size), Ok(failed));
        }
    }
}
