//! The signature of a webhook: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, under the secret's own
//! bytes. Any of several may match (a secret that is being changed); compared in constant time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::Secret;
use crate::limits::WEBHOOK_AGE_MAX;

/// A webhook as it came.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`.
    pub timestamp: &'a str,
    /// `webhook-signature`.
    pub signature: &'a str,
    /// The body, byte by byte.
    pub body: &'a [u8],
}

/// Why a webhook is not taken for Composio's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefused {
    /// `webhook-timestamp` is no time.
    #[error("webhook-timestamp is no number of seconds")]
    NoTime,
    /// Too old, or of the future.
    #[error("the webhook's time is not within {} s of ours", WEBHOOK_AGE_MAX.as_secs())]
    Stale,
    /// No signature fits.
    #[error("no signature fits the webhook")]
    Unsigned,
}

/// Tells whether a webhook is signed with a secret and fresh.
///
/// # Errors
/// [`WebhookRefused`], by cause. The signature is looked at first: nobody learns our clock without one.
pub fn verify_webhook(secret: &Secret, signed: &Signed<'_>, now_unix_s: u64) -> Result<(), WebhookRefused> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).map_err(|_| WebhookRefused::Unsigned)?;
    mac.update(signed.id.as_bytes());
    mac.update(b".");
    mac.update(signed.timestamp.as_bytes());
    mac.update(b".");
    mac.update(signed.body);
    let fits = |signature: &str| {
        let sent = signature
            .strip_prefix("v1,")
            .and_then(|sent| STANDARD.decode(sent).ok());
        sent.is_some_and(|sent| mac.clone().verify_slice(&sent).is_ok())
    };
    if !signed.signature.split_ascii_whitespace().any(fits) {
        return Err(WebhookRefused::Unsigned);
    }
    let sent: u64 = signed.timestamp.parse().map_err(|_| WebhookRefused::NoTime)?;
    if sent.abs_diff(now_unix_s) > WEBHOOK_AGE_MAX.as_secs() {
        return Err(WebhookRefused::Stale);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn secret() -> Secret {
        Secret::new("whsec_dGVzdA==".to_owned())
    }

    fn signature(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(&[format!("{id}.{timestamp}.").as_bytes(), body].concat());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    fn told(signature: &str, timestamp: &str, body: &[u8]) -> Result<(), WebhookRefused> {
        let signed = Signed {
            id: "msg_1",
            timestamp,
            signature,
            body,
        };
        verify_webhook(&secret(), &signed, NOW)
    }

    #[test]
    fn a_known_signature_fits() {
        // From `printf 'msg_1.1800000000.{}' | openssl dgst -sha256 -hmac 'whsec_dGVzdA==' -binary | base64`.
        let known = "v1,jc4A11Puw16Mtk1mGMnjq/Rh0x59VA3BswLeRJL39UE=";
        assert_eq!(told(known, "1800000000", b"{}"), Ok(()));
    }

    #[test]
    fn any_one_of_several_signatures_will_do() {
        let right = signature("whsec_dGVzdA==", "msg_1", "1800000000", b"{}");
        let wrong = signature("another", "msg_1", "1800000000", b"{}");
        assert_eq!(told(&format!("{wrong} {right}"), "1800000000", b"{}"), Ok(()));
        assert_eq!(told(&format!("v2,x {right} junk"), "1800000000", b"{}"), Ok(()));
    }

    #[test]
    fn whatever_is_changed_the_signature_fits_no_more() {
        let right = signature("whsec_dGVzdA==", "msg_1", "1800000000", b"{}");
        let refused = Err(WebhookRefused::Unsigned);
        assert_eq!(told(&right, "1800000000", b"{ }"), refused);
        assert_eq!(told(&right, "1800000001", b"{}"), refused);
        let other = signature("whsec_dGVzdA==", "msg_2", "1800000000", b"{}");
        assert_eq!(told(&other, "1800000000", b"{}"), refused);
        // The secret's own bytes, not what its base64 decodes to.
        let decoded = signature("test", "msg_1", "1800000000", b"{}");
        assert_eq!(told(&decoded, "1800000000", b"{}"), refused);
        for text in ["", "v1,", "v1", right.trim_start_matches("v1,"), "v1,AAAA"] {
            assert_eq!(told(text, "1800000000", b"{}"), refused, "{text}");
        }
    }

    #[test]
    fn it_is_good_for_300_seconds_either_way_and_no_longer() {
        for (time, outcome) in [
            ("1799999700", Ok(())),
            ("1800000300", Ok(())),
            ("1799999699", Err(WebhookRefused::Stale)),
            ("1800000301", Err(WebhookRefused::Stale)),
            ("now", Err(WebhookRefused::NoTime)),
            ("-1", Err(WebhookRefused::NoTime)),
        ] {
            let right = signature("whsec_dGVzdA==", "msg_1", time, b"{}");
            assert_eq!(told(&right, time, b"{}"), outcome, "{time}");
        }
    }
}
