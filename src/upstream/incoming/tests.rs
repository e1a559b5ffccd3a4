use super::*;
use crate::exchange::queue;
use crate::upstream::fixture::{call_of, client, message};

fn call(capabilities: &str, queue: usize) -> (Call, queue::Receiver<Event>) {
    call_of(client(capabilities), queue)
}

fn mapped() -> Mapped {
    Mapped {
        id: Some(RpcId::number(7)),
        progress_token: Some(Raw::from(70)),
    }
}

fn passed(events: &mut queue::Receiver<Event>) -> Option<String> {
    match events.try_recv().ok()? {
        Event::Notification(notification) => Some(String::from_utf8(notification.raw.to_vec()).unwrap()),
        Event::Question(question) => Some(question.request.method.as_str().to_owned()),
        Event::Answer(_) => None,
    }
}

#[tokio::test]
async fn only_the_answer_to_this_call_ends_it() {
    let (call, _events) = call("{}", 4);
    let mut incoming = Incoming::new(&call, &mapped());
    for stray in [
        r#"{"jsonrpc":"2.0","id":8,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":"c1","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
    ] {
        let taken = incoming.take(message(stray)).await.unwrap();
        assert!(matches!(taken, Taken::Stray), "{stray}");
    }
    let own = r#"{"jsonrpc":"2.0","id":7,"result":{}}"#;
    assert!(matches!(incoming.take(message(own)).await, Ok(Taken::Answer(_))));
}

#[tokio::test]
async fn progress_carries_the_clients_own_token_and_other_tokens_are_dropped() {
    let (call, mut events) = call("{}", 4);
    let mut incoming = Incoming::new(&call, &mapped());
    let told = |token| {
        message(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1e0}}}}"#
        ))
    };
    incoming.take(told("71")).await.unwrap();
    incoming.take(told("\"mine\"")).await.unwrap();
    assert_eq!(passed(&mut events), None);
    incoming.take(told("70")).await.unwrap();
    assert_eq!(
        passed(&mut events).unwrap(),
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"mine","progress":1e0}}"#
    );
}

#[tokio::test]
async fn log_messages_below_the_wanted_level_are_dropped() {
    let (call, mut events) = call("{}", 4);
    let mut incoming = Incoming::new(&call, &mapped());
    for (level, through) in [("info", false), ("warning", true), ("alert", true), ("odd", true)] {
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}","data":1}}}}"#
        );
        incoming.take(message(&text)).await.unwrap();
        assert_eq!(passed(&mut events).is_some(), through, "{level}");
    }
}

#[tokio::test]
async fn a_question_that_the_client_cannot_answer_is_refused_at_once() {
    let (call, mut events) = call(r#"{"elicitation":{}}"#, 4);
    let mut incoming = Incoming::new(&call, &mapped());
    let text = r#"{"jsonrpc":"2.0","id":5,"method":"sampling/createMessage","params":{}}"#;
    let Ok(Taken::Send(refusal)) = incoming.take(message(text)).await else {
        panic!("not refused")
    };
    assert!(refusal.starts_with(br#"{"jsonrpc":"2.0","id":5,"error":{"code":-32601,"#));
    assert_eq!(passed(&mut events), None);
}

#[tokio::test(start_paused = true)]
async fn an_elicitation_that_nobody_answers_is_cancelled() {
    let (call, mut events) = call(r#"{"elicitation":{}}"#, 4);
    let mut incoming = Incoming::new(&call, &mapped());
    let text = r#"{"jsonrpc":"2.0","id":5,"method":"elicitation/create","params":{"message":"?"}}"#;
    for gone in [true, false] {
        let Ok(Taken::Asked(asked)) = incoming.take(message(text)).await else {
            panic!("not asked")
        };
        let Some(Event::Question(question)) = events.recv().await else {
            panic!("no question")
        };
        let kept = (!gone).then_some(question);
        let answer = asked.answer(Duration::from_mins(10)).await;
        assert_eq!(answer, r#"{"jsonrpc":"2.0","id":5,"result":{"action":"cancel"}}"#);
        drop(kept);
    }
}

#[tokio::test]
async fn a_call_asks_a_bounded_number_of_questions() {
    let (call, mut events) = call(r#"{"roots":{}}"#, 1);
    let mut incoming = Incoming::new(&call, &mapped());
    let text = r#"{"jsonrpc":"2.0","id":5,"method":"roots/list"}"#;
    for _ in 0..QUESTIONS_PER_CALL_MAX {
        assert!(matches!(incoming.take(message(text)).await, Ok(Taken::Asked(_))));
        assert_eq!(passed(&mut events).unwrap(), "roots/list");
    }
    assert!(matches!(incoming.take(message(text)).await, Ok(Taken::Send(_))));
}

#[tokio::test]
async fn a_full_queue_holds_the_upstream_back_until_the_call_is_cancelled() {
    let (call, mut events) = call("{}", 1);
    let mut incoming = Incoming::new(&call, &mapped());
    let text = r#"{"jsonrpc":"2.0","method":"notifications/vendor/x"}"#;
    incoming.take(message(text)).await.unwrap();
    {
        let mut second = std::pin::pin!(incoming.take(message(text)));
        assert!(futures_util::poll!(&mut second).is_pending());
        call.cancel.cancel();
        assert_eq!(second.await.unwrap_err(), Cancelled);
    }
    assert_eq!(passed(&mut events).unwrap(), text);
}

#[tokio::test]
async fn a_client_that_no_longer_listens_does_not_stop_the_call() {
    let (call, events) = call(r#"{"roots":{}}"#, 1);
    drop(events);
    let mut incoming = Incoming::new(&call, &mapped());
    let text = r#"{"jsonrpc":"2.0","id":5,"method":"roots/list"}"#;
    let Ok(Taken::Asked(asked)) = incoming.take(message(text)).await else {
        panic!("not asked")
    };
    let answer = asked.answer(Duration::from_mins(10)).await;
    assert!(answer.starts_with(br#"{"jsonrpc":"2.0","id":5,"error""#));
}

#[tokio::test]
async fn pings_are_answered_and_what_is_outside_of_calls_is_told_apart() {
    let (call, _events) = call("{}", 1);
    let mut incoming = Incoming::new(&call, &mapped());
    let Ok(Taken::Send(pong)) = incoming
        .take(message(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#))
        .await
    else {
        panic!("not answered")
    };
    assert_eq!(pong, r#"{"jsonrpc":"2.0","id":"p","result":{}}"#);
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    assert!(matches!(
        incoming.take(message(changed)).await,
        Ok(Taken::ListsChanged(Method::ToolsListChanged))
    ));
    let updated = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b"}}"#;
    assert!(matches!(
        incoming.take(message(updated)).await,
        Ok(Taken::Outside(_))
    ));
}
