//! What `server`, `inbound` and `admin` share of HTTP: bodies read within bounds, problems as answers, and the marks that
//! requests and responses carry between them. Knows no path, no MCP, and nobody above.

mod body;
mod problem;

use std::net::SocketAddr;

pub use self::body::{BodyError, read_body};
pub use self::problem::Problem;
pub(crate) use self::problem::name;

/// From whom a request came: in the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Put into a response's extensions by whoever answers with a stream that mostly waits (a legacy GET stream,
/// `subscriptions/listen`): it gives its place among the requests in flight back once its head is sent. Such streams
/// have bounds of their own.
#[derive(Clone, Copy, Debug)]
pub struct MostlyWaits;
