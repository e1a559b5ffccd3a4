//! Fields of spans as JSON, written as they come. The formatter that comes with JSON lines sorts them into a map and
//! serializes that, for every request, whether a line is ever written or not.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormattedFields;
use tracing_subscriber::fmt::format::{FormatFields, Writer};

/// The fields of a request's span, with room to spare.
const TEXT_BYTES_USUAL: usize = 256;

/// Writes the fields of a span as one JSON object, which is what the JSON line takes them over from.
#[derive(Debug)]
pub(super) struct JsonObject;

impl<'writer> FormatFields<'writer> for JsonObject {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut text = String::with_capacity(TEXT_BYTES_USUAL);
        text.push('{');
        fields.record(&mut Members(&mut text));
        text.push('}');
        writer.write_str(&text)
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        let text = &mut current.fields;
        // Of a key that is there twice the JSON line takes the later value.
        if text.ends_with('}') {
            text.truncate(text.len() - 1);
        } else {
            text.push('{');
        }
        fields.record(&mut Members(text));
        text.push('}');
        Ok(())
    }
}

/// Appends members to an object that has begun.
struct Members<'a>(&'a mut String);

impl Members<'_> {
    fn key(&mut self, field: &Field) -> &mut String {
        if !self.0.ends_with('{') {
            self.0.push(',');
        }
        string(self.0, field.name().trim_start_matches("r#"));
        self.0.push(':');
        self.0
    }
}

impl Visit for Members<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        string(self.key(field), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.key(field).push_str(if value { "true" } else { "false" });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.key(field).push_str(&value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.key(field).push_str(&value.to_string());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.key(field)
            .push_str(&serde_json::Value::from(value).to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        string(self.key(field), &format!("{value:?}"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    /// Formats the fields of each span, and again with what is recorded later.
    struct Checks;

    impl Layer<Registry> for Checks {
        fn on_new_span(
            &self,
            attributes: &tracing::span::Attributes<'_>,
            _: &tracing::Id,
            _: Context<'_, Registry>,
        ) {
            let mut fields = FormattedFields::<JsonObject>::new(String::new());
            JsonObject.format_fields(fields.as_writer(), attributes).unwrap();
            let read: Value = serde_json::from_str(&fields.fields).unwrap();
            assert_eq!(
                read,
                json!({"text": "a \"b\" \n é", "yes": true, "less": -1, "more": 2, "half": 0.5, "debug": "Some(1)"})
            );
        }

        fn on_record(&self, _: &tracing::Id, values: &Record<'_>, _: Context<'_, Registry>) {
            for (before, after) in [
                ("", json!({"later": "x"})),
                ("{}", json!({"later": "x"})),
                (r#"{"later":"w","text":1}"#, json!({"later": "x", "text": 1})),
            ] {
                let mut fields = FormattedFields::<JsonObject>::new(before.to_owned());
                JsonObject.add_fields(&mut fields, values).unwrap();
                assert_eq!(serde_json::from_str::<Value>(&fields.fields).unwrap(), after);
            }
        }
    }

    #[test]
    fn fields_are_a_json_object_and_stay_one_when_more_are_recorded() {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Checks), || {
            let span = tracing::info_span!(
                "s",
                text = "a \"b\" \n é",
                yes = true,
                less = -1,
                more = 2_u64,
                half = 0.5,
                debug = ?Some(1),
                later = tracing::field::Empty,
            );
            span.record("later", "x");
        });
    }
}
