//! Who may use what. `admit` is the only maker of a [`Permit`], and calling an upstream takes one.
//! Refused and unknown look alike from outside. No I/O, no store.

mod permit;

pub use permit::Permit;
