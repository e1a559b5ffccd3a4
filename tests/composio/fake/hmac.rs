//! HMAC-SHA256 (RFC 2104), with which webhooks are signed.

use sha2::{Digest as _, Sha256};

const BLOCK: usize = 64;

pub(super) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let hashed = |pad: u8, rest: &[u8]| {
        let mut hash = Sha256::new();
        hash.update(block.map(|byte| byte ^ pad));
        hash.update(rest);
        <[u8; 32]>::from(hash.finalize())
    };
    hashed(0x5c, &hashed(0x36, message))
}
