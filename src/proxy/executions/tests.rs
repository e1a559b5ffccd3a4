//! What a call leaves in the record, whichever way it ends, and what happens when the record cannot be had.

use std::future::ready;

use super::*;
use crate::exchange::CallError;
use crate::ids::{GatewayId, RequestId};
use crate::limits::EXECUTIONS_QUEUED_MAX;
use crate::store::executions::{Execution, Found, Status, Wanted};
use crate::upstream::fake::{answer, error_answer, permit, tool_call};

struct Rig {
    recorder: Recorder,
    store: Store,
    metrics: Arc<Metrics>,
    supervisor: Supervisor,
}

async fn rig(config: config::Executions) -> Rig {
    let store = Store::in_memory().await.unwrap();
    let (metrics, supervisor) = (Arc::new(Metrics::new()), Supervisor::new());
    let recorder = Recorder::start(&config, &store, &metrics, &supervisor)
        .await
        .unwrap();
    Rig {
        recorder,
        store,
        metrics,
        supervisor,
    }
}

fn required() -> config::Executions {
    config::Executions {
        audit: Audit::Required,
        ..config::Executions::default()
    }
}

impl Rig {
    async fn begin(&self) -> Result<Recording, ProxyError> {
        let (mut call, _) = tool_call();
        call.request_id = Some(RequestId::new("r-1"));
        self.recorder.begin(&call, permit("g").route()).await
    }

    async fn records(&self) -> Vec<Execution> {
        self.recorder.settled().await;
        let found: Found = self
            .store
            .executions()
            .search(&Wanted::default(), None, 10)
            .await
            .unwrap();
        found.items
    }

    fn counts(&self, metric: &str) -> u64 {
        let page = self.metrics.encode();
        let line = page.lines().find_map(|line| line.strip_prefix(metric)).unwrap();
        line.trim_start_matches("_total").trim().parse().unwrap()
    }
}

#[tokio::test]
async fn every_end_of_a_call_is_recorded_once_with_its_status() {
    let gateway = GatewayId::new("g");
    let timeout = CallError::Timeout {
        gateway,
        timeout_ms: 7,
    };
    for (outcome, status, error) in [
        (Ok(answer(r#"{"content":[]}"#)), Status::Success, None),
        (
            Ok(answer(r#"{"content":[],"isError":true}"#)),
            Status::Failed,
            Some("the tool says that it failed"),
        ),
        (
            Ok(error_answer(-32_602)),
            Status::Failed,
            Some("the gateway answered with JSON-RPC error -32602"),
        ),
        (
            Ok(answer(r#"{"resultType":"input_required"}"#)),
            Status::Asked,
            None,
        ),
        (
            Err(timeout.into()),
            Status::Failed,
            Some("gateway g gave no answer within 7 ms"),
        ),
        (
            Err(CallError::Cancelled.into()),
            Status::Failed,
            Some("cancelled"),
        ),
    ] {
        let rig = rig(config::Executions::default()).await;
        rig.begin().await.unwrap().end(&outcome);
        let records = rig.records().await;
        assert_eq!(records.len(), 1, "{outcome:?}");
        let record = &records[0];
        assert_eq!((record.status, record.error.as_deref()), (status, error));
        assert_eq!(record.request_id, Some(RequestId::new("r-1")));
        assert_eq!((record.gateway.as_str(), &*record.tool), ("g", "echo"));
        assert!(record.duration_us.is_some() && record.texts.is_none());
        assert_eq!(record.response_bytes.is_some(), outcome.is_ok());
        assert_eq!(rig.counts("toolgate_executions_written"), 1);
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_was_cancelled() {
    let rig = rig(config::Executions::default()).await;
    drop(rig.begin().await.unwrap());
    let records = rig.records().await;
    assert_eq!((records.len(), records[0].status), (1, Status::Failed));
    assert_eq!(records[0].error.as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn a_call_that_runs_for_long_is_pending_until_it_ends() {
    let rig = rig(config::Executions::default()).await;
    let recording = rig.begin().await.unwrap();
    assert!(rig.records().await.is_empty());
    let pending = loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if let Some(record) = rig.records().await.pop() {
            break record;
        }
    };
    assert_eq!((pending.status, pending.duration_us), (Status::Pending, None));
    recording.end(&Ok(answer("{}")));
    let ended = rig.records().await;
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].id, ended[0].status), (pending.id, Status::Success));
    assert!(ended[0].duration_us.unwrap() >= 1_000_000);
}

#[tokio::test]
async fn arguments_and_results_are_kept_where_they_are_wanted_and_without_secrets() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":1,"api_key":"s3cret"}}}"#;
    let message = crate::protocol::message::Message::parse(bytes::Bytes::from_static(text.as_bytes()));
    let Ok(crate::protocol::message::Message::Request(request)) = message else {
        panic!("no request")
    };
    for (arguments, results) in [(true, false), (false, true), (false, false), (true, true)] {
        for audit in [Audit::BestEffort, Audit::Required] {
            let rig = rig(config::Executions {
                audit,
                arguments,
                results,
                ..config::Executions::default()
            })
            .await;
            let (mut call, _) = tool_call();
            call.request = request.clone();
            let recording = rig.recorder.begin(&call, permit("g").route()).await.unwrap();
            recording.end(&Ok(answer(r#"{"token":"s3cret","b":2}"#)));
            let id = rig.records().await[0].id;
            let record = rig.store.executions().get(id, None).await.unwrap().unwrap();
            let texts = record.texts.unwrap_or_default();
            let kept = |wanted: bool, text: &str| wanted.then(|| text.to_owned());
            assert_eq!(texts.arguments, kept(arguments, r#"{"a":1,"api_key":"***"}"#));
            assert_eq!(texts.result, kept(results, r#"{"b":2,"token":"***"}"#));
        }
    }
}

#[tokio::test]
async fn where_the_record_is_required_it_is_there_before_the_call_is_sent() {
    let rig = rig(required()).await;
    let recording = rig.begin().await.unwrap();
    let before = rig.records().await;
    assert_eq!((before.len(), before[0].status), (1, Status::Pending));
    recording.end(&Ok(answer("{}")));
    let after = rig.records().await;
    assert_eq!((after.len(), after[0].status), (1, Status::Success));
    assert_eq!(after[0].id, before[0].id);
}

#[tokio::test]
async fn a_store_that_fails_fails_calls_only_where_their_record_is_required() {
    let rig = rig(required()).await;
    rig.store.close().await;
    let refused = rig.begin().await.err();
    assert!(matches!(refused, Some(ProxyError::NotRecorded)), "{refused:?}");
    assert_eq!(rig.counts("toolgate_executions_refused"), 1);
    let shared = rig.recorder.0.as_ref().unwrap();
    assert!(
        shared.queue().when_written().is_none(),
        "nothing waits to be written"
    );
    let rig = self::rig(config::Executions::default()).await;
    rig.store.close().await;
    rig.begin().await.unwrap().end(&Ok(answer("{}")));
    rig.recorder.settled().await;
    assert_eq!(rig.counts("toolgate_executions_written"), 0);
    assert_eq!(rig.counts("toolgate_executions_dropped"), 0, "it is tried again");
}

#[tokio::test]
async fn more_than_may_wait_are_dropped_and_counted_or_refused() {
    for config in [config::Executions::default(), required()] {
        let rig = rig(config.clone()).await;
        // Nobody writes.
        rig.supervisor.stop().await;
        let shared = rig.recorder.0.clone().unwrap();
        let (call, _) = tool_call();
        let begun = || shared.begun(&call, permit("g").route());
        for _ in 0..EXECUTIONS_QUEUED_MAX {
            let slot = shared.queue().enter(begun(), None).unwrap();
            shared.queue().leave(slot, Outcome::cancelled(), clock::now());
        }
        let one_more = rig.begin().await;
        match config.audit {
            Audit::BestEffort => {
                one_more.unwrap().end(&Ok(answer("{}")));
                assert_eq!(rig.counts("toolgate_executions_dropped"), 1);
            }
            Audit::Required => {
                assert!(matches!(one_more.err(), Some(ProxyError::NotRecorded)));
                assert_eq!(rig.counts("toolgate_executions_refused"), 1);
            }
        }
        rig.recorder.finish().await;
        assert_eq!(
            rig.counts("toolgate_executions_written"),
            EXECUTIONS_QUEUED_MAX as u64
        );
    }
}

#[tokio::test]
async fn what_calls_leave_at_the_very_end_is_written() {
    let rig = rig(config::Executions::default()).await;
    let (one, other) = (rig.begin().await.unwrap(), rig.begin().await.unwrap());
    one.end(&Ok(answer("{}")));
    rig.supervisor.stop().await;
    drop(other);
    rig.recorder.finish().await;
    assert_eq!(rig.records().await.len(), 2);
}

#[tokio::test]
async fn turned_off_nothing_is_recorded() {
    let rig = rig(config::Executions {
        enabled: false,
        ..config::Executions::default()
    })
    .await;
    rig.begin().await.unwrap().end(&Ok(answer("{}")));
    assert!(rig.records().await.is_empty());
}

#[tokio::test]
async fn a_caller_that_goes_away_while_it_waits_leaves_a_record_of_that() {
    let rig = rig(required()).await;
    rig.supervisor.stop().await;
    tokio::select! {
        biased;
        _ = rig.begin() => panic!("nobody writes"),
        () = ready(()) => {}
    }
    rig.recorder.finish().await;
    let records = rig.records().await;
    assert_eq!((records.len(), records[0].status), (1, Status::Failed));
}
