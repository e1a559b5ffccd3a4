//! A call that needs a connection. The user is sent to the page where a toolkit is connected: by a url elicitation where
//! the client can ask its user (both eras: `inbound` gives it the form of the client's), else in the result. Once the
//! account works, a call of which nothing was executed is sent again, once.

mod needed;
mod told;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::oneshot;
use url::Url;

use self::needed::{Needed, Want};
use self::told::{How, Told};
use crate::clock;
use crate::exchange::{Answer, Call, CallError, Event, Question};
use crate::integrations::Project;
use crate::integrations::composio::ProviderId;
use crate::integrations::connections::{self, ConnectError, Connections, Works};
use crate::limits::CONNECT_CALL_WAIT;
use crate::protocol::json::Raw;
use crate::protocol::message::{self, Message, RpcId};
use crate::protocol::method::Method;

/// What to do after an answer.
pub(super) enum Next {
    /// It is the answer.
    Answer(Answer),
    /// What was missing is there: send the call again.
    Again,
}

/// Asks users to connect what their calls need.
pub(super) struct Connecting {
    pub(super) connections: Arc<Connections>,
    pub(super) project: Arc<Project>,
    /// How long a question waits for its answer.
    pub(super) question_timeout: Duration,
}

/// What there is to do for a toolkit.
enum Found {
    /// Its user goes there.
    Link(Url, ProviderId),
    /// Nothing: Composio has an account that works. The tool said something else, and the call is not sent again.
    Works,
    /// The session was bound to an account that does not work, and is so no more.
    Rebound,
}

impl Connecting {
    /// Reads what an answer wants connected. `own` is Composio's name of the tool.
    pub(super) fn needed(&self, own: &str, answer: &Answer) -> Option<Needed> {
        let options = self.project.options();
        let (toolkits, prefixes) = (options.toolkits.as_deref(), &options.tool_prefixes);
        needed::read(own, toolkits, prefixes, answer)
    }

    /// Sees to what an answer wants connected.
    ///
    /// # Errors
    /// [`CallError::Cancelled`].
    pub(super) async fn next(&self, call: &Call, needed: Needed, answer: Answer) -> Result<Next, CallError> {
        tokio::select! {
            biased;
            () = call.cancel.cancelled() => Err(CallError::Cancelled),
            next = self.connect(call, needed, answer) => Ok(next),
        }
    }

    async fn connect(&self, call: &Call, needed: Needed, answer: Answer) -> Next {
        let mut told = Vec::new();
        for want in &needed.wants {
            if let Some(how) = self.one(call, want).await {
                told.push(Told {
                    toolkit: want.toolkit.clone(),
                    how,
                });
            }
        }
        let all = told.len() == needed.wants.len() && told.iter().all(|told| told.how == How::Connected);
        if needed.untouched && all {
            return Next::Again;
        }
        Next::Answer(told::with(answer, &told))
    }

    /// Sees to one toolkit; `None`: there is nothing to say of it.
    async fn one(&self, call: &Call, want: &Want) -> Option<How> {
        let (url, account) = match self.find(call, want).await {
            Ok(Found::Link(url, account)) => (url, account),
            Ok(Found::Works) => return None,
            Ok(Found::Rebound) => return Some(How::Connected),
            Err(error) => {
                let (gateway, toolkit) = (self.project.gateway(), &want.toolkit);
                tracing::warn!(gateway.id = %gateway, toolkit, reason = %error, "a toolkit that a call needs cannot be connected");
                return Some(How::Not(error.to_string()));
            }
        };
        let works = self.ask(call, &want.toolkit, &url, &account).await;
        Some(if works { How::Connected } else { How::Go(url) })
    }

    /// Finds out what a toolkit wants.
    async fn find(&self, call: &Call, want: &Want) -> Result<Found, ConnectError> {
        let user = call.client.principal.user();
        if let Some((url, account)) = &want.link {
            return Ok(Found::Link(url.clone(), account.clone()));
        }
        let (project, toolkit) = (&*self.project, want.toolkit.as_str());
        match self.connections.works(project, user, toolkit).await? {
            Works::No => {}
            Works::Yes => return Ok(Found::Works),
            Works::Rebound => return Ok(Found::Rebound),
        }
        let (url, account) = self.connections.link_for_call(project, user, toolkit).await?;
        Ok(Found::Link(url, account))
    }

    /// Asks the user to go there, and waits for the account to work; false when the client cannot ask, the user said no,
    /// or nothing came of it in time.
    async fn ask(&self, call: &Call, toolkit: &str, url: &Url, account: &ProviderId) -> bool {
        let id = format!("{:032x}", u128::from_be_bytes(clock::random::<16>()));
        let params = Raw::of(&json!({
            "mode": "url",
            "elicitationId": id,
            "url": url.as_str(),
            "message": format!("{toolkit} is not connected yet. Open the page and allow it; the call goes on then."),
        }));
        let method = Raw::literal(r#""elicitation/create""#);
        let message = message::request(&RpcId::number(1), &method, Some(&params));
        let Ok(Message::Request(request)) = Message::parse(message) else {
            return false;
        };
        if !call
            .client
            .can_answer(Method::ElicitationCreate, request.params.as_ref())
        {
            return false;
        }
        let (reply, answered) = oneshot::channel();
        if call
            .events
            .send(Event::Question(Question {
                request: request.into(),
                reply,
            }))
            .await
            .is_err()
        {
            return false;
        }
        let answered = tokio::time::timeout(self.question_timeout, answered).await;
        let accepted = match answered {
            Ok(Ok(Ok(result))) => result
                .object()
                .is_ok_and(|result| result.string("action").as_deref() == Some("accept")),
            _ => false,
        };
        if !accepted {
            return false;
        }
        let place = connections::place(&self.project, call.client.principal.user(), toolkit);
        let wait = self
            .connections
            .connected_within(&self.project, &place, account, CONNECT_CALL_WAIT);
        let works = match wait.await {
            Ok(works) => works,
            Err(error) => {
                tracing::info!(gateway.id = %self.project.gateway(), toolkit, reason = %error, "what came of a connection could not be asked");
                false
            }
        };
        if works {
            self.told_done(call, &id).await;
        }
        works
    }

    /// Tells a client that what its user was sent to do is done (2025-11-25; the modern era has no word for it).
    async fn told_done(&self, call: &Call, id: &str) {
        let params = Raw::of(&json!({ "elicitationId": id }));
        let said = message::notification(Method::ElicitationComplete, Some(&params));
        if let Ok(Message::Notification(said)) = Message::parse(said) {
            // Whoever listens no more need not know.
            let _ = call.events.send(Event::Notification(said)).await;
        }
    }
}
