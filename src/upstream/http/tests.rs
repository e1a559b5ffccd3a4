mod bad_input;
mod fake;
mod large;
mod legacy;
mod modern;
mod outside;
mod probe;
mod streams;

use crate::catalog::listing::Listing;
use crate::exchange::Answer;

/// Returns an answer's text.
fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.response.raw).unwrap()
}

fn tool_names(listing: &Listing) -> Vec<&str> {
    listing.tools.iter().map(|item| &*item.own).collect()
}
