//! Sessions over a restart: what is written of them, and how one that a client still holds is found again. Its id
//! opens only for its user; what is written says the rest. Calls that were in flight, and what no stream had read, went
//! down with the process before. Lists may have changed meanwhile: the client is told to ask again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::Parts;
use super::session::Session;
use super::sessions::Sessions;
use crate::catalog::Changes;
use crate::clock;
use crate::exchange::{Client, Scope};
use crate::identity::Principal;
use crate::ids::SessionId;
use crate::limits::{KEPT_SESSIONS_SWEEP_INTERVAL, WATCH_AGAIN_MAX};
use crate::protocol::json::Raw;
use crate::protocol::version::{Era, ProtocolVersion};
use crate::proxy::Proxy;
use crate::seal::Purpose;
use crate::store::{Changing, Forgotten, KeptSession};

/// That a session was used is written once in this part of the time that it may idle.
const NOTES_PER_IDLE: u32 = 8;
const WATCH_AGAIN_INTERVAL: Duration = Duration::from_secs(1);

impl Sessions {
    /// Finds a session of a principal, also one that was opened before a restart.
    pub(super) async fn find(&self, principal: &Arc<Principal>, id: &str) -> Option<Arc<Session>> {
        match self.get(principal, id) {
            Some(session) => Some(session),
            None => Box::pin(self.restore(principal, id)).await,
        }
    }

    /// Writes a session down. One that cannot be written goes on, as long as the process does.
    pub(super) async fn keep(&self, session: &Session) {
        let client = &session.client;
        let kept = KeptSession {
            id_sha256: digest(session.id.as_str()),
            user: client.principal.user().to_string(),
            protocol: client.version.as_str().to_owned(),
            capabilities: client.capabilities.as_str().to_owned(),
            client_info: client.info.as_ref().map(|info| info.as_str().to_owned()),
            opened_unix_s: clock::unix_s(),
            now: changing(session),
        };
        if let Err(error) = self.parts.kept.keep(kept).await {
            tracing::warn!(%error, "a session was not written down: it will not outlive this process");
        }
    }

    /// Writes down what a client changed of its session.
    pub(super) fn note(&self, session: &Session) {
        self.parts
            .kept
            .change(&digest(session.id.as_str()), changing(session));
    }

    /// Writes down that a session is used, now and then.
    pub(super) fn note_use(&self, session: &Session) {
        if session.used_unkept(self.parts.limits.session_idle_max / NOTES_PER_IDLE) {
            self.note(session);
        }
    }

    /// Drops what is written of a session.
    pub(super) fn forget(&self, id: &SessionId) -> Forgotten {
        self.parts.kept.forget(&digest(id.as_str()))
    }

    async fn restore(&self, principal: &Arc<Principal>, id: &str) -> Option<Arc<Session>> {
        let (parts, now) = (&self.parts, clock::unix_s());
        // Whoever has an id that we made for this user may have it looked for; nobody else costs a look.
        parts
            .sealer
            .open(Purpose::Session, &principal.binding(), id, now)
            .ok()?;
        let kept = parts.kept.find(&digest(id)).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a session could not be looked for");
            None
        })?;
        let good_until = (kept.opened_unix_s + parts.limits.session_age_max.as_secs())
            .min(kept.now.used_unix_s + parts.limits.session_idle_max.as_secs());
        let version =
            ProtocolVersion::parse(&kept.protocol).filter(|version| version.era() == Era::Legacy)?;
        if kept.user != principal.user().as_str() || good_until <= now {
            return None;
        }
        let json = |text: String| Raw::parse(&Bytes::from(text)).ok();
        let (capabilities, info) = (json(kept.capabilities)?, kept.client_info.and_then(json));
        self.make_room(principal).ok()?;
        let id = SessionId::new(id);
        let client = |outbox| Client {
            principal: principal.clone(),
            scope: Scope::Session(id.clone()),
            version,
            capabilities,
            info,
            outbox: Some(outbox),
        };
        let age = Duration::from_secs(now.saturating_sub(kept.opened_unix_s));
        let born = clock::now().checked_sub(age).unwrap_or_else(clock::now);
        let session = self.insert(&id, client, Changes::default(), born);
        session.set_level_number(kept.now.log_level);
        session.touch();
        if !kept.now.watched.is_empty() {
            let watching = watch_again(parts.proxy.clone(), Arc::downgrade(&session), kept.now.watched);
            parts.supervisor.spawn("watch again", watching);
        }
        Some(session)
    }
}

/// Asks the gateways again for what a client watched before the restart; they may still be starting.
async fn watch_again(proxy: Arc<Proxy>, session: Weak<Session>, mut uris: Vec<String>) {
    let until = clock::now() + WATCH_AGAIN_MAX;
    loop {
        let mut left = Vec::new();
        for uri in uris {
            let Some(session) = session.upgrade() else { return };
            match proxy.watch_resource(&session.client, &uri).await {
                Ok(route) => drop(session.watch(&route)),
                Err(_) => left.push(uri),
            }
        }
        uris = left;
        if uris.is_empty() {
            return;
        }
        if clock::now() >= until {
            tracing::warn!(
                resources = uris.len(),
                "watched resources were not found again after the restart"
            );
            return;
        }
        tokio::time::sleep(WATCH_AGAIN_INTERVAL).await;
    }
}

/// Drops what is written of sessions that have expired, for as long as the house stands.
pub(super) async fn sweep(parts: Parts) {
    loop {
        let before = |age: Duration| clock::unix_s().saturating_sub(age.as_secs());
        let limits = &parts.limits;
        let (opened, used) = (before(limits.session_age_max), before(limits.session_idle_max));
        if let Err(error) = parts.kept.expire(opened, used).await {
            tracing::warn!(%error, "expired sessions were not dropped from the store");
        }
        tokio::time::sleep(KEPT_SESSIONS_SWEEP_INTERVAL).await;
    }
}

fn changing(session: &Session) -> Changing {
    Changing {
        log_level: session.level() as u8,
        watched: session.watched(),
        used_unix_s: clock::unix_s().saturating_sub(session.idle().as_secs()),
    }
}

fn digest(id: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(id.as_bytes()))
}
