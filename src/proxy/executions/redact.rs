//! Arguments and results as they may be kept: values under keys that name secrets become `***`, at any depth, in JSON
//! that stands in a string too; then the first bytes of it. What cannot be read is not kept.

use bytes::Bytes;
use serde_json::Value;

use crate::limits::{EXECUTION_TEXT_BYTES_MAX, EXECUTION_TEXT_READ_BYTES_MAX};

const HIDDEN: &str = "***";
/// Strings in strings are looked into so often.
const NESTED_STRINGS_MAX: usize = 3;
/// What is behind it is a credential, wherever it stands.
const SCHEMES: [&str; 2] = ["bearer ", "basic "];

/// A word of a key that names a secret.
const SECRETS: [&str; 17] = [
    "authorization",
    "bearer",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "jwt",
    "otp",
    "passphrase",
    "passwd",
    "password",
    "passwords",
    "pwd",
    "secret",
    "secrets",
    "token",
    "tokens",
];
/// Two words of a key that name one together.
const SECRET_PAIRS: [(&str, &str); 5] = [
    ("api", "key"),
    ("access", "key"),
    ("private", "key"),
    ("signing", "key"),
    ("encryption", "key"),
];
/// The same in one word.
const SECRET_WORDS: [&str; 5] = ["apikey", "accesskey", "privatekey", "accesstoken", "clientsecret"];

/// Returns what may be kept of a JSON text.
pub(super) fn kept(text: &Bytes) -> Option<String> {
    if text.len() > EXECUTION_TEXT_READ_BYTES_MAX {
        return None;
    }
    let mut value: Value = serde_json::from_slice(text).ok()?;
    hide(&mut value, NESTED_STRINGS_MAX);
    let mut text = value.to_string();
    text.truncate(text.floor_char_boundary(EXECUTION_TEXT_BYTES_MAX));
    Some(text)
}

fn hide(value: &mut Value, nested: usize) {
    match value {
        Value::Object(members) => {
            for (key, value) in members.iter_mut() {
                if names_secret(key, value) {
                    *value = Value::from(HIDDEN);
                } else {
                    hide(value, nested);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| hide(value, nested)),
        Value::String(text) => hide_in_text(text, nested),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Tools often answer with JSON in a text, and headers are often lines of one.
fn hide_in_text(text: &mut String, nested: usize) {
    if nested > 0 && text.trim_start().starts_with(['{', '[']) {
        // What only looks like JSON is a text like any other.
        if let Ok(mut value) = serde_json::from_str::<Value>(text) {
            hide(&mut value, nested - 1);
            *text = value.to_string();
            return;
        }
    }
    let lower = text.to_ascii_lowercase();
    let mut shown = String::new();
    let mut done = 0;
    while let Some(begin) = next_credential(&lower, done) {
        let rest = text.get(begin..).unwrap_or_default();
        shown.push_str(text.get(done..begin).unwrap_or_default());
        shown.push_str(HIDDEN);
        done = begin + rest.find(char::is_whitespace).unwrap_or(rest.len());
    }
    if done > 0 {
        shown.push_str(text.get(done..).unwrap_or_default());
        *text = shown;
    }
}

/// Returns where the next credential begins, from a place on.
fn next_credential(lower: &str, from: usize) -> Option<usize> {
    let rest = lower.get(from..)?;
    let behind = |scheme: &&str| rest.find(scheme).map(|at| from + at + scheme.len());
    SCHEMES.iter().filter_map(behind).min()
}

/// Tells whether a member's value is a secret by its key. A flag is none, and `max_tokens` is a number.
fn names_secret(key: &str, value: &Value) -> bool {
    let words = words(key);
    let pairs = words.windows(2);
    let named = words
        .iter()
        .any(|word| SECRETS.contains(&word.as_str()) || SECRET_WORDS.contains(&word.as_str()))
        || pairs
            .into_iter()
            .any(|pair| matches!(pair, [a, b] if SECRET_PAIRS.contains(&(a, b))));
    match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(_) => named && !words.iter().any(|word| word == "tokens"),
        _ => named,
    }
}

/// The words of a key, in lower case: `x-api-key`, `API_KEY` and `apiKey` have the same.
fn words(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_is_lower = false;
    for c in key.chars() {
        let begins = c.is_uppercase() && before_is_lower;
        if begins || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before_is_lower = c.is_lowercase() || c.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        kept(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn values_of_keys_that_name_secrets_are_hidden_at_any_depth() {
        for key in [
            "token",
            "access_token",
            "refreshToken",
            "Authorization",
            "x-api-key",
            "API_KEY",
            "apikey",
            "userPassword",
            "client_secret",
            "AWS_SECRET_ACCESS_KEY",
            "private-key",
            "Set-Cookie",
            "tokens",
        ] {
            for text in [
                format!(r#"{{"{key}":"s3cret"}}"#),
                format!(r#"{{"a":[1,{{"b":{{"{key}":["s3cret"]}}}}]}}"#),
                format!(r#"{{"content":[{{"text":"{{\"{key}\":{{\"x\":\"s3cret\"}}}}"}}]}}"#),
            ] {
                let kept = of(&text);
                assert!(!kept.contains("s3cret"), "{kept}");
                assert!(kept.contains(HIDDEN), "{kept}");
            }
        }
    }

    #[test]
    fn credentials_in_texts_are_hidden() {
        let kept = of(r#"["curl -H 'Authorization: Bearer s3cret-1' and basic s3cret-2 end"]"#);
        assert_eq!(
            kept,
            r#"["curl -H 'Authorization: Bearer *** and basic *** end"]"#
        );
    }

    #[test]
    fn everything_else_stays() {
        for text in [
            r#"{"keyboard":"a","max_tokens":5,"monkey":"b","secretary":"c","token":null,"uses_password":true}"#,
            r#"[1,-2.5,"{no json","[nor this","ßẞ",{}]"#,
            "7",
        ] {
            assert_eq!(of(text), text);
        }
    }

    #[test]
    fn only_the_beginning_of_a_long_text_is_kept_and_never_half_a_character() {
        let kept = of(&format!(r#""{}""#, "ß".repeat(EXECUTION_TEXT_BYTES_MAX)));
        assert!(kept.len() <= EXECUTION_TEXT_BYTES_MAX && kept.len() > EXECUTION_TEXT_BYTES_MAX - 2);
        assert!(kept.ends_with('ß'));
    }

    #[test]
    fn what_cannot_be_read_is_not_kept() {
        let long = format!(r#""{}""#, "a".repeat(EXECUTION_TEXT_READ_BYTES_MAX));
        let deep = "[".repeat(1_000) + &"]".repeat(1_000);
        for text in [long.as_str(), &deep, "{", ""] {
            assert_eq!(kept(&Bytes::copy_from_slice(text.as_bytes())), None);
        }
    }
}
