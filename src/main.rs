//! The `toolgate` binary: hands over to [`toolgate::cli`].

fn main() {}
