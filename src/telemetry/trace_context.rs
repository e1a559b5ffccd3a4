//! W3C Trace Context (Recommendation of 2021-11-23): `traceparent` as it stands in headers and in `params._meta`
//! (SEP-414). Parsing and printing are pure; [`adopt`] and [`outgoing`] join it with the spans that are exported.

use std::fmt;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::clock;

const VERSION_00_BYTES: usize = 55;

/// A position in a trace: `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
}

impl TraceContext {
    /// Reads a `traceparent` of this or a later version; `None` if it is malformed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (head, tail) = text.split_at_checked(VERSION_00_BYTES)?;
        let mut parts = head.split('-');
        let [version] = hex(parts.next()?)?;
        let trace_id: [u8; 16] = hex(parts.next()?)?;
        let span_id: [u8; 8] = hex(parts.next()?)?;
        let [flags] = hex(parts.next()?)?;
        let tail_fits = match version {
            0 => tail.is_empty(),
            0xff => false,
            _ => tail.is_empty() || tail.starts_with('-'),
        };
        let ids_count = trace_id != [0; 16] && span_id != [0; 8];
        (parts.next().is_none() && tail_fits && ids_count).then_some(Self {
            trace_id,
            span_id,
            flags: flags & 1,
        })
    }

    /// Returns a position below this one: the same trace, a new span id.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: clock::random(),
            ..*self
        }
    }

    /// Tells whether whoever sent it records the trace.
    #[must_use]
    pub fn sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

/// `00-<trace id>-<span id>-<flags>`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        for byte in self.trace_id {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("-")?;
        for byte in self.span_id {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "-{:02x}", self.flags)
    }
}

/// Makes a span a child of what the client sent. Without export this does nothing.
pub fn adopt(span: &Span, parent: &TraceContext) {
    let parent = SpanContext::new(
        TraceId::from_bytes(parent.trace_id),
        SpanId::from_bytes(parent.span_id),
        TraceFlags::new(parent.flags),
        true,
        TraceState::NONE,
    );
    let parent = opentelemetry::Context::new().with_remote_span_context(parent);
    // An error means that the span is not exported, or began already: then there is nothing to join.
    let _ = span.set_parent(parent);
}

/// Makes a span a child of what the client sent inside its message, and links it to the span around it, which may
/// belong to another trace.
pub fn adopt_beside(span: &Span, parent: &TraceContext) {
    let around = Span::current().context().span().span_context().clone();
    adopt(span, parent);
    if around.is_valid() {
        span.add_link(around);
    }
}

/// Returns what a request upstream carries: the span's own position if it is exported, else a child of what the
/// client sent, else nothing.
#[must_use]
pub fn outgoing(span: &Span, incoming: Option<&TraceContext>) -> Option<TraceContext> {
    let context = span.context();
    let own = context.span().span_context().clone();
    if own.is_valid() {
        return Some(TraceContext {
            trace_id: own.trace_id().to_bytes(),
            span_id: own.span_id().to_bytes(),
            flags: own.trace_flags().to_u8() & 1,
        });
    }
    incoming.map(TraceContext::child)
}

/// Lower-case hexadecimal digits of exactly so many bytes.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_traceparent_is_read_and_printed_back() {
        let context = TraceContext::parse(SENT).unwrap();
        assert!(context.sampled());
        assert_eq!(context.to_string(), SENT);
    }

    #[test]
    fn a_later_version_is_read_as_this_one() {
        for text in [
            SENT.replacen("00", "cc", 1),
            SENT.replacen("00", "cc", 1) + "-what-the-future-brings",
        ] {
            assert_eq!(TraceContext::parse(&text).unwrap().to_string(), SENT);
        }
    }

    #[test]
    fn a_malformed_traceparent_is_nothing() {
        for text in [
            "",
            "00",
            &SENT[..54],
            &format!("{SENT}-x"),
            &format!("{SENT}0"),
            &SENT.replacen("00", "ff", 1),
            &SENT.replacen("4bf9", "4BF9", 1),
            &SENT.replacen("4bf9", "4bg9", 1),
            &SENT.replace(
                "4bf92f3577b34da6a3ce929d0e0e4736",
                "00000000000000000000000000000000",
            ),
            &SENT.replace("00f067aa0ba902b7", "0000000000000000"),
            &SENT.replacen('-', "_", 1),
            &SENT.replacen("00-4", "00--", 1),
            &(SENT.replacen("00", "cc", 1) + "x"),
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_child_keeps_the_trace_and_its_sampling_and_gets_its_own_span() {
        let parent = TraceContext::parse(SENT).unwrap();
        let child = parent.child();
        assert_eq!(child.trace_id, parent.trace_id);
        assert_eq!(child.sampled(), parent.sampled());
        assert_ne!(child.span_id, parent.span_id);
    }

    #[test]
    fn without_export_a_request_upstream_carries_a_child_of_what_came_or_nothing() {
        let parent = TraceContext::parse(SENT).unwrap();
        adopt(&Span::none(), &parent);
        let child = outgoing(&Span::none(), Some(&parent)).unwrap();
        assert_eq!(child.trace_id, parent.trace_id);
        assert_ne!(child.span_id, parent.span_id);
        assert_eq!(outgoing(&Span::none(), None), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic_and_what_is_read_prints_as_version_00(text in ".{0,80}") {
            if let Some(context) = TraceContext::parse(&text) {
                prop_assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
            }
        }
    }
}
