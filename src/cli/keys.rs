//! `toolgate keys`: makes keys, and hashes them for `[auth]`.

use std::fmt::Write as _;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::Failure;
use super::args::{Keys, KeysCommand};
use super::output::{print, say};
use crate::clock;
use crate::limits;

/// What our keys begin with, so that a scanner for leaked secrets knows them.
const PREFIX: &str = "tg_";

pub(super) fn run(keys: &Keys) -> Result<(), Failure> {
    match &keys.command {
        KeysCommand::New => {
            let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(clock::random::<32>()));
            print(&format!("key = \"{key}\"\n{}\n", line(&key)))?;
            say("Give the key to the client; put one of the two lines into gateways.toml:");
            say("  [auth] keys = [{ user = \"alice\", key_sha256 = \"…\" }]");
            Ok(())
        }
        KeysCommand::Hash { key } => {
            let key = match key {
                Some(key) => key.clone(),
                None => stdin()?,
            };
            let right = !key.is_empty() && key.len() <= limits::KEY_BYTES_MAX;
            if !right || !key.chars().all(|c| c.is_ascii_graphic()) {
                let text = format!(
                    "a key is 1 to {} visible ASCII characters without blanks",
                    limits::KEY_BYTES_MAX
                );
                return Err(Failure::Usage(text));
            }
            print(&format!("{}\n", line(&key)))
        }
    }
}

/// Returns the line for the configuration.
fn line(key: &str) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(key.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    format!("key_sha256 = \"{hex}\"")
}

fn stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let max = limits::KEY_BYTES_MAX as u64 + 2;
    std::io::stdin().lock().take(max).read_to_string(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
