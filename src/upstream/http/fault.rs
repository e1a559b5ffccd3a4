//! What goes wrong between us and an HTTP upstream, and what may be done about it. The texts are read by operators:
//! they stand behind "gateway NAME failed:" and never hold a header's value or a URL's query.

use std::time::Duration;

use http::StatusCode;

use crate::exchange::CallError;
use crate::ids::GatewayId;
use crate::limits::UPSTREAM_SESSIONS_MAX;
use crate::protocol::error::{INTERNAL_ERROR, INVALID_PARAMS, RpcError};
use crate::protocol::method::Method;
use crate::upstream::handshake::HandshakeError;
use crate::upstream::rounds::RoundError;

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(in crate::upstream) enum Fault {
    #[error("cancelled")]
    Cancelled,
    /// No connection came about; nothing was written.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it gave no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("it ended its stream without an answer{0}")]
    NoAnswer(String),
    #[error("it redirects (HTTP {status}) to {target}; set the gateway's `url` to where it really is")]
    Redirect { status: StatusCode, target: String },
    #[error("it refused our credentials (HTTP {0}); set the ones it wants in the gateway's `headers`")]
    Unauthorized(StatusCode),
    #[error("it answered HTTP {status}{detail}")]
    Status { status: StatusCode, detail: String },
    /// Refused in words of its own, which may be shown.
    #[error("{words}")]
    Worded { status: StatusCode, words: String },
    #[error("it answered HTTP {status} with content type {content_type:?}; is `url` its MCP endpoint?")]
    ContentType {
        status: StatusCode,
        content_type: String,
    },
    #[error("it answered with content encoding {0:?}, which was not asked for")]
    Encoding(String),
    #[error("it sent more than {0} bytes")]
    TooLarge(usize),
    #[error("it sent what is no JSON-RPC message: {0}")]
    NotAMessage(String),
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    #[error("it refused {method}: {} (code {})", .error.message, .error.code)]
    Refused { method: &'static str, error: RpcError },
    /// Not processed: the upstream does not know the session that we hold.
    #[error("it does not know its own session (HTTP {0})")]
    Forgotten(StatusCode),
    /// Not processed: the session whose URL this is was deleted.
    #[error("its session is gone (HTTP {0})")]
    Gone(StatusCode),
    /// Not processed: not what an upstream of the era that we took it for answers.
    #[error("it answered HTTP {status}{detail}")]
    WrongEra { status: StatusCode, detail: String },
    #[error("it speaks the HTTP+SSE transport of 2024-11-05; set the gateway's `transport = \"sse\"`")]
    OldTransport,
    /// Not processed (-32020): the headers were made from a list that is out of date.
    #[error("its list changed")]
    Stale,
    #[error("all {UPSTREAM_SESSIONS_MAX} upstream sessions are in use")]
    Crowded,
    #[error("{0}")]
    Round(RoundError),
    /// A list could not be had.
    #[error("{0}")]
    List(String),
    /// Said in the upstream's place to what a client wants.
    #[error("{0}")]
    Declined(&'static str),
    #[error("we are shutting down")]
    ShutDown,
}

impl From<RoundError> for Fault {
    fn from(error: RoundError) -> Self {
        match error {
            RoundError::Cancelled => Self::Cancelled,
            error => Self::Round(error),
        }
    }
}

impl From<crate::upstream::incoming::Cancelled> for Fault {
    fn from(_: crate::upstream::incoming::Cancelled) -> Self {
        Self::Cancelled
    }
}

impl Fault {
    /// Tells whether the upstream may have processed the request that failed so.
    pub(in crate::upstream) fn processed(&self) -> bool {
        match self {
            Self::Timeout(_)
            | Self::Cancelled
            | Self::Broken(_)
            | Self::NoAnswer(_)
            | Self::ContentType { .. }
            | Self::Encoding(_)
            | Self::TooLarge(_)
            | Self::NotAMessage(_)
            | Self::Round(_) => true,
            Self::Status { status, .. } | Self::Worded { status, .. } => status.is_server_error(),
            _ => false,
        }
    }

    /// Tells whether a call that may be repeated is worth repeating.
    pub(super) fn broke(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::NoAnswer(_))
    }

    /// Tells whether the next attempt should probe again. `began`: the call's own request went out.
    pub(super) fn doubts_era(&self, began: bool) -> bool {
        match self {
            Self::WrongEra { .. } | Self::Unreachable(_) => true,
            Self::Cancelled | Self::Crowded | Self::ShutDown => false,
            _ => !began,
        }
    }

    /// Makes what the caller is told. `began`: the call's own request went out, not just what comes before it.
    pub(super) fn into_call_error(self, gateway: &GatewayId, began: bool) -> CallError {
        let gateway = gateway.clone();
        match self {
            Self::Cancelled => CallError::Cancelled,
            Self::Unreachable(_) => CallError::Unavailable {
                gateway,
                reason: self.to_string(),
            },
            Self::Timeout(limit) if began => CallError::Timeout {
                gateway,
                timeout_ms: limit.as_millis() as u64,
            },
            Self::Stale => CallError::Stale { gateway },
            Self::Refused { method, error } if began && !is_handshake(method) => {
                CallError::Refused { gateway, error }
            }
            Self::Declined(_) => CallError::Refused {
                error: RpcError::new(INVALID_PARAMS, self.to_string()),
                gateway,
            },
            Self::Round(RoundError::Unanswered { .. }) => CallError::Refused {
                error: RpcError::new(INTERNAL_ERROR, self.to_string()),
                gateway,
            },
            Self::Crowded => CallError::Busy { gateway },
            fault => CallError::Failed {
                gateway,
                reason: fault.to_string(),
                sent: began && fault.processed(),
            },
        }
    }
}

fn is_handshake(method: &str) -> bool {
    matches!(Method::parse(method), Method::Initialize | Method::Discover)
}
