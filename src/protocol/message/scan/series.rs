//! The messages of one stream. Reports of progress begin alike, up to behind their token: what was read there of the one
//! before is not read again. The same bytes mean the same, so what is found is what reading each as a whole would find.

use bytes::Bytes;

use super::super::super::json::{MEMBERS_USUAL, Member, Span, behind_member, blank, members_from, whole};
use super::super::super::meta::PROGRESS_TOKEN;
use super::super::{Message, MessageError};
use super::{Parts, Places, Read, read_param};

/// A beginning is no longer: it is kept for as long as its stream lasts.
const FRONT_BYTES_MAX: usize = 512;

/// Reads the messages of one stream.
#[derive(Debug, Default)]
pub struct Series {
    front: Option<Box<Front>>,
}

/// How a report of progress began: its bytes up to the key behind its token, and what they say.
#[derive(Debug)]
struct Front {
    text: Box<[u8]>,
    /// What stands in the envelope before `params`, and where that begins.
    at: Places,
    in_params: Box<[Member]>,
}

impl Series {
    /// Reads the next message, as [`Message::parse`] does.
    ///
    /// # Errors
    /// As there.
    pub fn read(&mut self, raw: Bytes) -> Result<Message, MessageError> {
        let mut parts = Parts::default();
        match &self.front {
            Some(front) if raw.starts_with(&front.text) => {
                whole(&raw, |_| front.read(&mut parts, &raw))?;
            }
            _ => {
                parts.find(&raw)?;
                if let Some(front) = Front::of(&parts, &raw) {
                    self.front = Some(Box::new(front));
                }
            }
        }
        parts.message(raw)
    }
}

impl Front {
    fn of(
        Parts {
            at,
            in_params,
            in_result,
            ..
        }: &Parts,
        raw: &Bytes,
    ) -> Option<Self> {
        let params = at.params.start();
        let written = |member: &Member| raw.get(params + member.key.start()..params + member.key.end());
        let token = (in_params.iter())
            .position(|member| !member.escaped && written(member) == Some(PROGRESS_TOKEN.as_bytes()))?;
        let end = params + in_params.get(token + 1)?.key.start() - 1;
        let in_params = in_params.get(..=token)?;
        // What is behind is found anew each time.
        let before = |span: Span| {
            if span.start() < params {
                span
            } else {
                Span::default()
            }
        };
        let named = [at.version, at.id, at.method, at.result, at.error];
        let count = |named: [Span; 5]| 1 + named.iter().filter(|span| !span.is_empty()).count();
        let is_plain = count(named) == at.count
            && in_params.iter().all(|member| !member.escaped)
            && in_result.is_empty()
            && (at.meta.is_empty() || at.meta.start() > end);
        let [version, id, method, result, error] = named.map(before);
        (is_plain && end <= FRONT_BYTES_MAX).then(|| Self {
            text: raw.get(..end).unwrap_or_default().into(),
            at: Places {
                version,
                id,
                method,
                params: at.params,
                result,
                error,
                meta: Span::default(),
                count: count(named.map(before)),
            },
            in_params: in_params.into(),
        })
    }

    /// Reads a text that begins in the same way.
    fn read(&self, parts: &mut Parts, raw: &[u8]) -> Read {
        parts.at = self.at;
        parts.in_params = Vec::with_capacity(MEMBERS_USUAL.max(self.in_params.len()));
        parts.in_params.extend_from_slice(&self.in_params);
        let (start, first) = (self.at.params.start(), blank(raw, self.text.len()));
        let (meta, in_meta) = (&mut parts.at.meta, &mut parts.in_meta);
        let end = members_from(raw, start, first, &mut parts.in_params, |name, value| {
            read_param(raw, name, value, meta, in_meta)
        })?;
        parts.at.params = Span::new(start, end);
        let (at, more) = behind_member(raw, end)?;
        parts.read_from(raw, at, more)
    }
}
