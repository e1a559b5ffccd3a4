//! The seam between what every gateway has (breaker, places, deadline, refresh: `gateway`) and how one is spoken to.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::catalog::listing::Listing;
use crate::catalog::route::Route;
use crate::exchange::{Answer, Call, CallError, Client};
use crate::protocol::method::Method;
use crate::protocol::version::Era;
use crate::supervisor::Supervisor;

/// One way to speak to one gateway. Implementations hold connections, sessions and processes, each for one scope of
/// one principal unless the configuration says `shared`.
pub trait Transport: Send + Sync + 'static {
    /// Carries out a call of a route of this gateway. Deadline, places and breaker are the caller's business;
    /// dropping the future, or cancelling `call.cancel`, tells the upstream in its era's way.
    fn call<'a>(&'a self, route: &'a Route, call: Call) -> BoxFuture<'a, Result<Answer, CallError>>;

    /// Asks for every page of every list that the upstream offers, as nobody in particular, and keeps hearing of
    /// changes afterwards (legacy GET stream, `subscriptions/listen`, stdio notifications).
    fn list(&self) -> BoxFuture<'_, Result<Listing, ListError>>;

    /// Counts up whenever the upstream announces that its lists changed, or its link was lost or came back.
    fn changes(&self) -> watch::Receiver<Announced>;

    /// Starts or ends telling a client's outbox of changes of a resource. Idempotent.
    fn watch_resource<'a>(
        &'a self,
        route: &'a Route,
        client: &'a Arc<Client>,
        wanted: bool,
    ) -> BoxFuture<'a, Result<(), CallError>>;

    /// Tells upstream sessions of this client that its roots changed.
    fn roots_changed<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, ()>;

    /// Ends what is held for a client's scope: its upstream sessions and `per_session` processes.
    fn scope_ended<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, ()>;

    /// Returns the era that was found; `None` before the first contact.
    fn era(&self) -> Option<Era>;

    /// Ends every connection, session and process.
    fn shut_down(&self) -> BoxFuture<'_, ()>;
}

/// What was heard of an upstream's lists so far, each counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// `notifications/tools/list_changed`
    pub tools: u64,
    /// `notifications/prompts/list_changed`
    pub prompts: u64,
    /// `notifications/resources/list_changed`
    pub resources: u64,
    /// The link was lost or came back, or the lists were found to be out of date.
    pub link: u64,
}

impl Announced {
    /// Counts a notification; others than of changed lists count for the link.
    pub fn heard(&mut self, method: Method) {
        *match method {
            Method::ToolsListChanged => &mut self.tools,
            Method::PromptsListChanged => &mut self.prompts,
            Method::ResourcesListChanged => &mut self.resources,
            _ => &mut self.link,
        } += 1;
    }

    /// Counts what another link heard since.
    pub fn add(&mut self, before: Self, now: Self) {
        self.tools += now.tools - before.tools;
        self.prompts += now.prompts - before.prompts;
        self.resources += now.resources - before.resources;
        self.link += now.link - before.link;
    }
}

/// Why a gateway's lists could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ListError(
    /// What happened, to read alone.
    pub String,
);

/// Passes announcements of one link on as those of a gateway, for as long as there are both.
pub(super) fn pass_on(
    mut from: watch::Receiver<Announced>,
    to: &Arc<watch::Sender<Announced>>,
    supervisor: &Supervisor,
) {
    let to = Arc::downgrade(to);
    let mut told = *from.borrow();
    supervisor.spawn("announcements of a link", async move {
        while from.changed().await.is_ok() {
            let Some(to) = to.upgrade() else { return };
            let now = *from.borrow_and_update();
            to.send_modify(|announced| announced.add(told, now));
            told = now;
        }
    });
}
