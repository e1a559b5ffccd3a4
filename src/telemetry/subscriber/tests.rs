use super::*;
use crate::telemetry::{TraceContext, adopt, outgoing};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(level: &str, format: Format, work: impl FnOnce()) -> String {
    let page = Page::default();
    let to = page.clone();
    let lines = lines(format, false, move || to.clone());
    let subscriber = subscriber(lines, filter(level).unwrap(), None);
    tracing::subscriber::with_default(subscriber, work);
    let bytes = page.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn about(id: &str) -> Arc<request::About> {
    Arc::new(request::About {
        id: crate::ids::RequestId::new(id),
        method: http::Method::POST,
        path: "/a \"b\"".into(),
    })
}

#[test]
fn a_json_line_carries_message_fields_and_the_requests_span() {
    let line = logged("info", Format::Json, || {
        request::within(&about("r-1"), || {
            let (reason, share) = ("a \"b\" \n é", 0.5);
            tracing::info!(
                gateway.id = "brave",
                elapsed_ms = 7,
                less = -1,
                yes = true,
                share,
                ?reason,
                text = reason,
                level = "of the event",
                "call answered"
            );
        });
        tracing::debug!("not shown");
    });
    assert!(line.ends_with("}\n") && line.lines().count() == 1, "{line}");
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&json["less"], &json["yes"], &json["share"]),
        (&(-1).into(), &true.into(), &0.5.into())
    );
    assert_eq!(json["text"], "a \"b\" \n é");
    assert_eq!(json["reason"], format!("{:?}", "a \"b\" \n é"));
    assert_eq!(json["field.level"], "of the event");
    assert_eq!(json["target"], "toolgate::telemetry::subscriber::tests");
    assert_eq!(json["span"]["name"], "http");
    assert_eq!(json["span"]["http.request.method"], "POST");
    assert_eq!(json["span"]["url.path"], "/a \"b\"");
    let timestamp = json["timestamp"].as_str().unwrap();
    assert!(
        timestamp.starts_with("20") && timestamp.ends_with('Z'),
        "{timestamp}"
    );
    assert_eq!(json["message"], "call answered");
    assert_eq!(json["gateway.id"], "brave");
    assert_eq!(json["elapsed_ms"], 7);
    assert_eq!(json["level"], "INFO");
    assert_eq!(json["span"]["request.id"], "r-1");
}

#[test]
fn a_pretty_line_reads_alone() {
    let line = logged("info", Format::Pretty, || {
        tracing::info!(gateway.id = "brave", "gateway is up");
    });
    assert!(line.contains("gateway is up") && line.contains("brave"), "{line}");
}

#[test]
fn crates_that_print_headers_stay_quiet_unless_they_are_named() {
    let work = || tracing::trace!(target: "h2::codec", "Authorization: s3cret");
    assert_eq!(logged("trace", Format::Json, work), "");
    assert_ne!(logged("h2=trace", Format::Json, work), "");
}

#[test]
fn a_level_that_is_no_filter_is_an_error() {
    assert!(matches!(filter("toolgate=loud"), Err(InitError::Level(_))));
}

#[test]
fn the_endpoint_is_a_base_for_v1_traces() {
    for (endpoint, sent_to) in [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("http://collector/otlp/", "http://collector/otlp/v1/traces"),
        ("http://collector/v1/traces", "http://collector/v1/traces"),
    ] {
        assert_eq!(traces_url(&Url::parse(endpoint).unwrap()), sent_to);
    }
}

/// Answers one HTTP request with 200 and returns what came.
fn collector(listener: &TcpListener) -> Vec<u8> {
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let n = stream.read(&mut chunk).unwrap();
        bytes.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length: usize = head
            .split("content-length: ")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .parse()
            .unwrap();
        if bytes.len() >= head.len() + 4 + length {
            break;
        }
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .unwrap();
    bytes
}

#[test]
fn spans_reach_the_collector_at_the_flush_within_the_clients_trace() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let collected = std::thread::spawn(move || collector(&listener));

    let provider = exporting(&endpoint).unwrap();
    let subscriber = tracing_subscriber::registry().with(spans(&provider));
    let parent = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!("call", otel.name = "tools/call fetch");
        adopt(&span, &parent);
        let sent = outgoing(&span, Some(&parent)).unwrap().to_string();
        assert!(sent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{sent}");
        assert!(!sent.contains("00f067aa0ba902b7"), "{sent}");
        assert!(sent.ends_with("-01"), "{sent}");
    });
    Flush(Some(provider)).finish();

    let request = collected.join().unwrap();
    let text = String::from_utf8_lossy(&request);
    assert!(text.starts_with("POST /v1/traces HTTP/1.1"), "{text}");
    assert!(
        text.contains("tools/call fetch") && text.contains("toolgate"),
        "{text}"
    );
}

#[test]
fn spans_for_the_collector_are_not_made_without_one_and_not_logged_with_one() {
    let of = |exported: bool, work: &dyn Fn()| {
        let page = Page::default();
        let to = page.clone();
        let provider = exported.then(|| SdkTracerProvider::builder().build());
        let lines = lines(Format::Json, false, move || to.clone());
        let subscriber = subscriber(lines, filter("warn").unwrap(), provider.as_ref());
        tracing::subscriber::with_default(subscriber, work);
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    };
    for exported in [false, true] {
        let line = of(exported, &|| {
            let _outer = tracing::error_span!("http", secret = "s3cret").entered();
            let span = tracing::info_span!(target: SPANS, "mcp", secret = "s3cret");
            assert_eq!(span.is_disabled(), !exported);
            request::within(&about("r-1"), || span.in_scope(|| tracing::warn!("told")));
        });
        assert!(line.contains("told") && line.contains("r-1"), "{line}");
        assert!(!line.contains("s3cret"), "{line}");
    }
}

#[test]
fn spans_are_exported_whatever_the_level_of_the_log_is() {
    let provider = SdkTracerProvider::builder().build();
    let lines = lines(Format::Json, false, std::io::sink);
    let subscriber = subscriber(lines, filter("error").unwrap(), Some(&provider));
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!("http");
        assert!(outgoing(&span, None).is_some());
        assert!(tracing::info_span!(target: "elsewhere", "other").is_disabled());
    });
}
