//! Who hears of which resource, for one scope's upstream session or listen stream. Survives a silent reopening:
//! the transport asks for [`Watches::uris`] again. Never holds up an upstream: a full outbox loses the update.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::catalog::route::Route;
use crate::exchange::Outbox;
use crate::limits::RESOURCE_SUBSCRIPTIONS_MAX;
use crate::protocol::json::Raw;
use crate::protocol::message::{Message, Notification};
use crate::protocol::meta;
use crate::protocol::splice::Splice;

/// The watched resources of one scope.
#[derive(Debug, Default)]
pub struct Watches(Mutex<BTreeMap<Arc<str>, Watched>>);

#[derive(Debug)]
struct Watched {
    /// The URI that clients know.
    exposed: Arc<str>,
    outboxes: Vec<Outbox>,
}

/// [`RESOURCE_SUBSCRIPTIONS_MAX`] resources are watched already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Watches {
    /// Adds a watcher; true when the upstream must be told, because nobody watched the resource before.
    pub fn add(&self, route: &Route, outbox: &Outbox) -> Result<bool, Full> {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = watched.get_mut(&route.own) {
            found.outboxes.retain(|known| !known.is_closed());
            if !found.outboxes.iter().any(|known| known.same_as(outbox)) {
                found.outboxes.push(outbox.clone());
            }
            return Ok(false);
        }
        if watched.len() >= RESOURCE_SUBSCRIPTIONS_MAX {
            return Err(Full);
        }
        let outboxes = vec![outbox.clone()];
        let exposed = Arc::clone(&route.exposed);
        watched.insert(Arc::clone(&route.own), Watched { exposed, outboxes });
        Ok(true)
    }

    /// Removes a watcher; true when the upstream must be told, because nobody watches the resource any more.
    pub fn remove(&self, route: &Route, outbox: &Outbox) -> bool {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = watched.get_mut(&route.own) else {
            return false;
        };
        found
            .outboxes
            .retain(|known| !known.is_closed() && !known.same_as(outbox));
        let last = found.outboxes.is_empty();
        if last {
            watched.remove(&route.own);
        }
        last
    }

    /// Returns the upstream's own URIs that are watched, without those whose watchers are all gone.
    #[must_use]
    pub fn uris(&self) -> Vec<Arc<str>> {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|_, found| found.outboxes.iter().any(|outbox| !outbox.is_closed()));
        watched.keys().cloned().collect()
    }

    /// Tells whether anybody still watches anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uris().is_empty()
    }

    /// Hands an update to whoever watches the resource, under the URI that clients know. An update of a resource
    /// below a watched one goes to its watchers as it is.
    pub fn tell(&self, notification: &Notification) {
        let Some(uri) = (notification.params.as_ref()).and_then(|params| params.get("uri")) else {
            return;
        };
        let Some(own) = uri.string() else { return };
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = watched.get(&*own).or_else(|| {
            watched
                .iter()
                .find(|(above, _)| {
                    own.strip_prefix(&***above)
                        .is_some_and(|rest| rest.starts_with('/'))
                })
                .map(|(_, found)| found)
        });
        let Some(found) = found else { return };
        let exact = watched.contains_key(&*own);
        let Some(told) = exposed(notification, &uri, exact.then_some(&*found.exposed)) else {
            return;
        };
        for outbox in &found.outboxes {
            if !outbox.offer(told.clone()) {
                tracing::debug!("a client's outbox is full; an update was dropped");
            }
        }
    }
}

/// Puts the exposed URI in and takes a modern upstream's subscription id out.
fn exposed(notification: &Notification, uri: &Raw, exposed: Option<&str>) -> Option<Notification> {
    let mut splice = Splice::new(&notification.raw);
    if let Some(exposed) = exposed {
        splice.replace(uri, &Raw::from(exposed));
    }
    if let Some(meta) = &notification.meta {
        splice.remove(meta, &[meta::SUBSCRIPTION_ID]);
    }
    match Message::parse(splice.done()) {
        Ok(Message::Notification(notification)) => Some(notification),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::listing::Kind;
    use crate::ids::GatewayId;
    use bytes::Bytes;

    fn route(own: &str, exposed: &str) -> Route {
        Route {
            kind: Kind::Resource,
            gateway: GatewayId::new("g"),
            exposed: exposed.into(),
            own: own.into(),
            param_headers: Arc::from([]),
            repeatable: true,
            index: None,
        }
    }

    fn updated(uri: &str) -> Notification {
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"_meta":{{"{}":4}},"uri":"{uri}"}}}}"#,
            meta::SUBSCRIPTION_ID
        );
        match Message::parse(Bytes::from(text)) {
            Ok(Message::Notification(notification)) => notification,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_and_the_last_watcher_count() {
        let (watches, route) = (Watches::default(), route("a:x", "a:x"));
        let ((one, _r1), (two, _r2)) = (Outbox::new(1), Outbox::new(1));
        assert_eq!(watches.add(&route, &one), Ok(true));
        assert_eq!(watches.add(&route, &two), Ok(false));
        assert_eq!(watches.add(&route, &two), Ok(false), "again is no change");
        assert!(!watches.remove(&route, &one));
        assert!(watches.remove(&route, &two));
        assert!(!watches.remove(&route, &two));
    }

    #[test]
    fn an_update_carries_the_exposed_uri_and_no_subscription_id() {
        let watches = Watches::default();
        let (outbox, mut received) = Outbox::new(4);
        watches.add(&route("a://x", "g+a://x"), &outbox).unwrap();
        watches.tell(&updated("a://x"));
        watches.tell(&updated("a://x/below"));
        watches.tell(&updated("a://xy"));
        let texts: Vec<String> = std::iter::from_fn(|| received.try_recv().ok())
            .map(|told| String::from_utf8(told.raw.to_vec()).unwrap())
            .collect();
        let told = |uri| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"_meta":{{}},"uri":"{uri}"}}}}"#
            )
        };
        assert_eq!(texts, [told("g+a://x"), told("a://x/below")]);
    }

    #[test]
    fn watchers_that_are_gone_no_longer_count() {
        let (watches, route) = (Watches::default(), route("a:x", "a:x"));
        let (outbox, receiver) = Outbox::new(1);
        watches.add(&route, &outbox).unwrap();
        assert_eq!(watches.uris(), [Arc::<str>::from("a:x")]);
        drop(receiver);
        assert!(watches.is_empty());
    }
}
