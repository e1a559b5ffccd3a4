//! Task ids as modern clients hold them (tasks extension, SEP-2663): sealed, so that the id itself says which gateway
//! works on the task, for which tool, and is good for its principal alone. Nothing is kept here.

use crate::clock;
use crate::exchange::Task;
use crate::identity::Principal;
use crate::ids::GatewayId;
use crate::limits::TASK_AGE_MAX;
use crate::seal::{Purpose, Sealer};

/// Seals the id that a gateway gave; `None` when it is too long.
pub(super) fn write(sealer: &Sealer, principal: &Principal, task: &Task) -> Option<String> {
    let payload = serde_json::to_vec(&(task.gateway.as_str(), &task.tool, &task.own)).ok()?;
    let expires = clock::unix_s() + TASK_AGE_MAX.as_secs();
    sealer
        .seal(Purpose::TaskId, &principal.binding(), &payload, expires)
        .ok()
}

/// Opens an id; `None` when it is not ours, not this principal's, or too old.
pub(super) fn read(sealer: &Sealer, principal: &Principal, text: &str) -> Option<Task> {
    let payload = sealer
        .open(Purpose::TaskId, &principal.binding(), text, clock::unix_s())
        .ok()?;
    let (gateway, tool, own): (String, String, String) = serde_json::from_slice(&payload).ok()?;
    Some(Task {
        gateway: GatewayId::new(&gateway),
        tool,
        own,
    })
}
