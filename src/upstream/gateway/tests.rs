use std::sync::atomic::AtomicUsize;

use tokio::sync::oneshot;
use tokio::time::{advance, timeout};

use super::*;
use crate::exchange::{Event, Question, queue};
use crate::limits::{
    BREAKER_BACKOFF_MIN, BREAKER_FAULTS, CALL_AGE_MAX, QUESTION_TIMEOUT, STREAM_QUEUE_EVENTS_MAX,
};
use crate::protocol::json::Raw;
use crate::protocol::message::{self, Message, Notification, Outcome, RpcId};
use crate::protocol::method::Method;
use crate::telemetry::BreakerState;
use crate::upstream::fake::{Fake, answer, broken, error_answer, gateway_config, permit, tool_call};

fn gateway(fake: Fake) -> Arc<Gateway> {
    of(&Arc::new(fake))
}

fn of(fake: &Arc<Fake>) -> Arc<Gateway> {
    let transport: Arc<dyn Transport> = Arc::clone(fake) as Arc<dyn Transport>;
    Arc::new(Gateway::new(
        &gateway_config("a"),
        transport,
        Arc::new(Metrics::new()),
    ))
}

/// Calls for a client that does not listen to events.
async fn call(gateway: &Gateway) -> Result<Answer, CallError> {
    let (call, events) = tool_call();
    drop(events);
    gateway.call(permit("a"), call).await
}

fn progress() -> Event {
    notification(Method::Progress)
}

fn notification(method: Method) -> Event {
    let text = message::notification(method, Some(&Raw::literal(r#"{"progressToken":1,"progress":1}"#)));
    let Ok(Message::Notification(notification)) = Message::parse(text) else {
        panic!("no notification")
    };
    Event::Notification(notification)
}

fn question() -> (Event, oneshot::Receiver<crate::exchange::Reply>) {
    let method = Raw::literal(r#""elicitation/create""#);
    let text = message::request(&RpcId::number(7), &method, None);
    let Ok(Message::Request(request)) = Message::parse(text) else {
        panic!("no request")
    };
    let (reply, answered) = oneshot::channel();
    (
        Event::Question(Question {
            request: request.into(),
            reply,
        }),
        answered,
    )
}

async fn next_question(events: &mut queue::Receiver<Event>) -> Question {
    match events.recv().await {
        Some(Event::Question(question)) => question,
        other => panic!("no question but {other:?}"),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_back_as_it_is() {
    let gateway = gateway(Fake::new().on_call(async |_| Ok(answer(r#"{"content":[],"x":1e400}"#))));
    let got = call(&gateway).await.expect("an answer");
    let text = String::from_utf8(got.response.raw.to_vec()).expect("text");
    assert!(text.contains("1e400"), "{text}");
    assert_eq!(gateway.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_ends_at_the_gateways_own_timeout() {
    let gateway = gateway(Fake::new().on_call(async |_| std::future::pending().await));
    let started = clock::now();
    let error = call(&gateway).await.expect_err("no answer");
    assert!(
        matches!(
            error,
            CallError::Timeout {
                timeout_ms: 60_000,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(clock::now() - started, seconds(60));
    assert_eq!(gateway.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn progress_keeps_a_call_alive_but_not_for_ever() {
    let gateway = gateway(Fake::new().on_call(async |call: Call| {
        loop {
            tokio::time::sleep(seconds(50)).await;
            let _ = call.events.send(progress()).await;
        }
    }));
    let started = clock::now();
    let error = call(&gateway).await.expect_err("no answer");
    assert!(
        matches!(
            error,
            CallError::Timeout {
                timeout_ms: 3_600_000,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(clock::now() - started, CALL_AGE_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_log_message_does_not_keep_a_call_alive() {
    let gateway = gateway(Fake::new().on_call(async |call: Call| {
        loop {
            tokio::time::sleep(seconds(50)).await;
            let _ = call.events.send(notification(Method::LogMessage)).await;
        }
    }));
    let started = clock::now();
    assert!(call(&gateway).await.is_err());
    assert_eq!(clock::now() - started, seconds(60));
}

#[tokio::test(start_paused = true)]
async fn a_question_to_a_person_does_not_use_up_the_deadline() {
    let gateway = gateway(Fake::new().on_call(async |call: Call| {
        tokio::time::sleep(seconds(50)).await;
        let (event, answered) = question();
        let _ = call.events.send(event).await;
        let reply = answered.await.expect("a reply").expect("a result");
        tokio::time::sleep(seconds(9)).await;
        Ok(answer(reply.as_str()))
    }));
    let (request, mut events) = tool_call();
    let person = async {
        let question = next_question(&mut events).await;
        tokio::time::sleep(QUESTION_TIMEOUT.mul_f64(0.99)).await;
        let _ = question.reply.send(Ok(Raw::literal(r#"{"action":"accept"}"#)));
    };
    let (got, ()) = tokio::join!(gateway.call(permit("a"), request), person);
    let Outcome::Result(result) = got.expect("an answer").response.outcome else {
        panic!("no result")
    };
    assert_eq!(result.string("action").as_deref(), Some("accept"));
    assert_eq!(
        gateway.health.latency(),
        None,
        "a person's time is not the upstream's"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_the_deadline_runs_on_after_a_question() {
    let gateway = gateway(Fake::new().on_call(async |call: Call| {
        tokio::time::sleep(seconds(50)).await;
        let (event, answered) = question();
        let _ = call.events.send(event).await;
        let _ = answered.await;
        std::future::pending().await
    }));
    let (request, mut events) = tool_call();
    let started = clock::now();
    let person = async {
        let question = next_question(&mut events).await;
        tokio::time::sleep(seconds(100)).await;
        let _ = question.reply.send(Ok(Raw::literal("{}")));
    };
    let (got, ()) = tokio::join!(gateway.call(permit("a"), request), person);
    assert!(
        matches!(
            got,
            Err(CallError::Timeout {
                timeout_ms: 60_000,
                ..
            })
        ),
        "{got:?}"
    );
    assert_eq!(clock::now() - started, seconds(160));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_answer_is_told_to_the_upstream() {
    let gateway = gateway(Fake::new().on_call(async |call: Call| {
        let (event, answered) = question();
        let _ = call.events.send(event).await;
        match answered.await {
            Ok(_) => Err(broken("a")),
            Err(_) => Ok(answer("{}")),
        }
    }));
    let (request, mut events) = tool_call();
    let person = async { drop(next_question(&mut events).await) };
    let (got, ()) = tokio::join!(gateway.call(permit("a"), request), person);
    assert!(got.is_ok(), "{got:?}");
    assert!(
        call(&gateway).await.is_ok(),
        "nor does one that is gone hold it up"
    );
}

#[tokio::test(start_paused = true)]
async fn a_question_that_the_upstream_gave_up_is_told_to_the_client() {
    let gateway = gateway(Fake::new().on_call(async |call: Call| {
        let (event, answered) = question();
        let _ = call.events.send(event).await;
        drop(answered);
        tokio::time::sleep(seconds(1)).await;
        Ok(answer("{}"))
    }));
    let (request, mut events) = tool_call();
    let person = async {
        let mut question = next_question(&mut events).await;
        timeout(Duration::from_millis(10), question.reply.closed())
            .await
            .is_ok()
    };
    let (got, told) = tokio::join!(gateway.call(permit("a"), request), person);
    assert!(got.is_ok() && told);
}

#[tokio::test(start_paused = true)]
async fn every_event_comes_before_the_answer_and_in_order() {
    let gateway = gateway(Fake::new().on_call(async |call: Call| {
        for number in 0..STREAM_QUEUE_EVENTS_MAX {
            let method = if number % 2 == 0 {
                Method::Progress
            } else {
                Method::LogMessage
            };
            let _ = call.events.send(notification(method)).await;
        }
        Ok(answer("{}"))
    }));
    let (request, mut events) = tool_call();
    let mut seen = Vec::new();
    let reader = async {
        while let Some(event) = events.recv().await {
            // Slower than the upstream: both queues fill up.
            tokio::time::sleep(Duration::from_millis(1)).await;
            seen.push(matches!(
                event,
                Event::Notification(Notification {
                    method: Method::Progress,
                    ..
                })
            ));
        }
    };
    let caller = async {
        let got = gateway.call(permit("a"), request).await;
        assert!(got.is_ok());
    };
    tokio::join!(caller, reader);
    assert_eq!(seen.len(), STREAM_QUEUE_EVENTS_MAX);
    assert!(
        seen.iter()
            .enumerate()
            .all(|(number, is_progress)| *is_progress == (number % 2 == 0))
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_of_the_client_holds_its_upstream_back() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let gateway = gateway(Fake::new().on_call(move |call: Call| {
        let counter = Arc::clone(&counter);
        async move {
            loop {
                let _ = call.events.send(notification(Method::LogMessage)).await;
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
    }));
    let (request, _unread) = tool_call();
    assert!(gateway.call(permit("a"), request).await.is_err());
    assert!(
        sent.load(Ordering::SeqCst) < 32,
        "{sent:?} events for a reader of none"
    );
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_a_call_at_once_and_drops_the_transports_future() {
    let (alive, mut dropped) = oneshot::channel::<()>();
    let alive = std::sync::Mutex::new(Some(alive));
    let gateway = gateway(Fake::new().on_call(move |_| {
        let alive = alive.lock().expect("unpoisoned").take();
        async move {
            let _alive = alive;
            std::future::pending().await
        }
    }));
    let (request, _events) = tool_call();
    let cancel = request.cancel.clone();
    let started = clock::now();
    let canceller = async {
        tokio::time::sleep(seconds(3)).await;
        cancel.cancel();
    };
    let (got, ()) = tokio::join!(gateway.call(permit("a"), request), canceller);
    assert!(matches!(got, Err(CallError::Cancelled)), "{got:?}");
    assert_eq!(clock::now() - started, seconds(3));
    assert!(matches!(
        dropped.try_recv(),
        Err(oneshot::error::TryRecvError::Closed)
    ));
    assert_eq!((gateway.in_flight(), gateway.breaker.faults()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn beyond_its_places_a_call_waits_a_second_and_is_then_refused() {
    let fake = Arc::new(Fake::new().on_call(async |_| {
        tokio::time::sleep(seconds(5)).await;
        Ok(answer("{}"))
    }));
    let gateway = of(&fake);
    let calls: Vec<_> = (0..9).map(|_| call(&gateway)).collect();
    let started = clock::now();
    let watch = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        gateway.in_flight()
    };
    let (done, busy) = tokio::join!(futures_util::future::join_all(calls), watch);
    let refused: Vec<_> = done
        .iter()
        .filter(|got| matches!(got, Err(CallError::Busy { .. })))
        .collect();
    assert_eq!(
        (busy, refused.len(), fake.calls.load(Ordering::SeqCst)),
        (8, 1, 8)
    );
    assert_eq!(clock::now() - started, seconds(5));
    assert_eq!(
        gateway.breaker.faults(),
        0,
        "a full house is no fault of the upstream"
    );
}

#[tokio::test(start_paused = true)]
async fn a_free_place_goes_to_who_waits() {
    let gateway = gateway(Fake::new().on_call(async |_| {
        tokio::time::sleep(Duration::from_millis(800)).await;
        Ok(answer("{}"))
    }));
    let done = futures_util::future::join_all((0..16).map(|_| call(&gateway))).await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn faults_open_the_breaker_and_calls_then_fail_at_once_with_the_cause() {
    let fake = Arc::new(Fake::new().on_call(async |_| Err(broken("a"))));
    let gateway = of(&fake);
    for _ in 0..BREAKER_FAULTS {
        assert!(matches!(call(&gateway).await, Err(CallError::Failed { .. })));
    }
    let error = call(&gateway).await.expect_err("refused");
    assert_eq!(
        error.to_string(),
        "gateway a is not available: it failed 5 times in a row, last with: connection refused"
    );
    assert_eq!(fake.calls.load(Ordering::SeqCst), BREAKER_FAULTS as usize);
    assert_eq!(gateway.health.condition().state, LinkState::Down);
}

#[tokio::test(start_paused = true)]
async fn errors_that_the_upstream_answers_are_no_faults() {
    for result in [
        || Ok(error_answer(-32603)),
        || Ok(answer(r#"{"isError":true,"content":[]}"#)),
        || Err(CallError::Cancelled),
        || {
            Err(CallError::Busy {
                gateway: GatewayId::new("a"),
            })
        },
    ] {
        let gateway = gateway(Fake::new().on_call(move |_| std::future::ready(result())));
        for _ in 0..BREAKER_FAULTS * 2 {
            let _ = call(&gateway).await;
        }
        assert_eq!(
            (gateway.breaker.state(), gateway.breaker.faults()),
            (BreakerState::Closed, 0)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_good_answer_after_the_back_off_brings_a_gateway_back() {
    let failing = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&failing);
    let gateway = gateway(Fake::new().on_call(move |_| {
        let failing = flag.load(Ordering::SeqCst);
        async move {
            if failing {
                Err(broken("a"))
            } else {
                Ok(answer("{}"))
            }
        }
    }));
    for _ in 0..BREAKER_FAULTS {
        let _ = call(&gateway).await;
    }
    failing.store(false, Ordering::SeqCst);
    assert!(call(&gateway).await.is_err(), "the back-off is not over");
    advance(BREAKER_BACKOFF_MIN * 2).await;
    assert!(call(&gateway).await.is_ok());
    assert_eq!(gateway.breaker.state(), BreakerState::Closed);
    assert_eq!(gateway.health.condition().state, LinkState::Up);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a permit is used at its own gateway")]
async fn a_permit_for_another_gateway_is_a_mistake_of_ours() {
    let (request, _events) = tool_call();
    let _ = gateway(Fake::new()).call(permit("b"), request).await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_ends_waits_for_its_calls_and_takes_no_more() {
    let fake = Arc::new(Fake::new().on_call(async |_| {
        tokio::time::sleep(seconds(7)).await;
        Ok(answer("{}"))
    }));
    let gateway = of(&fake);
    let started = clock::now();
    let hurry = CancellationToken::new();
    let end = async {
        gateway.end(seconds(30), &hurry).await;
        clock::now() - started
    };
    let (got, took) = tokio::join!(call(&gateway), end);
    assert!(got.is_ok());
    assert_eq!((took, fake.shut_downs.load(Ordering::SeqCst)), (seconds(7), 1));
    let late = call(&gateway).await;
    assert!(matches!(late, Err(CallError::Unavailable { .. })), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_gateway_is_bounded_however_long_its_calls_take() {
    let fake = Arc::new(Fake::new().on_call(async |_| std::future::pending().await));
    let gateway = of(&fake);
    let hurry = CancellationToken::new();
    let started = clock::now();
    tokio::select! {
        biased;
        _ = call(&gateway) => panic!("no answer ever comes"),
        () = gateway.end(seconds(30), &hurry) => {}
    }
    assert_eq!(
        (clock::now() - started, fake.shut_downs.load(Ordering::SeqCst)),
        (seconds(30), 1)
    );
}
