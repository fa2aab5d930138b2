//! A record as it lies on a remote: what a key gave, under a seal that says who put it there and for which key.
//!
//! The seal is a keyed digest over the format, the key and the record. Its key is derived from a secret that all who
//! share the remote know; without one it is derived from nothing, and guards against damage alone.

use serde::{Deserialize, Serialize};

use crate::cache::digest::Digest;

/// The format; another one is none.
const FORMAT: &[u8] = b"forge record 1\n";
/// Says what the derived key is for.
const PURPOSE: &str = "forge: seal of a remote cache record, version 1";
/// Bytes of a seal.
const SEAL: usize = 32;

/// A content that is to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

/// What is under the seal. The preimage isn't: whoever asks for a key has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    pub manifest: Blob,
    /// [`crate::cache::manifest::Manifest::digest`].
    pub outputs: Digest,
    pub log: Blob,
    pub duration_ms: u64,
}

/// Makes and checks seals.
pub struct Sealer {
    key: [u8; 32],
    /// It is made from a secret.
    is_secret: bool,
}

impl Sealer {
    pub fn new(secret: Option<&str>) -> Self {
        let secret = secret.map(str::trim).unwrap_or_default();
        Self {
            key: blake3::derive_key(PURPOSE, secret.as_bytes()),
            is_secret: !secret.is_empty(),
        }
    }

    pub fn seal(&self, key: &Digest, record: &Sealed) -> Vec<u8> {
        // Our own plain structure: nothing in it can fail to be written.
        let payload = postcard::to_stdvec(record).unwrap_or_default();
        let seal = self.over(key, &payload);
        [FORMAT, seal.as_bytes(), &payload].concat()
    }

    /// # Errors
    /// Why it isn't what somebody with the same secret put there for this key.
    pub fn open(&self, key: &Digest, bytes: &[u8]) -> Result<Sealed, &'static str> {
        let rest = bytes.strip_prefix(FORMAT);
        let (seal, payload) = rest
            .and_then(|rest| rest.split_first_chunk::<SEAL>())
            .ok_or("it is no signed record")?;
        // Compared in constant time.
        if self.over(key, payload) != *seal {
            return Err(match self.is_secret {
                true => {
                    "its record is damaged, or isn't signed for this key with the FORGE_REMOTE_SECRET given here"
                }
                false => {
                    "its record is damaged, or is signed with a FORGE_REMOTE_SECRET, which isn't set here"
                }
            });
        }
        postcard::from_bytes(payload).map_err(|_| "its record can't be read")
    }

    fn over(&self, key: &Digest, payload: &[u8]) -> blake3::Hash {
        // Only the last one has no fixed length.
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(FORMAT).update(&key.0).update(payload);
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Sealed {
        let blob = |text: &[u8]| Blob {
            digest: Digest::of(text),
            size: text.len() as u64,
        };
        Sealed {
            manifest: blob(b"manifest"),
            outputs: Digest::of(b"outputs"),
            log: blob(b"log"),
            duration_ms: 12,
        }
    }

    #[test]
    fn a_seal_holds_for_one_key_and_one_secret() {
        let (ours, key) = (Sealer::new(Some("hunter2")), Digest::of(b"key"));
        let sealed = ours.seal(&key, &record());
        assert_eq!(ours.open(&key, &sealed), Ok(record()));
        let again = Sealer::new(Some("hunter2\n")).open(&key, &sealed);
        assert_eq!(again, Ok(record()), "a line end is no part of a secret");
        assert!(ours.open(&Digest::of(b"other"), &sealed).is_err());
        for other in [None, Some(""), Some("hunter3")] {
            assert!(Sealer::new(other).open(&key, &sealed).is_err());
            let theirs = Sealer::new(other).seal(&key, &record());
            assert!(ours.open(&key, &theirs).is_err());
        }
    }

    #[test]
    fn every_byte_counts() {
        let (sealer, key) = (Sealer::new(None), Digest::of(b"key"));
        let sealed = sealer.seal(&key, &record());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open(&key, &changed).is_err(), "byte {at}");
            assert!(sealer.open(&key, &sealed[..at]).is_err(), "cut at {at}");
        }
        assert!(sealer.open(&key, b"<html>not found</html>").is_err());
    }
}
