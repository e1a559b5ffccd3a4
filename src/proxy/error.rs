//! Why a request gets no answer of an upstream.

use crate::exchange::CallError;

/// Causes, as the client's request met them. `inbound` and `admin` choose code and status, each in one table.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// No such tool, or the policy hides it.
    #[error("unknown tool: {0}")]
    UnknownTool(String),
    /// No such toolkit, or it is none of the caller's.
    #[error("unknown toolkit: {0}")]
    UnknownToolkit(String),
    /// No such prompt, or the policy hides it.
    #[error("unknown prompt: {0}")]
    UnknownPrompt(String),
    /// Nobody knows the URI, or the policy hides who does.
    #[error("resource not found: {0}")]
    UnknownResource(String),
    /// No such task, or it belongs to somebody else, or the policy hides its tool.
    #[error("unknown task")]
    UnknownTask,
    /// Parameters that do not fit the method.
    #[error("invalid params: {0}")]
    InvalidParams(&'static str),
    /// A method that no upstream is asked for.
    #[error("method not found")]
    UnknownMethod,
    /// The call was not sent: its record is required and could not be written.
    #[error("the call was not sent: its record could not be written")]
    NotRecorded,
    /// The call ended without an answer: a mistake of ours, which the log has.
    #[error("the call ended without an answer")]
    Lost,
    /// The upstream failed.
    #[error(transparent)]
    Call(#[from] CallError),
}
