//! A response that is too large to be held, read while it passes by: its head, which says whose answer it is, and then
//! where its result ends and what the members of the result are called. Everything between stays unread.

mod skip;

use std::ops::Range;

use bytes::Bytes;
use memchr::memchr2;

use super::json::{Raw, unescaped};
use super::message::RpcId;
use super::version::Era;
use crate::limits::JSON_DEPTH_MAX;

/// Longer names are none that mean anything here.
const NAME_BYTES_MAX: usize = 128;
/// The envelope and its result have members whose names mean something.
const NAMED_DEPTH_MAX: usize = 2;
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
        let mut at = 0;
        while at < bytes.len() {
            at = match &self.name {
                Some(_) => bytes.len() - self.within_name(bytes.get(at..).unwrap_or_default())?.len(),
                None if self.in_string => self.within_string(bytes, at),
                None if self.depth > NAMED_DEPTH_MAX => self.deep(bytes, at)?,
                None => bytes.len() - self.outside(bytes.get(at..).unwrap_or_default())?.len(),
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

    /// Passes over a string that means nothing here.
    fn within_string(&mut self, bytes: &[u8], at: usize) -> usize {
        let from = at + usize::from(std::mem::take(&mut self.escaped));
        match skip::string(bytes, from) {
            Ok(behind) => {
                self.in_string = false;
                behind
            }
            Err(escaped) => {
                self.in_string = true;
                self.escaped = escaped;
                bytes.len()
            }
        }
    }

    /// Passes over values within the members of the result: only where they end means something.
    fn deep(&mut self, bytes: &[u8], mut at: usize) -> Result<usize, PassingError> {
        while self.depth > NAMED_DEPTH_MAX {
            at = skip::to_structure(bytes, at);
            let Some(byte) = bytes.get(at) else { break };
            at += 1;
            match byte {
                b'"' => {
                    at = match skip::short_string(bytes, at) {
                        Some(behind) => behind,
                        None => self.within_string(bytes, at),
                    }
                }
                b'{' | b'[' => self.open()?,
                b'}' | b']' => self.depth -= 1,
                _ => {}
            }
        }
        Ok(at)
    }

    fn open(&mut self) -> Result<(), PassingError> {
        self.depth += 1;
        if self.depth > JSON_DEPTH_MAX {
            return Err(PassingError::NotJson);
        }
        Ok(())
    }

    fn within_name<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], PassingError> {
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
                self.name_next = false;
                self.verdict_next = false;
                self.open()?;
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
mod tests;
