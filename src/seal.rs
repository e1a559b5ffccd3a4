//! What clients hold and hand back (session ids, cursors, event ids, `requestState`), sealed: authenticated
//! encryption bound to a purpose and a principal, with an expiry inside. XChaCha20-Poly1305, random nonces.
//! Text form: base64url without padding of `key id (4) ‖ nonce (24) ‖ ciphertext of (expiry (8) ‖ payload) ‖ tag (16)`.
//! Never authenticates anybody: what opens still has to belong to the caller, which the binding enforces.

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

use crate::clock;
use crate::limits;

/// Bytes of a sealing key.
pub const KEY_BYTES: usize = 32;

const KEY_ID_BYTES: usize = 4;
/// Characters of a text that say nothing but the key's id.
const KEY_ID_CHARS: usize = KEY_ID_BYTES * 8 / 6;
const NONCE_BYTES: usize = 24;
const EXPIRY_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
const OVERHEAD_BYTES: usize = KEY_ID_BYTES + NONCE_BYTES + EXPIRY_BYTES + TAG_BYTES;
/// Separates these texts from anything else that might ever be encrypted with the same key.
const DOMAIN: &[u8] = b"toolgate sealed text 1";

/// What a sealed text is for. A text sealed for one purpose does not open for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// `Mcp-Session-Id` of a legacy client.
    Session,
    /// `nextCursor` of a list.
    Cursor,
    /// `requestState` of an `input_required` result.
    RequestState,
    /// The id of a server-sent event, which comes back as `Last-Event-ID`.
    EventId,
    /// The id of a task at a gateway.
    TaskId,
    /// A secret in the store.
    Stored,
}

impl Purpose {
    /// Returns how long a sealed text of this purpose may be, in bytes.
    #[must_use]
    pub const fn text_bytes_max(self) -> usize {
        match self {
            Self::Session | Self::Cursor | Self::EventId | Self::TaskId => limits::SEALED_ID_BYTES_MAX,
            Self::RequestState => limits::REQUEST_STATE_BYTES_MAX,
            Self::Stored => limits::STORED_SECRET_BYTES_MAX,
        }
    }

    const fn tag(self) -> u8 {
        match self {
            Self::Session => 1,
            Self::Cursor => 2,
            Self::RequestState => 3,
            Self::EventId => 4,
            Self::TaskId => 5,
            Self::Stored => 6,
        }
    }
}

/// A text did not open: tampered with, foreign, for another purpose or principal, expired or too long.
/// Which of these is not told, so that nobody learns anything by trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid sealed text")]
pub struct SealError;

/// A payload would make a text longer than its purpose allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a payload of {payload_bytes} bytes is too long to seal")]
pub struct TooLong {
    /// Bytes of the payload that was refused.
    pub payload_bytes: usize,
}

/// Seals and opens with a ring of at most [`limits::SEAL_KEYS_MAX`] keys: the newest seals, all open.
pub struct Sealer {
    ring: ArcSwap<Vec<SealingKey>>,
}

#[derive(Clone)]
struct SealingKey {
    id: [u8; KEY_ID_BYTES],
    cipher: XChaCha20Poly1305,
}

impl SealingKey {
    fn new(key: &[u8; KEY_BYTES]) -> Self {
        let mut id = [0; KEY_ID_BYTES];
        let digest = Sha256::new().chain_update(DOMAIN).chain_update(key).finalize();
        for (to, from) in id.iter_mut().zip(digest) {
            *to = from;
        }
        Self {
            id,
            cipher: XChaCha20Poly1305::new(key.into()),
        }
    }
}

impl Sealer {
    /// Makes a sealer with a fresh random key: what it sealed is worthless after a restart.
    #[must_use]
    pub fn random() -> Self {
        Self::new(&clock::random())
    }

    /// Makes a sealer with a key that was kept elsewhere. The key must be random and used for nothing else.
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self {
            ring: ArcSwap::from_pointee(vec![SealingKey::new(key)]),
        }
    }

    /// Takes a new key into use. The keys before it go on opening until the ring is full and the oldest falls out.
    pub fn rotate(&self, key: &[u8; KEY_BYTES]) {
        let newest = SealingKey::new(key);
        self.ring.rcu(|ring| {
            std::iter::once(&newest)
                .chain(ring.iter().filter(|old| old.id != newest.id))
                .take(limits::SEAL_KEYS_MAX)
                .cloned()
                .collect::<Vec<_>>()
        });
    }

    /// Tells whether a text was sealed with the newest key. Says nothing of whether it opens.
    #[must_use]
    pub fn is_newest(&self, text: &str) -> bool {
        let newest = self.ring.load();
        // Whole characters of the key's id only: the last one also holds bits of the nonce.
        let prefix = newest.first().map(|key| URL_SAFE_NO_PAD.encode(key.id));
        prefix.is_some_and(|prefix| text.get(..KEY_ID_CHARS) == prefix.get(..KEY_ID_CHARS))
    }

    /// Seals a payload for one purpose and one principal until `expires_unix_s`. The text is visible ASCII.
    ///
    /// # Errors
    /// [`TooLong`] when the text would be longer than [`Purpose::text_bytes_max`].
    pub fn seal(
        &self,
        purpose: Purpose,
        binding: &[u8],
        payload: &[u8],
        expires_unix_s: u64,
    ) -> Result<String, TooLong> {
        let too_long = TooLong {
            payload_bytes: payload.len(),
        };
        let sealed_bytes = payload.len().saturating_add(OVERHEAD_BYTES);
        if text_bytes(sealed_bytes) > purpose.text_bytes_max() {
            return Err(too_long);
        }
        let ring = self.ring.load();
        let key = ring.first().ok_or(too_long)?;
        let nonce: [u8; NONCE_BYTES] = clock::random();
        let plain = [&expires_unix_s.to_be_bytes(), payload].concat();
        let secret = key
            .cipher
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: &plain,
                    aad: &associated(purpose, key.id, binding),
                },
            )
            .map_err(|_| too_long)?;
        let mut sealed = Vec::with_capacity(sealed_bytes);
        sealed.extend_from_slice(&key.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&secret);
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens a text that was sealed for the same purpose and principal and has not expired at `now_unix_s`.
    ///
    /// # Errors
    /// [`SealError`], the same whatever is wrong with the text.
    pub fn open(
        &self,
        purpose: Purpose,
        binding: &[u8],
        text: &str,
        now_unix_s: u64,
    ) -> Result<Vec<u8>, SealError> {
        if text.len() > purpose.text_bytes_max() {
            return Err(SealError);
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| SealError)?;
        let (id, rest) = sealed.split_first_chunk::<KEY_ID_BYTES>().ok_or(SealError)?;
        let (nonce, secret) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError)?;
        let ring = self.ring.load();
        let key = ring.iter().find(|key| key.id == *id).ok_or(SealError)?;
        let plain = key
            .cipher
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: secret,
                    aad: &associated(purpose, key.id, binding),
                },
            )
            .map_err(|_| SealError)?;
        let (expiry, payload) = plain.split_first_chunk::<EXPIRY_BYTES>().ok_or(SealError)?;
        if now_unix_s >= u64::from_be_bytes(*expiry) {
            return Err(SealError);
        }
        Ok(payload.to_vec())
    }
}

/// Keys are never printed.
impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("keys", &self.ring.load().len())
            .finish()
    }
}

/// What is authenticated beside the ciphertext. Only the last part varies in length, so no two triples look alike.
fn associated(purpose: Purpose, key_id: [u8; KEY_ID_BYTES], binding: &[u8]) -> Vec<u8> {
    [DOMAIN, &[purpose.tag()], &key_id, binding].concat()
}

/// Bytes of the base64 text of so many bytes.
const fn text_bytes(bytes: usize) -> usize {
    bytes.saturating_mul(4).div_ceil(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PURPOSES: [Purpose; 5] = [
        Purpose::Session,
        Purpose::Cursor,
        Purpose::RequestState,
        Purpose::EventId,
        Purpose::Stored,
    ];
    const NOW: u64 = 1_800_000_000;

    fn purpose() -> impl Strategy<Value = Purpose> {
        prop::sample::select(&PURPOSES[..])
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_for_the_same_purpose_and_principal(
            purpose in purpose(), binding: Vec<u8>, payload in prop::collection::vec(any::<u8>(), 0..2_000), life in 1u64..1_000_000,
        ) {
            let sealer = Sealer::random();
            let text = sealer.seal(purpose, &binding, &payload, NOW + life).unwrap();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
            prop_assert_eq!(sealer.open(purpose, &binding, &text, NOW + life - 1), Ok(payload));
        }

        #[test]
        fn a_flipped_bit_anywhere_in_the_sealed_bytes_is_refused(
            payload in prop::collection::vec(any::<u8>(), 0..64), at: prop::sample::Index, bit in 0u8..8,
        ) {
            let sealer = Sealer::random();
            let text = sealer.seal(Purpose::Session, b"alice", &payload, NOW + 1).unwrap();
            let mut sealed = URL_SAFE_NO_PAD.decode(&text).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(sealer.open(Purpose::Session, b"alice", &URL_SAFE_NO_PAD.encode(sealed), NOW), Err(SealError));
        }

        #[test]
        fn a_changed_character_anywhere_in_the_text_is_refused(
            payload in prop::collection::vec(any::<u8>(), 0..64), at: prop::sample::Index, with in "[A-Za-z0-9_-]",
        ) {
            let sealer = Sealer::random();
            let text = sealer.seal(Purpose::Session, b"alice", &payload, NOW + 1).unwrap();
            let at = at.index(text.len());
            prop_assume!(text[at..=at] != with);
            let changed = format!("{}{with}{}", &text[..at], &text[at + 1..]);
            prop_assert_eq!(sealer.open(Purpose::Session, b"alice", &changed, NOW), Err(SealError));
        }

        #[test]
        fn another_principal_does_not_open_it(mine: Vec<u8>, theirs: Vec<u8>, payload: Vec<u8>) {
            prop_assume!(mine != theirs);
            let sealer = Sealer::random();
            let text = sealer.seal(Purpose::Session, &mine, &payload, NOW + 1).unwrap();
            prop_assert_eq!(sealer.open(Purpose::Session, &theirs, &text, NOW), Err(SealError));
        }

        #[test]
        fn another_purpose_does_not_open_it(sealed in purpose(), opened in purpose(), payload: Vec<u8>) {
            prop_assume!(sealed != opened);
            let sealer = Sealer::random();
            let text = sealer.seal(sealed, b"alice", &payload, NOW + 1).unwrap();
            prop_assert_eq!(sealer.open(opened, b"alice", &text, NOW), Err(SealError));
        }

        #[test]
        fn any_text_at_all_is_refused_without_a_panic(text in ".{0,200}") {
            prop_assert_eq!(Sealer::random().open(Purpose::Cursor, b"alice", &text, NOW), Err(SealError));
        }
    }

    #[test]
    fn it_expires_at_the_second_that_it_names() {
        let sealer = Sealer::random();
        let text = sealer.seal(Purpose::Cursor, b"alice", b"x", NOW).unwrap();
        assert_eq!(
            sealer.open(Purpose::Cursor, b"alice", &text, NOW - 1),
            Ok(b"x".to_vec())
        );
        assert_eq!(sealer.open(Purpose::Cursor, b"alice", &text, NOW), Err(SealError));
    }

    #[test]
    fn every_truncation_is_refused() {
        let sealer = Sealer::random();
        let text = sealer
            .seal(Purpose::EventId, b"alice", b"event", NOW + 1)
            .unwrap();
        for end in 0..text.len() {
            assert_eq!(
                sealer.open(Purpose::EventId, b"alice", &text[..end], NOW),
                Err(SealError)
            );
        }
    }

    #[test]
    fn a_foreign_key_does_not_open_it() {
        let text = Sealer::new(&[1; KEY_BYTES])
            .seal(Purpose::Session, b"alice", b"x", NOW + 1)
            .unwrap();
        assert_eq!(
            Sealer::new(&[2; KEY_BYTES]).open(Purpose::Session, b"alice", &text, NOW),
            Err(SealError)
        );
        assert_eq!(
            Sealer::new(&[1; KEY_BYTES]).open(Purpose::Session, b"alice", &text, NOW),
            Ok(b"x".to_vec())
        );
    }

    #[test]
    fn a_rotated_key_opens_until_it_falls_out_of_the_ring() {
        let sealer = Sealer::new(&[0; KEY_BYTES]);
        let old = sealer.seal(Purpose::Session, b"alice", b"x", NOW + 1).unwrap();
        for key in 1..limits::SEAL_KEYS_MAX {
            sealer.rotate(&[u8::try_from(key).unwrap(); KEY_BYTES]);
            assert_eq!(
                sealer.open(Purpose::Session, b"alice", &old, NOW),
                Ok(b"x".to_vec())
            );
        }
        sealer.rotate(&[99; KEY_BYTES]);
        assert_eq!(sealer.open(Purpose::Session, b"alice", &old, NOW), Err(SealError));
        let new = sealer.seal(Purpose::Session, b"alice", b"y", NOW + 1).unwrap();
        assert_eq!(
            Sealer::new(&[99; KEY_BYTES]).open(Purpose::Session, b"alice", &new, NOW),
            Ok(b"y".to_vec())
        );
    }

    #[test]
    fn the_longest_payload_that_seals_also_opens_and_one_byte_more_is_refused() {
        for purpose in PURPOSES {
            let sealer = Sealer::random();
            let longest = purpose.text_bytes_max() * 3 / 4 - OVERHEAD_BYTES;
            let text = sealer
                .seal(purpose, b"alice", &vec![7; longest], NOW + 1)
                .unwrap();
            assert!(text.len() <= purpose.text_bytes_max());
            assert_eq!(sealer.open(purpose, b"alice", &text, NOW), Ok(vec![7; longest]));
            let more = sealer.seal(purpose, b"alice", &vec![7; longest + 1], NOW + 1);
            assert_eq!(
                more,
                Err(TooLong {
                    payload_bytes: longest + 1
                })
            );
        }
    }

    #[test]
    fn the_same_payload_sealed_twice_gives_two_texts() {
        let sealer = Sealer::random();
        let seal = || sealer.seal(Purpose::Session, b"alice", b"x", NOW + 1).unwrap();
        assert_ne!(seal(), seal());
    }
}
