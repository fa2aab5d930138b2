//! Fixed runs of bytes in records: read at once, not number by number. A snapshot holds tens of thousands of them.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Reads exactly `N` bytes.
///
/// # Errors
/// There are more or fewer.
pub fn array<'de, const N: usize, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    deserializer.deserialize_bytes(Bytes::<N>)
}

struct Bytes<const N: usize>;

impl<const N: usize> Visitor<'_> for Bytes<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{N} bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        bytes
            .try_into()
            .map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}
