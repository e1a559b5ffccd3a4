//! Connections between requests, seen from the upstream's end of them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n";

/// One upstream and a client of it.
struct Pair {
    upstream: TcpListener,
    client: Client,
    target: Target,
}

impl Pair {
    async fn new() -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp?key=1", upstream.local_addr().unwrap());
        Self {
            upstream,
            client: Client::new(false, &Supervisor::new()).unwrap(),
            target: Target::of(&Url::parse(&url).unwrap()).unwrap(),
        }
    }

    async fn send(&self) -> Result<Body, SendError> {
        let front = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-length: 2\r\n\r\n",
            self.target.path,
            self.target.host.to_str().unwrap()
        );
        let request = Request {
            front: front.into(),
            rest: Bytes::from_static(b"{}"),
        };
        let (_, body) = self.client.send(&self.target.origin, request).await?;
        Ok(body)
    }

    async fn sent(&self) -> Result<String, SendError> {
        let mut body = self.send().await?;
        let mut text = String::new();
        while let Some(chunk) = body.chunk().await.expect("a whole body") {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        Ok(text)
    }

    async fn accept(&self) -> TcpStream {
        self.upstream.accept().await.unwrap().0
    }

    fn kept(&self) -> usize {
        self.client.0.idle.lock().unwrap().open.len()
    }
}

/// Reads one request; false when the client closed the connection instead.
async fn heard(stream: &mut TcpStream) -> bool {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n{}") {
        let mut piece = [0; 1_024];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return false,
            Ok(read) => text.extend_from_slice(&piece[..read]),
        }
    }
    true
}

async fn answered(stream: &mut TcpStream, answer: &[u8]) -> bool {
    let heard = heard(stream).await;
    stream.write_all(answer).await.unwrap();
    heard
}

#[tokio::test]
async fn a_connection_whose_answer_was_read_is_used_again() {
    let pair = Pair::new().await;
    let upstream = async {
        let mut stream = pair.accept().await;
        let mut count = 0;
        for answer in [
            ANSWER,
            CHUNKED,
            b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
        ] {
            count += usize::from(answered(&mut stream, answer).await);
        }
        (count, stream)
    };
    let calls = async {
        for expected in ["ok", "ok", ""] {
            assert_eq!(pair.sent().await.unwrap(), expected);
            assert_eq!(pair.kept(), 1, "after {expected:?}");
        }
    };
    let ((count, _stream), ()) = tokio::join!(upstream, calls);
    assert_eq!(count, 3);
}

#[tokio::test]
async fn a_connection_that_the_upstream_closed_meanwhile_costs_no_request() {
    let pair = Pair::new().await;
    let upstream = async {
        answered(&mut pair.accept().await, ANSWER).await;
        answered(&mut pair.accept().await, ANSWER).await
    };
    let calls = async {
        assert_eq!(pair.sent().await.unwrap(), "ok");
        // The other end is closed by the time that its side of the join has gone on.
        tokio::task::yield_now().await;
        pair.sent().await.unwrap()
    };
    assert_eq!(tokio::join!(upstream, calls), (true, "ok".to_owned()));
}

#[tokio::test]
async fn a_request_that_may_have_arrived_is_not_sent_again() {
    let pair = Pair::new().await;
    let upstream = async {
        let mut stream = pair.accept().await;
        answered(&mut stream, ANSWER).await;
        heard(&mut stream).await;
        drop(stream);
        tokio::time::timeout(Duration::from_millis(200), pair.accept())
            .await
            .is_err()
    };
    let calls = async {
        assert_eq!(pair.sent().await.unwrap(), "ok");
        pair.sent().await
    };
    let (nobody_else_came, second) = tokio::join!(upstream, calls);
    assert!(nobody_else_came);
    assert!(matches!(second, Err(SendError::Broken(_))), "{second:?}");
}

#[tokio::test]
async fn giving_up_before_the_answer_or_within_it_closes_the_connection() {
    let pair = Pair::new().await;
    let upstream = async {
        let mut first = pair.accept().await;
        assert!(heard(&mut first).await);
        assert!(!heard(&mut first).await, "closed without an answer");
        let mut second = pair.accept().await;
        answered(&mut second, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await;
        assert!(!heard(&mut second).await, "closed within the answer");
    };
    let calls = async {
        let waiting = tokio::time::timeout(Duration::from_millis(50), pair.send());
        assert!(waiting.await.is_err());
        let mut body = pair.send().await.unwrap();
        assert_eq!(body.chunk().await.unwrap().unwrap(), "ok");
        drop(body);
        assert_eq!(pair.kept(), 0);
    };
    tokio::join!(upstream, calls);
}

#[tokio::test]
async fn chunks_that_are_none_break_the_answer_and_its_connection() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for body in [
        "3\r\nabc\r\nGARBAGE\r\n3\r\ndef\r\n0\r\n\r\n",
        "GARBAGE\r\n3\r\ndef\r\n0\r\n\r\n",
        "3\r\nabcd\r\n3\r\ndef\r\n0\r\n\r\n",
    ] {
        let pair = Pair::new().await;
        let answer = format!("{HEAD}{body}");
        let upstream = async { answered(&mut pair.accept().await, answer.as_bytes()).await };
        let call = async {
            let mut answer = pair.send().await.unwrap();
            loop {
                match answer.chunk().await {
                    Ok(Some(_)) => {}
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            }
        };
        let (_, whole) = tokio::join!(upstream, call);
        assert!(!whole, "{body:?}");
        assert_eq!(pair.kept(), 0, "{body:?}");
    }
}

#[tokio::test]
async fn what_an_idle_connection_says_is_nobodys_answer() {
    let pair = Pair::new().await;
    let upstream = async {
        let mut first = pair.accept().await;
        answered(&mut first, ANSWER).await;
        first
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
            .await
            .unwrap();
        answered(&mut pair.accept().await, ANSWER).await
    };
    let calls = async {
        assert_eq!(pair.sent().await.unwrap(), "ok");
        // The other end has said it by the time that its side of the join has gone on.
        tokio::task::yield_now().await;
        pair.sent().await.unwrap()
    };
    assert_eq!(tokio::join!(upstream, calls), (true, "ok".to_owned()));
}

#[tokio::test]
async fn an_upstream_that_refuses_a_large_request_before_it_has_read_it_is_heard() {
    const REFUSAL: &[u8] = b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\n\r\ntoo large";
    let pair = Pair::new().await;
    let upstream = async {
        let mut stream = pair.accept().await;
        let mut some = [0; 1_024];
        stream.read_exact(&mut some).await.unwrap();
        stream.write_all(REFUSAL).await.unwrap();
        stream.shutdown().await.unwrap();
        // What still comes is read: else the kernel would take the refusal back with a reset.
        let mut nowhere = tokio::io::sink();
        let rest = tokio::io::copy(&mut stream, &mut nowhere);
        let _ = tokio::time::timeout(Duration::from_secs(5), rest).await;
    };
    let call = async {
        let request = Request {
            front: "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8388608\r\n\r\n".into(),
            rest: vec![b'x'; 8_388_608].into(),
        };
        let (head, mut body) = pair.client.send(&pair.target.origin, request).await.unwrap();
        assert_eq!(head.status, 413);
        let mut text = Vec::new();
        while let Some(chunk) = body.chunk().await.unwrap() {
            text.extend_from_slice(&chunk);
        }
        drop(body);
        assert_eq!(text, b"too large");
        assert_eq!(pair.kept(), 0);
    };
    tokio::join!(upstream, call);
}

#[tokio::test]
async fn idle_connections_are_closed_in_time() {
    let pair = Pair::new().await;
    let upstream = async {
        let mut stream = pair.accept().await;
        answered(&mut stream, ANSWER).await;
        let begun = clock::now();
        assert!(!heard(&mut stream).await);
        clock::now() - begun
    };
    let (held, sent) = tokio::join!(upstream, pair.sent());
    assert_eq!(sent.unwrap(), "ok");
    let limit = UPSTREAM_POOL_IDLE_MAX + UPSTREAM_POOL_SWEEP_INTERVAL * 2;
    assert!(held <= limit, "{held:?}");
    assert_eq!(pair.kept(), 0);
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_apart_from_what_broke() {
    let mut pair = Pair::new().await;
    let address = pair.upstream.local_addr().unwrap();
    let url = Url::parse(&format!("https://{address}/")).unwrap();
    let secure = Target::of(&url).unwrap();
    let plain = std::mem::replace(&mut pair.target, secure);
    let sent = pair.sent().await;
    assert!(matches!(sent, Err(SendError::Unreachable(_))), "{sent:?}");
    let Pair { upstream, client, .. } = pair;
    drop(upstream);
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pair = Pair {
        upstream: elsewhere,
        client,
        target: plain,
    };
    let sent = pair.sent().await;
    let Err(SendError::Unreachable(reason)) = sent else {
        panic!("{sent:?}")
    };
    assert!(reason.contains("refused"), "{reason}");
}

#[test]
fn a_target_names_what_http_writes() {
    for (url, host, path, peer) in [
        ("http://a.example/mcp?key=1#x", "a.example", "/mcp?key=1", "Plain"),
        ("http://[::1]:81", "[::1]:81", "/", "Plain"),
        ("https://a.example:444/", "a.example:444", "/", "DnsName"),
        ("https://127.0.0.1/a%20b", "127.0.0.1", "/a%20b", "IpAddress"),
    ] {
        let target = Target::of(&Url::parse(url).unwrap()).unwrap();
        assert_eq!(target.host, host);
        assert_eq!(target.path.to_string(), path);
        let shown = format!("{:?}", target.origin.peer);
        assert!(shown.contains(peer), "{shown}");
    }
    assert!(Target::of(&Url::parse("ftp://a.example/").unwrap()).is_none());
}

#[test]
fn urls_of_one_origin_share_its_connections() {
    let target = |url: &str| Url::parse(url).unwrap();
    let first = Target::of(&target("https://a.example/sse")).unwrap();
    let beside = first
        .beside(&target("https://a.example:443/message?id=7"))
        .unwrap();
    assert!(Arc::ptr_eq(&first.origin, &beside.origin));
    let other = first.beside(&target("https://b.example/message")).unwrap();
    assert!(first.origin != other.origin);
}
