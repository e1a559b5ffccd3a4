//! Log lines as JSON: one object a line, with the event's own fields at its top and what is known of the request in
//! `span`. Formatted when a line is written, and not before.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::request::{About, with_current};

/// A line, with room to spare.
const LINE_BYTES_USUAL: usize = 512;
/// Fields that the `log` crate's bridge puts beside those of a record.
const OF_THE_BRIDGE: &str = "log.";
/// What a line says itself. A field of such a name stands behind `field.`.
const OF_THE_LINE: [&str; 4] = ["timestamp", "level", "target", "span"];
/// Where a record of the `log` crate says what an event has as its target.
const TARGET_OF_THE_BRIDGE: &str = "log.target";

/// Writes an event as one JSON object and a line break.
#[derive(Debug)]
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::with_capacity(LINE_BYTES_USUAL);
        line.push_str(r#"{"timestamp":""#);
        SystemTime.format_time(&mut Writer::new(&mut line))?;
        let metadata = event.metadata();
        line.push_str(r#"","level":""#);
        line.push_str(metadata.level().as_str());
        line.push('"');
        let mut members = Members {
            line: &mut line,
            target: None,
        };
        event.record(&mut members);
        let target = members.target.take();
        line.push_str(r#","target":"#);
        string(&mut line, target.as_deref().unwrap_or(metadata.target()));
        with_current(|about| span(&mut line, about));
        line.push_str("}\n");
        writer.write_str(&line)
    }
}

fn span(line: &mut String, about: &About) {
    for (before, text) in [
        (r#","span":{"name":"http","request.id":"#, about.id.as_str()),
        (r#","http.request.method":"#, about.method.as_str()),
        (r#","url.path":"#, &about.path),
    ] {
        line.push_str(before);
        string(line, text);
    }
    line.push('}');
}

/// Formats the fields of spans as nothing: lines do not show them.
#[derive(Debug)]
pub(super) struct NoFields;

impl<'writer> FormatFields<'writer> for NoFields {
    fn format_fields<R: RecordFields>(&self, _: Writer<'writer>, _: R) -> fmt::Result {
        Ok(())
    }

    fn add_fields(
        &self,
        _: &'writer mut FormattedFields<Self>,
        _: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        Ok(())
    }
}

/// Appends the fields of an event to an object that has members already.
struct Members<'a> {
    line: &'a mut String,
    target: Option<String>,
}

impl Members<'_> {
    /// Begins a member; `None` for what is not shown.
    fn key(&mut self, field: &Field) -> Option<&mut String> {
        if field.name().starts_with(OF_THE_BRIDGE) {
            return None;
        }
        let name = field.name().trim_start_matches("r#");
        self.line.push(',');
        if OF_THE_LINE.contains(&name) {
            string(self.line, &format!("field.{name}"));
        } else {
            string(self.line, name);
        }
        self.line.push(':');
        Some(self.line)
    }

    fn write(&mut self, field: &Field, value: impl fmt::Display) {
        if let Some(line) = self.key(field) {
            line.push_str(&value.to_string());
        }
    }
}

impl Visit for Members<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == TARGET_OF_THE_BRIDGE {
            self.target = Some(value.to_owned());
        }
        if let Some(line) = self.key(field) {
            string(line, value);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.write(field, serde_json::Value::from(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // What cannot be formatted is shown as far as it went.
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        if let Some(line) = self.key(field) {
            string(line, &text);
        }
    }
}

/// Writes a JSON string; most texts need no escape.
fn string(out: &mut String, text: &str) {
    let plain = |byte: u8| byte != b'"' && byte != b'\\' && byte >= 0x20;
    if !text.bytes().all(plain) {
        out.push_str(&serde_json::Value::from(text).to_string());
        return;
    }
    out.push('"');
    out.push_str(text);
    out.push('"');
}
