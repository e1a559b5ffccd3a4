//! Calls of modern clients that wait for answers to questions of a legacy upstream. The upstream's stream stays open;
//! the client holds a sealed `requestState` that names the call, and retries with the answers (2026-07-28, "Multi
//! Round-Trip Requests"). A client that never returns frees everything: the call is cancelled upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;

use super::exchange::Running;
use super::input_required::modern_params;
use crate::clock::{self, Instant};
use crate::exchange::{Event, Question};
use crate::ids::UserId;
use crate::limits::{PARKED_CALL_TEXT_BYTES_MAX, PARKED_CALLS_MAX, PARKED_TEXT_BYTES_MAX};
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{Notification, Request};
use crate::telemetry::{Counted, Metrics};

/// Names a parked call; unguessable, and sealed besides.
pub(super) type ParkedId = [u8; 16];

/// One call that waits for its client.
#[derive(Debug)]
pub(super) struct Waiting {
    running: Running,
    user: UserId,
    /// Keys as the client knows them.
    open: Vec<(String, Question)>,
    /// What the upstream said meanwhile; told when the client is back.
    unsaid: Vec<Notification>,
    asked_so_far: usize,
    since: Instant,
    _texts: Texts,
    _counted: Counted,
}

/// All calls that wait.
#[derive(Debug)]
pub(super) struct Parked {
    calls: DashMap<ParkedId, Waiting>,
    text_bytes: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

/// The bytes of one call's texts, among those of all, until this is dropped.
#[derive(Debug)]
struct Texts {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Drop for Texts {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a client's answers led to.
pub(super) enum Resumed {
    /// The call goes on.
    Running(Running, Vec<Notification>, usize),
    /// Some questions are open still: ask again.
    Asking(ParkedId),
}

impl Parked {
    pub(super) fn new(metrics: &Arc<Metrics>) -> Self {
        Self {
            calls: DashMap::new(),
            text_bytes: Arc::default(),
            metrics: Arc::clone(metrics),
        }
    }

    /// Forgets a call that its client could not be told of, and cancels it.
    pub(super) fn abandon(&self, id: &ParkedId) {
        if let Some((_, waiting)) = self.calls.remove(id) {
            waiting.running.cancel.cancel();
        }
    }

    /// Parks a user's call on a question, together with those that are ready behind it; `asked` were asked before.
    /// `None`: there are too many, or their texts are too large; the call is cancelled.
    pub(super) fn park(
        &self,
        user: &UserId,
        request: &Request,
        question: Question,
        mut running: Running,
        asked: usize,
    ) -> Option<ParkedId> {
        // Nobody polls it while it is parked.
        running.let_go();
        let mut unsaid = Vec::new();
        let mut questions = vec![question];
        while let Some(event) = running.ready_event() {
            match event {
                Event::Question(question) => questions.push(question),
                Event::Notification(notification) => unsaid.push(notification),
                // Only what an upstream of the client's own era says passes, and that is never parked.
                Event::Answer(_) => {}
            }
        }
        let asking = questions.iter().map(|question| question.request.raw.len());
        let saying = unsaid.iter().map(|notification| notification.raw.len());
        let bytes = request.raw.len() + asking.chain(saying).sum::<usize>();
        let Some(texts) = self.make_room(bytes) else {
            running.cancel.cancel();
            return None;
        };
        let open: Vec<(String, Question)> = questions
            .into_iter()
            .enumerate()
            .map(|(n, question)| (format!("q{}", asked + n + 1), question))
            .collect();
        let asked_so_far = asked + open.len();
        let id = clock::random();
        let waiting = Waiting {
            running,
            user: user.clone(),
            open,
            unsaid,
            asked_so_far,
            since: clock::now(),
            _texts: texts,
            _counted: self.metrics.call_parked(),
        };
        self.calls.insert(id, waiting);
        Some(id)
    }

    fn make_room(&self, bytes: usize) -> Option<Texts> {
        if self.calls.len() >= PARKED_CALLS_MAX {
            self.metrics.limit_hit("parked_calls");
            return None;
        }
        let before = self.text_bytes.fetch_add(bytes, Ordering::Relaxed);
        let texts = Texts {
            bytes,
            all: Arc::clone(&self.text_bytes),
        };
        if bytes > PARKED_CALL_TEXT_BYTES_MAX || before + bytes > PARKED_TEXT_BYTES_MAX {
            self.metrics.limit_hit("parked_text_bytes");
            return None;
        }
        Some(texts)
    }

    /// Writes the `inputRequests` of a parked call.
    pub(super) fn input_requests(&self, id: &ParkedId) -> Option<Raw> {
        let waiting = self.calls.get(id)?;
        let requests: Vec<String> = waiting
            .open
            .iter()
            .map(|(key, question)| {
                let params = question.request.params.as_ref().and_then(modern_params);
                let params = params.map_or_else(|| "{}".to_owned(), |raw| raw.as_str().to_owned());
                let method = question.request.method_name.as_str();
                format!(
                    r#"{}:{{"method":{method},"params":{params}}}"#,
                    Raw::from(key.as_str()).as_str()
                )
            })
            .collect();
        Raw::parse(&format!("{{{}}}", requests.join(",")).into()).ok()
    }

    /// Delivers a client's answers; what it did not answer stays open, unless the upstream gave up. `None` when no such call waits for this user:
    /// unknown, foreign, expired and already resumed look alike.
    pub(super) fn resume(&self, id: &ParkedId, user: &UserId, answers: Option<&Object>) -> Option<Resumed> {
        let (id, mut waiting) = self.calls.remove_if(id, |_, waiting| waiting.user == *user)?;
        let mut open = Vec::new();
        for (key, question) in waiting.open {
            match answers
                .and_then(|answers| answers.get(&key))
                .filter(|answer| answer.object().is_ok())
            {
                Some(answer) => {
                    let _ = question.reply.send(Ok(answer));
                }
                None if question.reply.is_closed() => {}
                None => open.push((key, question)),
            }
        }
        if open.is_empty() {
            return Some(Resumed::Running(
                waiting.running,
                waiting.unsaid,
                waiting.asked_so_far,
            ));
        }
        waiting.open = open;
        self.calls.insert(id, waiting);
        Some(Resumed::Asking(id))
    }

    /// Cancels calls whose client did not come back in time, and forgets those whose upstream gave up.
    pub(super) fn sweep(&self, question_timeout: Duration) {
        self.calls.retain(|_, waiting| {
            let wanted = waiting
                .open
                .iter()
                .any(|(_, question)| !question.reply.is_closed());
            let keep = wanted && waiting.since.elapsed() < question_timeout;
            if !keep {
                waiting.running.cancel.cancel();
            }
            keep
        });
    }
}
