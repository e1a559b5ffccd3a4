use super::*;
use crate::exchange::Event;
use crate::protocol::version::ProtocolVersion;
use crate::upstream::fixture::{call_of, client, message, tool_route};
use crate::upstream::outgoing::{self, Mapped};

fn response(result: &str) -> Response {
    match message(&format!(r#"{{"jsonrpc":"2.0","id":"c1","result":{result}}}"#)) {
        Message::Response(response) => response,
        other => panic!("{other:?}"),
    }
}

const ASKS: &str = r#"{"resultType":"input_required","requestState":"s1","inputRequests":{
    "who":{"method":"elicitation/create","params":{"mode":"form","message":"?"}},
    "where":{"method":"roots/list"}}}"#;

#[tokio::test]
async fn a_round_asks_everything_at_once_and_the_retry_carries_the_answers() {
    let (call, mut events) = call_of(client(r#"{"elicitation":{},"roots":{}}"#), 8);
    let mut incoming = Incoming::new(&call, &Mapped::default());
    let mut rounds = Rounds::new(&call, Duration::from_secs(9));
    let client = async {
        let mut questions = Vec::new();
        while questions.len() < 2 {
            match events.recv().await {
                Some(Event::Question(question)) => questions.push(question),
                other => panic!("{other:?}"),
            }
        }
        for question in questions {
            let reply = match question.request.method {
                Method::RootsList => r#"{"roots":[]}"#,
                _ => r#"{"action":"accept","content":{"n":1e3}}"#,
            };
            question.reply.send(Ok(Raw::literal(reply))).unwrap();
        }
    };
    let (next, ()) = tokio::join!(rounds.next(&mut incoming, response(ASKS)), client);
    let Next::Again(retry) = next.unwrap() else {
        panic!("not again")
    };
    let mapped = Mapped {
        id: RpcId::new(Raw::from("c1-2")),
        progress_token: None,
    };
    let again = outgoing::modern_retry(&tool_route("t", "u"), &call, &mapped, &retry);
    let Message::Request(again) = Message::parse(again).unwrap() else {
        panic!("no request")
    };
    let params = again.params.unwrap();
    assert_eq!(again.id.raw().as_str(), "\"c1-2\"");
    assert_eq!(params.string("requestState").unwrap(), "s1");
    assert_eq!(params.string("name").unwrap(), "u");
    assert_eq!(
        params.get("inputResponses").unwrap().as_str(),
        r#"{"who":{"action":"accept","content":{"n":1e3}},"where":{"roots":[]}}"#
    );
}

#[tokio::test]
async fn what_the_client_cannot_answer_is_cancelled_or_ends_the_call() {
    let (call, _events) = call_of(client("{}"), 8);
    let mut incoming = Incoming::new(&call, &Mapped::default());
    let mut rounds = Rounds::new(&call, Duration::from_secs(9));
    let elicits = r#"{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"?"}}}}"#;
    let Ok(Next::Again(retry)) = rounds.next(&mut incoming, response(elicits)).await else {
        panic!("not again")
    };
    assert_eq!(retry.responses.unwrap().as_str(), r#"{"a":{"action":"cancel"}}"#);
    let samples = r#"{"resultType":"input_required","inputRequests":{"a":{"method":"sampling/createMessage","params":{}}}}"#;
    let error = rounds.next(&mut incoming, response(samples)).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the client did not answer sampling/createMessage")
    );
}

#[tokio::test]
async fn a_url_elicitation_gets_the_id_that_legacy_clients_want() {
    let (call, mut events) = call_of(client(r#"{"elicitation":{"url":{}}}"#), 8);
    let mut incoming = Incoming::new(&call, &Mapped::default());
    let mut rounds = Rounds::new(&call, Duration::from_secs(9));
    let asks = r#"{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"url","url":"https://x/"}}}}"#;
    let client = async {
        let Some(Event::Question(question)) = events.recv().await else {
            panic!("no question")
        };
        let id = question.request.params.unwrap().string("elicitationId").unwrap();
        assert_eq!(id.len(), 32);
    };
    let (next, ()) = tokio::join!(rounds.next(&mut incoming, response(asks)), client);
    assert!(matches!(next, Ok(Next::Again(_))));
}

#[tokio::test]
async fn rounds_are_bounded_and_modern_clients_get_the_result_as_it_came() {
    let (mut call, _events) = call_of(client("{}"), 8);
    let state_only = r#"{"resultType":"input_required","requestState":"s"}"#;
    {
        let mut incoming = Incoming::new(&call, &Mapped::default());
        let mut rounds = Rounds::new(&call, Duration::from_secs(9));
        for _ in 0..QUESTION_ROUNDS_MAX {
            let next = rounds.next(&mut incoming, response(state_only)).await;
            assert!(matches!(next, Ok(Next::Again(_))));
        }
        let error = rounds
            .next(&mut incoming, response(state_only))
            .await
            .unwrap_err();
        assert_eq!(error, RoundError::TooManyRounds);
    }
    let mut modern = client("{}");
    modern.version = ProtocolVersion::MODERN_LATEST;
    call.client = std::sync::Arc::new(modern);
    let mut incoming = Incoming::new(&call, &Mapped::default());
    let mut rounds = Rounds::new(&call, Duration::from_secs(9));
    let next = rounds.next(&mut incoming, response(state_only)).await;
    assert!(matches!(next, Ok(Next::Answer(_))));
}
