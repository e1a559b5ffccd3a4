//! What all gateways offer, merged: listings in, an immutable snapshot out, swapped behind an atomic pointer.
//! Names are given here and never shift. No I/O: upstreams publish, `inbound` and `proxy` read.

pub mod listing;
pub mod route;
