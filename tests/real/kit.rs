//! Where `make deps` has put the real servers and clients, and free ports for them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// The top of the checkout.
pub(crate) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn deps() -> PathBuf {
    let deps = std::env::var_os("TOOLGATE_DEPS").map_or_else(|| top().join(".deps"), PathBuf::from);
    assert!(
        deps.join("npm/.stamp").exists(),
        "the real servers are not installed in {}: run `make deps`",
        deps.display()
    );
    deps
}

/// A program of a npm package.
pub(crate) fn npm(program: &str) -> String {
    shown(&deps().join("npm/node_modules/.bin").join(program))
}

/// A program of the Python environment.
pub(crate) fn python(program: &str) -> String {
    shown(&deps().join("py/bin").join(program))
}

/// A file of `tests/kit`.
pub(crate) fn file(name: &str) -> String {
    shown(&top().join("tests/kit").join(name))
}

/// The material that the project shares with others, beside the checkout.
pub(crate) fn shared(name: &str) -> String {
    let shared = std::env::var_os("TOOLGATE_SHARED").map_or_else(|| top().join("../shared"), PathBuf::from);
    shown(&shared.join(name))
}

fn shown(path: &Path) -> String {
    assert!(path.exists(), "{} is missing: run `make deps`", path.display());
    path.display().to_string()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
