//! Calls of modern clients that wait for answers to questions of a legacy upstream. The upstream's stream stays open;
//! the client holds a sealed `requestState` that names the call, and retries with the answers (2026-07-28, "Multi
//! Round-Trip Requests"). A client that never returns frees everything: the call is cancelled upstream.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;

use super::exchange::Running;
use crate::clock::{self, Instant};
use crate::exchange::{Event, Question};
use crate::ids::UserId;
use crate::limits::PARKED_CALLS_MAX;
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::Notification;
use crate::protocol::method::Method;
use crate::protocol::splice::Splice;

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
}

/// All calls that wait. Shared by its clones.
#[derive(Clone, Debug, Default)]
pub(super) struct Parked(Arc<DashMap<ParkedId, Waiting>>);

/// What a client's answers led to.
pub(super) enum Resumed {
    /// The call goes on.
    Running(Running, Vec<Notification>, usize),
    /// Some questions are open still: ask again.
    Asking(ParkedId),
}

impl Parked {
    /// Parks a call on a question, together with those that are ready behind it. `None`: there are too many; the call
    /// ends, and the upstream is told that nobody answers.
    pub(super) fn park(
        &self,
        user: &UserId,
        question: Question,
        mut running: Running,
        asked: usize,
    ) -> Option<ParkedId> {
        if self.0.len() >= PARKED_CALLS_MAX {
            running.cancel.cancel();
            return None;
        }
        let mut unsaid = Vec::new();
        let mut questions = vec![question];
        while let Some(event) = running.ready_event() {
            match event {
                Event::Question(question) => questions.push(question),
                Event::Notification(notification) => unsaid.push(notification),
            }
        }
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
        };
        self.0.insert(id, waiting);
        Some(id)
    }

    /// Writes the `inputRequests` of a parked call.
    pub(super) fn input_requests(&self, id: &ParkedId) -> Option<Raw> {
        let waiting = self.0.get(id)?;
        let requests: Vec<String> = waiting
            .open
            .iter()
            .map(|(key, question)| {
                let params =
                    modern_params(question).map_or_else(|| "{}".to_owned(), |raw| raw.as_str().to_owned());
                let method = question.request.method_name.as_str();
                format!(
                    r#"{}:{{"method":{method},"params":{params}}}"#,
                    Raw::from(key.as_str()).as_str()
                )
            })
            .collect();
        Raw::parse(&format!("{{{}}}", requests.join(",")).into()).ok()
    }

    /// Delivers a client's answers; what it did not answer stays open. `None` when no such call waits for this user:
    /// unknown, foreign, expired and already resumed look alike.
    pub(super) fn resume(&self, id: &ParkedId, user: &UserId, answers: Option<&Object>) -> Option<Resumed> {
        let (id, mut waiting) = self.0.remove_if(id, |_, waiting| waiting.user == *user)?;
        let mut open = Vec::new();
        for (key, question) in waiting.open {
            match answers
                .and_then(|answers| answers.get(&key))
                .filter(|answer| answer.object().is_ok())
            {
                Some(answer) => {
                    let _ = question.reply.send(Ok(answer));
                }
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
        self.0.insert(id, waiting);
        Some(Resumed::Asking(id))
    }

    /// Cancels calls whose client did not come back, and forgets those whose upstream gave up.
    pub(super) fn sweep(&self, question_timeout: Duration) {
        self.0.retain(|_, waiting| {
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

/// Returns a question's parameters as modern clients know them: a url elicitation has no id of its own there.
fn modern_params(question: &Question) -> Option<Raw> {
    let params = question.request.params.as_ref()?;
    if question.request.method != Method::ElicitationCreate || !params.has("elicitationId") {
        return Some(params.raw());
    }
    let mut splice = Splice::new(params.raw().as_bytes());
    splice.remove(params, &["elicitationId"]);
    Raw::parse(&splice.done()).ok()
}
