//! From an exposed name to the gateway that owns it and the name that it goes by there.

use std::sync::Arc;

use super::listing::Kind;
use crate::ids::GatewayId;
use crate::protocol::param_headers::ParamHeader;

/// Where one exposed name leads.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// What it is.
    pub kind: Kind,
    /// Who has it.
    pub gateway: GatewayId,
    /// The name, URI or template that clients use.
    pub exposed: Arc<str>,
    /// The gateway's own.
    pub own: Arc<str>,
    /// Arguments that a modern upstream wants mirrored into headers.
    pub param_headers: Arc<[ParamHeader]>,
    /// Whether a call may be sent again when it is not known to have arrived.
    pub repeatable: bool,
    /// Its place in the snapshot's list of its kind; `None` for a URI that nobody lists.
    pub index: Option<usize>,
}
