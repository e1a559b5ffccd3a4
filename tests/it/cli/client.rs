//! `tools`, `call` and `health` against an endpoint of which the test holds the other end.

use std::io::{BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::Desk;

/// A request as it arrived.
#[derive(Clone, Debug)]
struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// An answer: status, content type, body.
type Answer = (u16, &'static str, String);

/// An HTTP server on a free port. Ends with the test's process.
struct Fake {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    fn start(answer: impl Fn(&Request) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read(&mut BufReader::new(&stream));
                let (status, kind, body) = answer(&request);
                log.lock().unwrap().push(request);
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Self { port, seen }
    }

    /// Answers every request with this result.
    fn result(result: &'static str) -> Self {
        Self::start(move |_| {
            (
                200,
                "application/json",
                format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#),
            )
        })
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn read(stream: &mut impl std::io::BufRead) -> Request {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    Request {
        line: lines[0].clone(),
        headers,
        body: String::from_utf8(body).unwrap(),
    }
}

#[test]
fn tools_lists_every_page_as_a_table_or_as_it_came() {
    let fake = Fake::start(|request| {
        let result = match request.json()["params"]["cursor"].as_str() {
            None => {
                r#"{"tools":[{"name":"fetch","description":"Reads\n a page","x":12345678901234567890123}],"nextCursor":"two"}"#
            }
            Some("two") => r#"{"tools":[{"name":"search","title":"Search"}]}"#,
            Some(other) => panic!("cursor {other}"),
        };
        (
            200,
            "application/json",
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#),
        )
    });
    let desk = Desk::empty();
    let done = desk.run(&["tools", "--url", &fake.url()]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(
        done.out,
        "TOOL    DESCRIPTION\nfetch   Reads a page\nsearch  Search\n"
    );
    let raw = desk.run(&["tools", "--json", "--url", &fake.url()]).out;
    assert!(raw.contains("12345678901234567890123"), "{raw}");
    assert_eq!(serde_json::from_str::<Value>(&raw).unwrap()[1]["name"], "search");
}

#[test]
fn a_request_is_one_of_the_modern_era_with_the_key() {
    let fake = Fake::result(r#"{"content":[]}"#);
    let env = [("TOOLGATE_KEY", "the-key")];
    let done = Desk::empty().run_with(&["call", "grüße", "n=5", "--url", &fake.url()], &env, "");
    assert_eq!(done.code, 0, "{}", done.err);
    let [request] = &fake.seen()[..] else {
        panic!("one request")
    };
    assert_eq!(request.line, "POST /mcp HTTP/1.1");
    assert_eq!(request.header("authorization"), Some("Bearer the-key"));
    assert_eq!(request.header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(request.header("mcp-method"), Some("tools/call"));
    assert_eq!(request.header("mcp-name"), Some("=?base64?Z3LDvMOfZQ==?="));
    let body = request.json();
    assert_eq!(body["params"]["name"], "grüße");
    assert_eq!(body["params"]["arguments"], json!({ "n": 5 }));
    assert_eq!(
        body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"],
        "2026-07-28"
    );
}

#[test]
fn call_prints_texts_plainly_and_says_what_else_there_is() {
    let fake = Fake::result(
        r#"{"content":[{"type":"text","text":"one\u001b[2J"},{"type":"image","mimeType":"image/png","data":"AA=="},{"type":"text","text":"two\n"}]}"#,
    );
    let done = Desk::empty().run(&["call", "x", "--url", &fake.url()]);
    assert_eq!((done.code, done.out.as_str()), (0, "one\u{fffd}[2J\ntwo\n"));
    assert!(done.err.contains("[image image/png]"), "{}", done.err);
}

#[test]
fn a_result_without_content_shows_what_is_structured() {
    let fake = Fake::result(r#"{"content":[],"structuredContent":{"n":1}}"#);
    assert_eq!(
        Desk::empty().run(&["call", "x", "--url", &fake.url()]).out,
        "{\"n\":1}\n"
    );
}

#[test]
fn call_json_prints_the_result_as_the_bytes_that_came() {
    let result = r#"{"z":1,"content":[ ],"a":12345678901234567890123,"isError":false}"#;
    let fake = Fake::result(result);
    assert_eq!(
        Desk::empty()
            .run(&["call", "x", "--json", "--url", &fake.url()])
            .out,
        format!("{result}\n")
    );
}

#[test]
fn arguments_may_come_from_stdin() {
    let fake = Fake::result(r#"{"content":[]}"#);
    let desk = Desk::empty();
    let stdin = r#"{"big":123456789012345678901234567890}"#;
    for args in [
        &["call", "x", "-", "--url"][..],
        &["call", "x", "--args", "-", "--url"],
    ] {
        let url = fake.url();
        let args: Vec<&str> = args.iter().copied().chain([url.as_str()]).collect();
        assert_eq!(desk.run_with(&args, &[], stdin).code, 0);
    }
    for request in fake.seen() {
        assert!(
            request
                .body
                .contains(r#""arguments":{"big":123456789012345678901234567890}"#),
            "{}",
            request.body
        );
    }
}

#[test]
fn an_answer_that_streams_is_read_past_its_notifications() {
    let fake = Fake::start(|_| {
        let stream = ": hello\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\nid: 1\ndata:\n\n\
                      data: {\"jsonrpc\":\"2.0\",\"id\":1,\ndata: \"result\":{\"content\":[{\"type\":\"text\",\"text\":\"done\"}]}}\n\n";
        (200, "text/event-stream", stream.to_owned())
    });
    let done = Desk::empty().run(&["call", "x", "--url", &fake.url()]);
    assert_eq!((done.code, done.out.as_str()), (0, "done\n"), "{}", done.err);
}

#[test]
fn a_tool_that_fails_ends_with_1_and_its_text() {
    let fake = Fake::result(r#"{"isError":true,"content":[{"type":"text","text":"no such page"}]}"#);
    let done = Desk::empty().run(&["call", "x", "--url", &fake.url()]);
    assert_eq!((done.code, done.out.as_str()), (1, "no such page\n"));
}

#[test]
fn a_tool_that_asks_for_input_ends_with_1() {
    let fake = Fake::result(r#"{"resultType":"input_required","inputRequests":{}}"#);
    let done = Desk::empty().run(&["call", "x", "--url", &fake.url()]);
    assert_eq!(done.code, 1);
    assert!(done.err.contains("asks for input"), "{}", done.err);
}

#[test]
fn errors_of_the_endpoint_end_with_1_and_say_what_to_do() {
    let answers: [(Answer, &str); 5] = [
        ((401, "application/json", "{}".to_owned()), "set TOOLGATE_KEY"),
        (
            (
                200,
                "application/json",
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"unknown tool"}}"#.to_owned(),
            ),
            "unknown tool (code -32602)",
        ),
        (
            (200, "text/html", "<html>".to_owned()),
            "does not answer as an MCP endpoint does",
        ),
        ((500, "text/plain", String::new()), "status 500"),
        (
            (200, "text/event-stream", "data: {}\n\n".to_owned()),
            "the stream ended without an answer",
        ),
    ];
    for (answer, part) in answers {
        let fake = Fake::start(move |_| answer.clone());
        let done = Desk::empty().run(&["call", "x", "--url", &fake.url()]);
        assert_eq!(done.code, 1);
        assert!(done.err.contains(part), "{part}: {}", done.err);
    }
}

#[test]
fn arguments_that_a_tool_wants_in_headers_are_sent_again_with_them() {
    let fake = Fake::start(|request| {
        let answer = match (
            request.json()["method"].as_str().unwrap(),
            request.header("mcp-param-region"),
        ) {
            ("tools/list", _) => {
                r#""result":{"tools":[{"name":"x","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]}"#
            }
            (_, None) => r#""error":{"code":-32020,"message":"header mismatch"}"#,
            (_, Some("eu")) => r#""result":{"content":[{"type":"text","text":"ok"}]}"#,
            (_, Some(other)) => panic!("region {other}"),
        };
        (
            200,
            "application/json",
            format!(r#"{{"jsonrpc":"2.0","id":1,{answer}}}"#),
        )
    });
    let done = Desk::empty().run(&["call", "x", "region=eu", "--url", &fake.url()]);
    assert_eq!((done.code, done.out.as_str()), (0, "ok\n"), "{}", done.err);
}

#[test]
fn the_endpoint_is_where_the_configuration_listens() {
    let fake = Fake::result(r#"{"tools":[]}"#);
    let desk = Desk::with(&format!("[server]\nlisten = '127.0.0.1:{}'\n", fake.port));
    assert_eq!(desk.run(&["tools"]).code, 0);
    assert_eq!(fake.seen().len(), 1);
}

#[test]
fn nobody_at_a_given_url_ends_with_1() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let done = Desk::empty().run(&["tools", "--url", &format!("http://127.0.0.1:{free}/mcp")]);
    assert_eq!(done.code, 1);
    assert!(done.err.contains("nothing answers at"), "{}", done.err);
}

#[test]
fn health_is_0_when_ready_and_1_when_not_or_when_nobody_is_there() {
    for (status, code) in [(200, 0), (503, 1)] {
        let fake = Fake::start(move |_| (status, "text/plain", String::new()));
        // A configuration with a problem elsewhere must not make a serving Toolgate look sick.
        let desk = Desk::with(&format!(
            "[server]\nlisten = '0.0.0.0:{}'\nlisen = 1\n",
            fake.port
        ));
        assert_eq!(desk.run(&["health"]).code, code);
        assert_eq!(fake.seen()[0].line, "GET /readyz HTTP/1.1");
    }
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let env = [("TOOLGATE_LISTEN", format!("127.0.0.1:{free}"))];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let done = Desk::empty().run_with(&["health"], &env, "");
    assert_eq!(done.code, 1);
    assert!(!done.err.is_empty());
}

#[test]
fn health_gives_up_on_a_server_that_does_not_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/readyz", listener.local_addr().unwrap());
    let before = toolgate::clock::now();
    let done = Desk::empty().run(&["health", "--url", &url]);
    assert_eq!(done.code, 1);
    assert!(before.elapsed().as_secs() < 10);
    drop(listener);
}
