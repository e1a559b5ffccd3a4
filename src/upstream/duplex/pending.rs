//! What waits for an answer on one pipe, and whom a message can concern that names no request.
//! A message goes to a call only when it cannot belong to anybody else: to no other user, and to no other
//! conversation. All of it stands under one lock that is never held over an await.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Owner;
use crate::clock::{self, Instant};
use crate::exchange::{Client, Scope, queue};
use crate::ids::UserId;
use crate::limits::{ABANDONED_CALL_AGE_MAX, IN_FLIGHT_PER_GATEWAY_MAX};
use crate::protocol::message::{Message, Notification, Response};
use crate::protocol::meta::LogLevel;

/// Requests of our own (lists, levels, subscriptions) find room when calls take all theirs.
const OWN_REQUESTS_MAX: usize = 32;

/// Why a request has no answer.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    /// What happened to the pipe.
    pub(super) reason: String,
    /// Whether the request may have arrived.
    pub(super) sent: bool,
    /// There was no room for one more.
    pub(super) full: bool,
}

impl Lost {
    /// The request did not leave.
    pub(super) fn unsent(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            sent: false,
            full: false,
        }
    }
}

/// What an answer becomes.
pub(super) type Answered = Result<Response, Lost>;

/// A call in flight.
#[derive(Debug)]
pub(super) struct Entry {
    /// Who waits.
    pub(super) client: Arc<Client>,
    /// Which log messages it wants.
    pub(super) log_level: Option<LogLevel>,
    /// Takes what comes before the answer. What does not fit is dropped: one slow reader holds up nobody else.
    pub(super) messages: queue::Sender<Message>,
    /// Takes the answer.
    pub(super) answer: oneshot::Sender<Answered>,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A client's call.
    Call(Entry),
    /// Ourselves.
    Own(oneshot::Sender<Answered>),
    /// Nobody: the answer only says that it is over.
    Aside,
}

/// Whether a pipe was meant to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It was ended here: unused, no longer wanted, or in the way of another.
    Planned,
    /// It ended by itself.
    Lost,
}

/// How and when a pipe ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// What happened, to read behind "gateway x failed".
    pub(super) reason: String,
    /// Whether it was meant to.
    pub(super) ending: Ending,
    /// When.
    pub(super) at: Instant,
}

/// What became of a message that had to find its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// It is on its way.
    Done,
    /// Its call wants none of it, or has no room.
    Dropped,
    /// No call is in flight that it could belong to.
    Nobody,
    /// It could belong to several users or conversations.
    Ambiguous,
}

type Conversation = (UserId, Scope);

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    waiting: HashMap<u64, Waiting>,
    /// Calls that nobody waits for any more; the server may still be at work on them.
    abandoned: VecDeque<(Instant, u64, Conversation)>,
    /// Sessions that used a pipe of their user, with the level that they last wanted.
    attached: Vec<(Arc<Client>, Option<LogLevel>)>,
    last_used: Option<Instant>,
    ended: Option<Ended>,
}

/// The requests of one pipe.
#[derive(Debug)]
pub(super) struct Pending {
    owner: Owner,
    state: Mutex<State>,
    stop: CancellationToken,
}

impl Pending {
    /// Starts with nothing in flight. `stop` ends the pipe.
    pub(super) fn new(owner: Owner, stop: CancellationToken) -> Self {
        let state = State {
            last_used: Some(clock::now()),
            ..State::default()
        };
        Self {
            owner,
            state: Mutex::new(state),
            stop,
        }
    }

    /// Takes note of a request before it is sent; returns its id.
    pub(super) fn add(&self, waiting: Waiting) -> Result<u64, Lost> {
        let mut state = self.state();
        if let Some(ended) = &state.ended {
            return Err(Lost::unsent(&ended.reason));
        }
        let room = match waiting {
            Waiting::Call(_) => IN_FLIGHT_PER_GATEWAY_MAX,
            Waiting::Own(_) | Waiting::Aside => IN_FLIGHT_PER_GATEWAY_MAX + OWN_REQUESTS_MAX,
        };
        if state.waiting.len() >= room {
            return Err(Lost {
                full: true,
                ..Lost::unsent("too many requests are in flight")
            });
        }
        if let Waiting::Call(entry) = &waiting
            && self.owner.is_personal()
        {
            state.attach(entry);
        }
        state.next_id += 1;
        let id = state.next_id;
        state.waiting.insert(id, waiting);
        state.last_used = Some(clock::now());
        Ok(id)
    }

    /// Forgets a request that nobody waits for any more; false when it was answered already.
    pub(super) fn abandon(&self, id: u64) -> bool {
        let mut state = self.state();
        state.last_used = Some(clock::now());
        let Some(waiting) = state.waiting.remove(&id) else {
            return false;
        };
        if let Waiting::Call(entry) = waiting {
            if state.abandoned.len() == IN_FLIGHT_PER_GATEWAY_MAX {
                state.abandoned.pop_front();
            }
            let conversation = conversation_of(&entry.client);
            state.abandoned.push_back((clock::now(), id, conversation));
        }
        true
    }

    /// Hands an answer to whoever waits for it; false when nobody does, or did lately.
    pub(super) fn answer(&self, id: u64, answered: Answered) -> bool {
        let mut state = self.state();
        state.last_used = Some(clock::now());
        match state.waiting.remove(&id) {
            Some(Waiting::Call(Entry { answer, .. }) | Waiting::Own(answer)) => {
                // Whoever waited may have gone in this moment.
                let _ = answer.send(answered);
                true
            }
            Some(Waiting::Aside) => true,
            None => {
                let before = state.abandoned.len();
                state.abandoned.retain(|(_, abandoned, _)| *abandoned != id);
                state.abandoned.len() < before
            }
        }
    }

    /// Hands a message to one call.
    pub(super) fn deliver(&self, id: u64, message: Message) -> Delivery {
        match self.state().waiting.get(&id) {
            Some(Waiting::Call(entry)) => entry.offer(message),
            _ => Delivery::Nobody,
        }
    }

    /// Hands a message that names no request to the newest fitting call, if all calls in flight, and those just
    /// given up, belong to one conversation.
    pub(super) fn deliver_to_newest(&self, message: Message, fits: impl Fn(&Entry) -> bool) -> Delivery {
        let mut state = self.state();
        state.forget_abandoned();
        let mut newest: Option<(u64, &Entry)> = None;
        let mut concerned: Option<Conversation> = None;
        for (id, entry) in state.calls() {
            let conversation = conversation_of(&entry.client);
            if concerned.as_ref().is_some_and(|one| *one != conversation) {
                return Delivery::Ambiguous;
            }
            concerned = Some(conversation);
            if fits(entry) && newest.is_none_or(|(newer, _)| newer < id) {
                newest = Some((id, entry));
            }
        }
        let Some(concerned) = concerned else {
            return Delivery::Nobody;
        };
        let of_another = |(_, _, conversation): &(Instant, u64, Conversation)| *conversation != concerned;
        // On a pipe of one conversation this never holds.
        if state.abandoned.iter().any(of_another) {
            return Delivery::Ambiguous;
        }
        newest.map_or(Delivery::Dropped, |(_, entry)| entry.offer(message))
    }

    /// Puts a notification that belongs to no call into the outboxes of those whose pipe this is.
    pub(super) fn post(&self, notification: &Notification, wanted: impl Fn(Option<LogLevel>) -> bool) {
        for (client, level) in &self.state().attached {
            if let Some(outbox) = &client.outbox
                && wanted(*level)
                && !outbox.offer(notification.clone())
            {
                tracing::debug!("an outbox is full or closed; a notification is dropped");
            }
        }
    }

    /// Forgets a conversation that is over.
    pub(super) fn detach(&self, client: &Client) {
        let gone = conversation_of(client);
        self.state()
            .attached
            .retain(|(attached, _)| conversation_of(attached) != gone);
    }

    /// Returns the lowest level that a call in flight wants.
    pub(super) fn lowest_level(&self) -> Option<LogLevel> {
        self.state()
            .calls()
            .filter_map(|(_, entry)| entry.log_level)
            .min()
    }

    /// Ends the pipe for everybody: what is in flight fails, nothing new is taken. False when it was ended before:
    /// the first reason stays.
    pub(super) fn end(&self, reason: &str, ending: Ending) -> bool {
        let first = self.state().end(reason, ending);
        self.stop.cancel();
        first
    }

    /// Ends the pipe if nothing is in flight; false otherwise.
    pub(super) fn end_if_idle(&self, reason: &str) -> bool {
        let mut state = self.state();
        if !state.is_idle() || state.ended.is_some() {
            return false;
        }
        state.end(reason, Ending::Planned);
        drop(state);
        self.stop.cancel();
        true
    }

    /// Tells how the pipe ended.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.state().ended.clone()
    }

    /// Tells since when nothing is in flight; `None` while something is, and when the pipe has ended.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        state
            .last_used
            .filter(|_| state.is_idle() && state.ended.is_none())
    }

    /// Tells whether a request still waits for its answer.
    pub(super) fn waits_for(&self, id: u64) -> bool {
        self.state().waiting.contains_key(&id)
    }

    /// Returns whose pipe it is.
    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn calls(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.waiting.iter().filter_map(|(id, waiting)| match waiting {
            Waiting::Call(entry) => Some((*id, entry)),
            _ => None,
        })
    }

    fn is_idle(&self) -> bool {
        self.waiting
            .values()
            .all(|waiting| matches!(waiting, Waiting::Aside))
    }

    fn forget_abandoned(&mut self) {
        let now = clock::now();
        self.abandoned
            .retain(|(since, _, _)| now.duration_since(*since) < ABANDONED_CALL_AGE_MAX);
    }

    fn attach(&mut self, entry: &Entry) {
        let lives = |client: &Client| client.outbox.as_ref().is_some_and(|outbox| !outbox.is_closed());
        let conversation = conversation_of(&entry.client);
        self.attached
            .retain(|(client, _)| lives(client) && conversation_of(client) != conversation);
        if entry.client.scope != Scope::Stateless && lives(&entry.client) {
            self.attached.push((Arc::clone(&entry.client), entry.log_level));
        }
    }

    fn end(&mut self, reason: &str, ending: Ending) -> bool {
        if self.ended.is_some() {
            return false;
        }
        self.ended = Some(Ended {
            reason: reason.to_owned(),
            ending,
            at: clock::now(),
        });
        for (_, waiting) in self.waiting.drain() {
            if let Waiting::Call(Entry { answer, .. }) | Waiting::Own(answer) = waiting {
                let lost = Lost {
                    sent: true,
                    ..Lost::unsent(reason)
                };
                let _ = answer.send(Err(lost));
            }
        }
        true
    }
}

impl Entry {
    fn offer(&self, message: Message) -> Delivery {
        match self.messages.try_send(message) {
            Ok(()) => Delivery::Done,
            Err(_) => Delivery::Dropped,
        }
    }
}

/// Returns what a call belongs to.
fn conversation_of(client: &Client) -> Conversation {
    (client.principal.user().clone(), client.scope.clone())
}
