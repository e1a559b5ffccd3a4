//! Questions of upstreams that a legacy client has been asked and has not answered yet. Ids are ours: two upstreams may
//! use the same one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::clock::{self, Instant};
use crate::exchange::{Question, Reply};
use crate::limits::QUESTIONS_PER_CALL_MAX;
use crate::protocol::message::{Outcome, Response, RpcId};
use crate::protocol::splice::Splice;

/// Questions of one session that may be open at once.
const OPEN_MAX: usize = 4 * QUESTIONS_PER_CALL_MAX;

/// The open questions of one session.
#[derive(Debug, Default)]
pub(super) struct Questions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    open: Vec<Open>,
}

/// Who waits for an answer, and since when. The text of a question has gone out: it is not kept.
#[derive(Debug)]
struct Open {
    id: RpcId,
    reply: oneshot::Sender<Reply>,
    asked: Instant,
}

impl Questions {
    /// Keeps a question until it is answered and returns it as the client reads it. `None`: there are too many; the
    /// upstream is told that nobody answers.
    pub(super) fn ask(&self, question: Question) -> Option<Bytes> {
        let mut state = self.state();
        if state.open.len() >= OPEN_MAX {
            return None;
        }
        state.last_id += 1;
        let id = RpcId::number(state.last_id);
        let mut splice = Splice::new(&question.request.raw);
        splice.replace(question.request.id.raw(), id.raw());
        state.open.push(Open {
            id,
            reply: question.reply,
            asked: clock::now(),
        });
        Some(splice.done())
    }

    /// Takes the client's answer. The first one counts; false when there is no such question (any more).
    pub(super) fn answer(&self, response: &Response) -> bool {
        let waiting = {
            let mut state = self.state();
            let of = |open: &Open| response.id.as_ref() == Some(&open.id);
            let Some(index) = state.open.iter().position(of) else {
                return false;
            };
            state.open.swap_remove(index).reply
        };
        let reply = match &response.outcome {
            Outcome::Result(result) => Ok(result.raw()),
            Outcome::Error(error) => Err(error.clone()),
        };
        waiting.send(reply).is_ok()
    }

    /// Gives up questions that nobody waits for any more, or that were asked before a moment.
    pub(super) fn expire(&self, asked_before: Option<Instant>) {
        self.state()
            .open
            .retain(|open| !open.reply.is_closed() && asked_before.is_none_or(|moment| open.asked >= moment));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::Raw;
    use crate::protocol::message::Message;

    fn question(id: &str) -> (Question, oneshot::Receiver<crate::exchange::Reply>) {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"roots/list","params":{{"x":1e99}}}}"#);
        let Ok(Message::Request(request)) = Message::parse(Bytes::from(text)) else {
            panic!("no request")
        };
        let (reply, answered) = oneshot::channel();
        (
            Question {
                request: request.into(),
                reply,
            },
            answered,
        )
    }

    fn response(text: &str) -> Response {
        let Ok(Message::Response(response)) = Message::parse(Bytes::from(text.to_owned())) else {
            panic!("no response")
        };
        response
    }

    #[test]
    fn two_upstreams_with_the_same_id_get_their_own_answers() {
        let questions = Questions::default();
        let (first, mut first_answer) = question("7");
        let (second, mut second_answer) = question("7");
        let first = questions.ask(first).unwrap();
        assert_eq!(
            first,
            r#"{"jsonrpc":"2.0","id":1,"method":"roots/list","params":{"x":1e99}}"#
        );
        questions.ask(second).unwrap();
        assert!(questions.answer(&response(r#"{"jsonrpc":"2.0","id":2,"result":{"roots":[]}}"#)));
        assert_eq!(
            second_answer.try_recv().unwrap().unwrap(),
            Raw::literal(r#"{"roots":[]}"#)
        );
        assert!(first_answer.try_recv().is_err());
        assert!(
            !questions.answer(&response(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#)),
            "answered twice"
        );
        assert!(
            !questions.answer(&response(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#)),
            "the upstream's own id"
        );
    }

    #[test]
    fn open_questions_are_bounded_and_expire() {
        let questions = Questions::default();
        let mut waiting = Vec::new();
        for _ in 0..OPEN_MAX {
            let (question, answer) = question("1");
            assert!(questions.ask(question).is_some());
            waiting.push(answer);
        }
        assert!(questions.ask(question("1").0).is_none());
        waiting.clear();
        questions.expire(None);
        assert!(questions.ask(question("1").0).is_some());
    }
}
