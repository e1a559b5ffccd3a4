//! What the rest of the house sees of requests: places, metrics, spans, log lines.

use super::*;
use crate::web::MostlyWaits;

#[tokio::test]
async fn streams_that_wait_for_news_say_so_and_streams_of_calls_do_not() {
    let rig = rig(asking).await;
    let session = rig.initialize("alice").await;
    let accept = [("mcp-session-id", &*session), ("accept", "text/event-stream")];
    let get = rig.send("GET", "alice", &accept, "").await;
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let listen = rig
        .modern("alice", stateless("L", "subscriptions/listen", filter))
        .await;
    let call = request(5, "tools/call", json!({"name": "echo"}));
    let call = rig.legacy("alice", Some(&session), call).await;
    for (stream, waits) in [(get, true), (listen, true), (call, false)] {
        assert_eq!(stream.kind(), "text/event-stream");
        assert_eq!(stream.extensions.get::<MostlyWaits>().is_some(), waits);
    }
}

/// The samples of a metric's count with these labels in it.
fn counted(rig: &Rig, labels: &[&str]) -> Vec<String> {
    let page = rig.service.0.parts.metrics.encode();
    let of = |line: &&str| {
        line.starts_with("mcp_server_operation_duration_seconds_count")
            && labels.iter().all(|label| line.contains(label))
    };
    page.lines().filter(of).map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn every_request_is_counted_once_with_its_outcome() {
    let rig = rig(|call| async move {
        match call.request.params.as_ref().unwrap().string("name").as_deref() {
            Some("echo") => Ok(echo(&call)),
            Some("hello") => Ok(crate::upstream::fake::error_answer(-32_602)),
            Some("far") => Ok(answer(r#"{"content":[],"isError":true}"#)),
            _ => Err(CallError::Timeout {
                gateway: crate::ids::GatewayId::new("g"),
                timeout_ms: 5,
            }),
        }
    })
    .await;
    let session = rig.initialize("alice").await;
    let call = |method: &str, name: &str| request(1, method, json!({"name": name}));
    for message in [
        call("tools/call", "echo"),
        call("tools/call", "far"),
        call("tools/call", "other"),
        call("tools/call", "made up by a client"),
        call("prompts/get", "hello"),
        call("tools/list", ""),
        call("made/up", ""),
    ] {
        rig.legacy("alice", Some(&session), message).await.text().await;
    }
    rig.legacy("bob", Some(&session), call("ping", "")).await;
    let modern = stateless(1, "tools/call", json!({"name": "echo"}));
    rig.modern("alice", modern).await.text().await;
    rig.modern("alice", stateless(1, "server/discover", json!({})))
        .await;
    rig.modern("alice", stateless(1, "tools/call", json!({"name": "nobody"})))
        .await
        .text()
        .await;
    rig.legacy(
        "alice",
        None,
        json!([call("tools/call", "echo"), call("ping", "")]),
    )
    .await;
    let (old, mid, new) = ("2025-03-26", "2025-11-25", "2026-07-28");
    let rows = [
        ("initialize", "", "", mid),
        ("tools/call", "echo", "", mid),
        ("tools/call", "far", "tool_error", mid),
        ("tools/call", "other", "timeout", mid),
        ("tools/call", "", "-32602", mid),
        ("prompts/get", "", "-32602", mid),
        ("tools/list", "", "", mid),
        ("_OTHER", "", "-32601", mid),
        ("ping", "", "-32001", mid),
        ("tools/call", "echo", "", new),
        ("server/discover", "", "", new),
        ("tools/call", "", "-32602", new),
        ("tools/call", "echo", "", old),
        ("ping", "", "", old),
    ];
    for (method, tool, error, version) in rows {
        let labels = [
            format!("mcp_method_name=\"{method}\""),
            format!("gen_ai_tool_name=\"{tool}\""),
            format!("error_type=\"{error}\""),
            format!("mcp_protocol_version=\"{version}\""),
        ];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let found = counted(&rig, &labels);
        assert!(
            found.len() == 1 && found[0].ends_with(" 1"),
            "{labels:?}: {found:?}"
        );
    }
    let all = counted(&rig, &[]);
    assert_eq!(all.len(), rows.len(), "{all:?}");
}

#[tokio::test]
async fn a_question_ends_one_request_and_the_answer_the_next() {
    let rig = rig(asking).await;
    let ask = stateless(1, "tools/call", json!({"name": "echo"}));
    let first = rig.modern("alice", ask).await.json().await;
    let asked = counted(&rig, &["tools/call"]);
    assert!(asked.len() == 1 && asked[0].ends_with(" 1"), "{asked:?}");
    let again = json!({
        "name": "echo",
        "requestState": first["result"]["requestState"],
        "inputResponses": {"q1": {"action": "decline"}},
    });
    rig.modern("alice", stateless(2, "tools/call", again))
        .await
        .text()
        .await;
    let answered = counted(&rig, &["tools/call"]);
    assert!(answered.len() == 1 && answered[0].ends_with(" 2"), "{answered:?}");
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted_as_cancelled() {
    let rig = rig(|_| std::future::pending()).await;
    let call = rig.modern("alice", stateless(1, "tools/call", json!({"name": "echo"})));
    assert!(
        tokio::time::timeout(Duration::from_millis(20), call)
            .await
            .is_err()
    );
    let found = counted(&rig, &["tools/call", "error_type=\"cancelled\""]);
    assert!(found.len() == 1 && found[0].ends_with(" 1"), "{found:?}");
}

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_request_that_fails_leaves_one_line_and_one_that_succeeds_none() {
    let page = Page::default();
    let to = page.clone();
    let lines = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || to.clone())
        .finish();
    let rig = rig(|call| async move {
        let name = call.request.params.as_ref().unwrap().string("name");
        if name.as_deref() == Some("echo") {
            return Ok(echo(&call));
        }
        Err(CallError::Failed {
            gateway: crate::ids::GatewayId::new("g"),
            reason: "reset\nby peer".to_owned(),
            sent: true,
        })
    })
    .await;
    let long = "x".repeat(2_000);
    let said = {
        let _logging = tracing::subscriber::set_default(lines);
        for name in ["echo", "other", "made\nup", &long] {
            let call = request(
                1,
                "tools/call",
                json!({"name": name, "arguments": {"a": "s3cret"}}),
            );
            rig.legacy("alice", None, call).await.text().await;
        }
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    };
    assert!(!said.contains("s3cret"), "{said}");
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let lines: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"] == "request failed")
        .collect();
    assert_eq!(lines.len(), 3, "{said}");
    let of = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (of(lines[0], "level"), of(lines[1], "level")),
        ("WARN".to_owned(), "INFO".to_owned())
    );
    assert_eq!(of(lines[0], "request.id"), "rq");
    assert_eq!(of(lines[0], "gateway.id"), "g");
    assert_eq!(of(lines[0], "gen_ai.tool.name"), "other");
    assert_eq!(of(lines[0], "error.type"), "failed");
    assert_eq!(of(lines[0], "reason"), r#""gateway g failed: reset\nby peer""#);
    assert!(lines[0]["elapsed_ms"].is_u64());
    assert_eq!(of(lines[1], "reason"), r#""Unknown tool: made\nup""#);
    assert!(
        lines[1].get("gen_ai.tool.name").is_none(),
        "not what a client made up"
    );
    assert!(of(lines[2], "reason").len() < 300);
}

/// Keeps what is exported.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<opentelemetry_sdk::trace::SpanData>>>);

impl opentelemetry_sdk::trace::SpanExporter for Kept {
    async fn export(
        &self,
        batch: Vec<opentelemetry_sdk::trace::SpanData>,
    ) -> opentelemetry_sdk::error::OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Kept {
    fn attribute(&self, span: &str, key: &str) -> Option<String> {
        let spans = self.0.lock().unwrap();
        let span = spans.iter().find(|found| found.name == span)?;
        let found = span.attributes.iter().find(|found| found.key.as_str() == key);
        found.map(|found| found.value.to_string())
    }
}

#[tokio::test]
async fn a_request_is_a_span_in_the_clients_trace_and_its_upstream_is_told() {
    use opentelemetry::trace::{SpanKind, Status, TracerProvider};
    use tracing_subscriber::layer::SubscriberExt;

    let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let told: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let told_there = told.clone();
    let rig = rig(move |call| {
        told_there.lock().unwrap().push(call.traceparent.clone());
        async move { Ok(echo(&call)) }
    })
    .await;
    let mut traced = stateless("r-1", "tools/call", json!({"name": "echo"}));
    traced["params"]["_meta"]["traceparent"] = sent.into();
    rig.modern("alice", traced.clone()).await.text().await;
    assert_eq!(
        *told.lock().unwrap(),
        [None],
        "what the client sent travels on as it is"
    );

    let kept = Kept::default();
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_simple_exporter(kept.clone())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    {
        let _traced = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        let around = tracing::info_span!("http");
        let call = rig.modern("alice", traced);
        tracing::Instrument::instrument(call, around).await.text().await;
        let session = rig.initialize("alice").await;
        let unknown = request(7, "tools/call", json!({"name": "nobody"}));
        rig.legacy("alice", Some(&session), unknown).await.text().await;
        let read = request(8, "resources/read", json!({"uri": "test://a?key=s3cret"}));
        rig.legacy("alice", Some(&session), read).await.text().await;
    }
    provider.force_flush().unwrap();

    let told = told.lock().unwrap().clone();
    let spans = kept.0.lock().unwrap().clone();
    let span = spans.iter().find(|span| span.name == "tools/call echo").unwrap();
    assert_eq!(
        (span.span_kind.clone(), &span.status),
        (SpanKind::Server, &Status::Unset)
    );
    assert_eq!(span.span_context.trace_id().to_string(), &sent[3..35]);
    assert_eq!(span.parent_span_id.to_string(), &sent[36..52]);
    let around = spans.iter().find(|span| span.name == "http").unwrap();
    assert_eq!(
        span.links.links[0].span_context.span_id(),
        around.span_context.span_id()
    );
    let own = format!(
        "00-{}-{}-01",
        span.span_context.trace_id(),
        span.span_context.span_id()
    );
    assert_eq!(told[1].as_deref(), Some(&*own));
    for (key, value) in [
        ("mcp.method.name", "tools/call"),
        ("mcp.protocol.version", "2026-07-28"),
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.tool.name", "echo"),
        ("gateway.id", "g"),
        ("jsonrpc.request.id", "r-1"),
        ("network.transport", "tcp"),
    ] {
        assert_eq!(
            kept.attribute("tools/call echo", key).as_deref(),
            Some(value),
            "{key}"
        );
    }
    let refused = spans.iter().find(|span| span.name == "tools/call").unwrap();
    assert!(matches!(refused.status, Status::Error { .. }), "{refused:?}");
    assert_eq!(
        kept.attribute("tools/call", "error.type").as_deref(),
        Some("-32602")
    );
    assert_eq!(
        kept.attribute("tools/call", "rpc.response.status_code")
            .as_deref(),
        Some("-32602")
    );
    assert_eq!(
        kept.attribute("resources/read", "mcp.resource.uri").as_deref(),
        Some("test://a?***")
    );
    assert_eq!(
        kept.attribute("resources/read", "mcp.session.id").unwrap().len(),
        16
    );
    assert!(!format!("{spans:?}").contains("s3cret"));
}
