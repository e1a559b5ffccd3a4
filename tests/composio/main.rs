//! x
mod fake;
