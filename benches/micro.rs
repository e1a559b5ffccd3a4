//! Micro benchmarks of the parts that every call passes: `cargo bench --bench micro [FILTER]`.
//! Only what is public is measured, on messages of the size and form that clients and gateways send.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot be set up fails")]
#![allow(missing_docs, reason = "benchmarks are named for what they measure")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use toolgate::catalog::listing::{Item, Kind, Listing};
use toolgate::catalog::{Catalog, Naming};
use toolgate::config::{self, Config};
use toolgate::identity::{Identity, Principal};
use toolgate::ids::GatewayId;
use toolgate::policy::{Policy, Rules};
use toolgate::protocol::json::Raw;
use toolgate::protocol::message::{Message, Request};
use toolgate::protocol::splice::Splice;
use toolgate::protocol::sse::{Framer, write_event};
use toolgate::seal::{Purpose, Sealer};

const KEY: &str = "tg_bench_0123456789abcdefghijklmnopqrstuvwxyzABCDEF";
/// A call with so many bytes of text, and the answers' usual and large sizes.
const TEXT_BYTES: [usize; 3] = [64, 16 * 1024, 1024 * 1024];
const GATEWAYS: usize = 10;
const TOOLS: [usize; 2] = [10, 10_000];
/// No time comes near it.
const NEVER_S: u64 = u64::MAX;

fn main() {
    divan::main();
}

/// A text with an escape now and then, as texts have.
fn text(bytes: usize) -> String {
    let line = r"a line of sixty-four bytes, as it stands in a file with breaks\n";
    let mut text = line.repeat(bytes.div_ceil(line.len()));
    text.truncate(bytes);
    // The cut may leave half an escape.
    text.trim_end_matches('\\').to_owned()
}

fn call(bytes: usize) -> Bytes {
    let text = text(bytes);
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":1000000001,"method":"tools/call","params":{{"name":"g3_tool_0001","arguments":{{"text":"{text}"}},"_meta":{{"progressToken":1000000001}}}}}}"#
    ))
}

fn answer(bytes: usize) -> Bytes {
    let text = text(bytes);
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":7,"result":{{"content":[{{"type":"text","text":"{text}"}}],"isError":false}}}}"#
    ))
}

fn request(bytes: usize) -> Request {
    match Message::parse(call(bytes)).unwrap() {
        Message::Request(request) => request,
        other => unreachable!("{other:?}"),
    }
}

#[divan::bench(args = TEXT_BYTES)]
fn envelope_of_a_call(bencher: Bencher, bytes: usize) {
    let call = call(bytes);
    bencher
        .counter(BytesCount::new(call.len()))
        .bench(|| Message::parse(black_box(call.clone())).unwrap());
}

#[divan::bench(args = TEXT_BYTES)]
fn envelope_of_an_answer(bencher: Bencher, bytes: usize) {
    let answer = answer(bytes);
    bencher
        .counter(BytesCount::new(answer.len()))
        .bench(|| Message::parse(black_box(answer.clone())).unwrap());
}

#[divan::bench(args = TEXT_BYTES)]
fn splice_of_id_and_name(bencher: Bencher, bytes: usize) {
    let request = request(bytes);
    let (id, name) = (Raw::literal("42"), Raw::literal(r#""tool_0001""#));
    bencher.counter(BytesCount::new(request.raw.len())).bench(|| {
        let mut splice = Splice::new(black_box(&request.raw));
        splice.replace(request.id.raw(), &id);
        splice.set(request.params.as_ref().unwrap(), "name", &name);
        splice.done()
    });
}

fn events() -> Bytes {
    let mut out = BytesMut::new();
    for event in 1..=100 {
        let mut data = String::new();
        let _ = write!(
            data,
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":1000000001,"progress":{event},"total":100}}}}"#
        );
        write_event(&mut out, None, data.as_bytes());
    }
    out.freeze()
}

#[divan::bench(args = [1_usize, 100, 1_000])]
fn framing_of_100_events_in_pieces(bencher: Bencher, pieces: usize) {
    let events = events();
    let piece = events.len().div_ceil(pieces);
    let pieces: Vec<Bytes> = (0..events.len())
        .step_by(piece)
        .map(|at| events.slice(at..events.len().min(at + piece)))
        .collect();
    bencher.counter(BytesCount::new(events.len())).bench(|| {
        let (mut framer, mut found) = (Framer::new(), 0);
        for piece in &pieces {
            framer.push(piece.clone());
            while framer.next_event().unwrap().is_some() {
                found += 1;
            }
        }
        assert_eq!(found, 100);
    });
}

#[divan::bench]
fn writing_of_100_events(bencher: Bencher) {
    let data = Bytes::from_static(
        br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1000000001,"progress":1,"total":100}}"#,
    );
    bencher.bench(|| {
        let mut out = BytesMut::new();
        for _ in 0..100 {
            write_event(&mut out, None, black_box(&data));
        }
        out
    });
}

/// Keys, fifty permitted patterns and ten gateways.
fn config() -> Config {
    let mut text =
        format!("[auth]\nkeys = [{{ user = \"bench\", key = \"{KEY}\" }}]\n[tools]\npermitted = [\"g*\"");
    for index in 1..50 {
        let _ = write!(text, ", \"other_{index:02}_*\"");
    }
    text.push_str("]\n");
    for index in 0..GATEWAYS {
        let _ = writeln!(text, "[gateways.g{index}]\nurl = \"http://127.0.0.1:9/mcp\"");
    }
    let file = config::File {
        name: "bench.toml".to_owned(),
        text,
    };
    let sources = config::Sources::new(Some(file), BTreeMap::new(), config::Flags::default());
    config::load(&sources).unwrap().config
}

fn policy(config: &Config, tools: usize) -> Policy {
    let catalog = Arc::new(Catalog::new(Naming::of(config)));
    for gateway in 0..GATEWAYS {
        let tools = (0..tools / GATEWAYS).map(|tool| {
            let text = format!(r#"{{"name":"g{gateway}_tool_{tool:04}","inputSchema":{{"type":"object"}}}}"#);
            Item::read(Kind::Tool, Raw::parse(&text.into()).unwrap()).unwrap()
        });
        let listing = Listing {
            tools: tools.collect(),
            ..Listing::default()
        };
        catalog.publish(&GatewayId::new(&format!("g{gateway}")), listing);
    }
    Policy::new(catalog, Rules::of(config).unwrap())
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Bearer {KEY}").parse().unwrap());
    headers
}

fn principal(config: &Config) -> Arc<Principal> {
    let identity = Identity::new(config.auth.as_ref()).unwrap();
    identity.authenticate(&headers()).unwrap()
}

#[divan::bench]
fn authentication(bencher: Bencher) {
    let identity = Identity::new(config().auth.as_ref()).unwrap();
    let headers = headers();
    bencher.bench(|| identity.authenticate(black_box(&headers)).unwrap());
}

#[divan::bench(args = TOOLS)]
fn routing_among_tools(bencher: Bencher, tools: usize) {
    let config = config();
    let (policy, principal) = (policy(&config, tools), principal(&config));
    bencher.bench(|| {
        let view = policy.view(&principal);
        view.snapshot()
            .resolve(Kind::Tool, black_box("g3_tool_0000"))
            .cloned()
            .unwrap()
    });
}

#[divan::bench(args = TOOLS)]
fn admission_among_tools(bencher: Bencher, tools: usize) {
    let config = config();
    let (policy, principal) = (policy(&config, tools), principal(&config));
    let view = policy.view(&principal);
    let route = view
        .snapshot()
        .resolve(Kind::Tool, "g3_tool_0000")
        .cloned()
        .unwrap();
    bencher.bench(|| view.admit(&principal, black_box(&route)).unwrap());
}

#[divan::bench(args = [16_usize, 1_024])]
fn sealing(bencher: Bencher, bytes: usize) {
    let (sealer, payload) = (Sealer::random(), vec![7; bytes]);
    bencher.bench(|| {
        let text = sealer.seal(Purpose::RequestState, b"user:bench", black_box(&payload), NEVER_S);
        text.unwrap()
    });
}

#[divan::bench(args = [16_usize, 1_024])]
fn opening(bencher: Bencher, bytes: usize) {
    let sealer = Sealer::random();
    let text = sealer.seal(Purpose::RequestState, b"user:bench", &vec![7; bytes], NEVER_S);
    let text = text.unwrap();
    bencher.bench(|| {
        sealer
            .open(Purpose::RequestState, b"user:bench", black_box(&text), 0)
            .unwrap()
    });
}
