//! One call on its way: what comes back is handed on, the deadline runs, the client may cancel. All in the caller's
//! own task. While the client's queue is full the transport soon waits too, so that a slow reader slows its own call
//! down and nothing else.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::deadline::Deadline;
use super::questions::Questions;
use crate::catalog::route::Route;
use crate::clock;
use crate::exchange::{Answer, Call, CallError, Event};
use crate::limits::{EVENTS_IN_TRANSIT_MAX, SLOW_READER_TIMEOUT};
use crate::protocol::method::Method;
use crate::upstream::transport::Transport;

/// An answer, and whether somebody was asked for it (its time then says nothing about the upstream).
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) answer: Answer,
    pub(super) asked: bool,
}

/// Carries a call out. Dropping the future drops the transport's, which tells the upstream.
///
/// # Errors
/// Those of the transport, [`CallError::Timeout`], and [`CallError::Cancelled`] as soon as the client cancels.
pub(super) async fn carry(
    transport: &dyn Transport,
    route: &Route,
    limit: Duration,
    mut call: Call,
) -> Result<Carried, CallError> {
    let (events, mut arriving) = mpsc::channel(EVENTS_IN_TRANSIT_MAX);
    let client = std::mem::replace(&mut call.events, events);
    let cancel = call.cancel.clone();
    let mut deadline = Deadline::new(clock::now(), limit);
    let mut alarm = pin!(tokio::time::sleep_until(deadline.at()));
    let mut questions = Questions::default();
    let mut held: Option<Event> = None;
    let mut work = transport.call(route, call);
    let answer = loop {
        if alarm.deadline() != deadline.at() {
            alarm.as_mut().reset(deadline.at());
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(CallError::Cancelled),
            answer = &mut work => break answer,
            Some(event) = arriving.recv(), if held.is_none() => {
                held = Some(take(event, &mut deadline, &mut questions));
            }
            room = client.reserve(), if held.is_some() => match (room, held.take()) {
                (Ok(room), Some(event)) => room.send(event),
                // Nobody listens: a question dropped here is a question that nobody answers.
                (_, dropped) => drop(dropped),
            },
            () = questions.closed() => {}
            () = &mut alarm => {
                let passed = deadline.passed(clock::now());
                return Err(CallError::Timeout {
                    gateway: route.gateway.clone(),
                    timeout_ms: u64::try_from(passed.as_millis()).unwrap_or(u64::MAX),
                });
            }
        }
        if questions.all_closed() {
            deadline.resume(clock::now());
        }
    };
    drop(work);
    let rest = held
        .into_iter()
        .chain(std::iter::from_fn(|| arriving.try_recv().ok()));
    hand_over(rest, &client, &cancel).await?;
    answer.map(|answer| Carried {
        answer,
        asked: questions.any_asked(),
    })
}

/// Sees what an event means for the deadline.
fn take(event: Event, deadline: &mut Deadline, questions: &mut Questions) -> Event {
    match event {
        Event::Notification(notification) => {
            if notification.method == Method::Progress {
                deadline.progress(clock::now());
            }
            Event::Notification(notification)
        }
        Event::Question(question) => {
            deadline.pause(clock::now());
            Event::Question(questions.pass(question))
        }
    }
}

/// Hands over what came before the answer, so that it stays before it. Questions are void by now.
async fn hand_over(
    events: impl Iterator<Item = Event>,
    client: &mpsc::Sender<Event>,
    cancel: &CancellationToken,
) -> Result<(), CallError> {
    for event in events.filter(|event| matches!(event, Event::Notification(_))) {
        let sent = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(CallError::Cancelled),
            sent = client.send_timeout(event, SLOW_READER_TIMEOUT) => sent,
        };
        if sent.is_err() {
            break;
        }
    }
    Ok(())
}
