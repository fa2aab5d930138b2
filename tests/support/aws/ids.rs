//! Names that nobody else has. Knows nothing of what they name.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

/// Lower-case hexadecimal digits, at most 64.
pub fn hex(length: usize) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = format!("{} {number} {time:?}", std::process::id());
    sha256(seed.as_bytes())[..length].to_owned()
}

/// Decimal digits that don't begin with 0, as ECS names deployments.
pub fn digits(length: usize) -> String {
    let digit = |(index, c): (usize, char)| {
        let value = c.to_digit(16).unwrap_or_default() % 10;
        char::from_digit(if index == 0 { 1 + value % 9 } else { value }, 10)
    };
    let digits = hex(length);
    digits.chars().enumerate().filter_map(digit).collect()
}

pub fn uuid() -> String {
    let hex = hex(32);
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

pub fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
