//! What `lstat` says of a file: enough to know, later, that it is still the same.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::packed;

/// More than any tick of a file system that keeps nanoseconds.
pub const TICK: i64 = 20_000_000;
/// Of one that keeps (at best) seconds.
const COARSE_TICK: i64 = 2_000_000_000;

/// What kind of thing a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Link,
    /// A socket, a pipe, a device.
    Other,
}

/// The fields that change when a file does. Two equal ones mean the same content only with the rule that
/// [`super::index`] keeps for files that changed a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    /// Type and permissions.
    pub mode: u32,
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    /// Nanoseconds since 1970.
    pub ctime: i64,
}

impl Stat {
    pub fn kind(&self) -> Kind {
        match self.mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File,
            libc::S_IFDIR => Kind::Directory,
            libc::S_IFLNK => Kind::Link,
            _ => Kind::Other,
        }
    }

    /// Whether the owner may execute it: all that a key knows of permissions.
    pub fn executable(&self) -> bool {
        self.mode & 0o100 != 0
    }

    /// Whether a change after `moment`, by the file system's clock, gives it another stat: it changed so long before that the clock
    /// has ticked.
    pub fn is_settled(&self, moment: i64) -> bool {
        let coarse = self.mtime % 1_000_000_000 == 0 && self.ctime % 1_000_000_000 == 0;
        let tick = if coarse { COARSE_TICK } else { TICK };
        self.newest() < moment.saturating_sub(tick)
    }

    /// The later of the two times: what a later change can't be older than.
    pub fn newest(&self) -> i64 {
        self.mtime.max(self.ctime)
    }
}

/// Bytes of a packed [`Stat`].
const PACKED: usize = 44;

impl Stat {
    /// All fields, one after the other.
    pub fn packed(&self) -> [u8; PACKED] {
        let mut bytes = [0; PACKED];
        let numbers = [
            self.dev,
            self.ino,
            self.size,
            self.mtime as u64,
            self.ctime as u64,
        ];
        for (to, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        bytes[40..].copy_from_slice(&self.mode.to_le_bytes());
        bytes
    }
}

impl Serialize for Stat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.packed())
    }
}

impl<'de> Deserialize<'de> for Stat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: [u8; PACKED] = packed::array(deserializer)?;
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at * 8..at * 8 + 8]);
            u64::from_le_bytes(number)
        };
        let mode = u32::from_le_bytes([bytes[40], bytes[41], bytes[42], bytes[43]]);
        Ok(Self {
            dev: number(0),
            ino: number(1),
            mode,
            size: number(2),
            mtime: number(3) as i64,
            ctime: number(4) as i64,
        })
    }
}

impl From<&libc::stat> for Stat {
    // On some systems the fields have these types already.
    #[allow(clippy::unnecessary_cast)]
    fn from(stat: &libc::stat) -> Self {
        Self {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            mode: stat.st_mode as u32,
            size: stat.st_size as u64,
            mtime: nanos(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime: nanos(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }
}

fn nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

impl From<&Metadata> for Stat {
    fn from(metadata: &Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            mode: metadata.mode(),
            size: metadata.size(),
            mtime: nanos(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanos(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
