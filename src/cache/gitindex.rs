//! The paths that git tracks: a tracked file is never ignored, whatever `.gitignore` says.
//!
//! Reads git's index file (versions 2 to 4, see git's `index-format`); only the names are wanted, so a parser
//! of a screen's length is a thousandth of what a git library brings. What it can't read it says so, and
//! the caller asks git itself.

/// Paths relative to the repository's top, sorted as bytes.
pub struct Tracked {
    paths: Vec<Box<[u8]>>,
}

impl Tracked {
    pub fn new(mut paths: Vec<Box<[u8]>>) -> Self {
        paths.sort_unstable();
        Self { paths }
    }

    pub fn contains(&self, path: &str) -> bool {
        self.paths
            .binary_search_by(|probe| (**probe).cmp(path.as_bytes()))
            .is_ok()
    }

    /// Whether a tracked path lies below the directory.
    pub fn any_below(&self, directory: &str) -> bool {
        let prefix = format!("{directory}/");
        let at = self
            .paths
            .partition_point(|path| **path < *prefix.as_bytes());
        self.paths
            .get(at)
            .is_some_and(|path| path.starts_with(prefix.as_bytes()))
    }
}

/// The names in an index file with object names of 20 bytes; none where the file is of another kind
/// (a split or sparse index, SHA-256, damage).
pub fn parse(bytes: &[u8]) -> Option<Tracked> {
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    if bytes.get(..4)? != b"DIRC" {
        return None;
    }
    let (version, count) = (word(4)?, word(8)?);
    if !(2..=4).contains(&version) {
        return None;
    }
    let mut paths: Vec<Box<[u8]>> = Vec::with_capacity((count as usize).min(bytes.len() / 62));
    let mut at = 12;
    for _ in 0..count {
        let flags = u16::from_be_bytes(bytes.get(at + 60..at + 62)?.try_into().ok()?);
        let extended = version >= 3 && flags & 0x4000 != 0;
        let name_at = at + if extended { 64 } else { 62 };
        if version == 4 {
            let (strip, read) = offset(bytes.get(name_at..)?)?;
            let suffix = until_nul(bytes.get(name_at + read..)?)?;
            let previous: &[u8] = paths.last().map_or(&[], |path| path);
            let kept = previous.get(..previous.len().checked_sub(strip)?)?;
            paths.push([kept, suffix].concat().into());
            at = name_at + read + suffix.len() + 1;
        } else {
            let name = until_nul(bytes.get(name_at..)?)?;
            paths.push(name.into());
            // Padded with one to eight NULs to a multiple of eight.
            at += (name_at - at + name.len() + 8) & !7;
        }
    }
    let rest = bytes.get(at..bytes.len().checked_sub(20)?)?;
    let special = [b"link".as_slice(), b"sdir"];
    if extensions(rest)?
        .iter()
        .any(|name| special.contains(&name.as_slice()))
    {
        return None;
    }
    Some(Tracked::new(paths))
}

/// The names of the extensions that follow the entries; none where the entries didn't end where they should.
fn extensions(mut rest: &[u8]) -> Option<Vec<[u8; 4]>> {
    let mut names = Vec::new();
    while !rest.is_empty() {
        let name: [u8; 4] = rest.get(..4)?.try_into().ok()?;
        let length = u32::from_be_bytes(rest.get(4..8)?.try_into().ok()?) as usize;
        names.push(name);
        rest = rest.get(8..)?.get(length..)?;
    }
    Some(names)
}

fn until_nul(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    Some(&bytes[..end])
}

/// Git's variable-width offset encoding, and how many bytes it took.
fn offset(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = usize::from(bytes.first()? & 0x7f);
    let mut read = 1;
    while bytes.get(read - 1)? & 0x80 != 0 {
        let byte = *bytes.get(read)?;
        value = value.checked_add(1)?.checked_mul(128)? | usize::from(byte & 0x7f);
        read += 1;
    }
    Some((value, read))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    fn git(dir: &Path, args: &[&str]) {
        let status = Command::new("git").current_dir(dir).args(args).status();
        assert!(status.expect("git starts").success());
    }

    #[test]
    fn reads_what_git_writes_in_every_version() {
        let dir = tempfile::tempdir().expect("a directory");
        git(dir.path(), &["init", "-q"]);
        let names = ["a", "b/c.txt", "b/cc.txt", "dir with space/é", "z"];
        for name in names {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
            std::fs::write(path, name).expect("written");
        }
        git(dir.path(), &["add", "."]);
        for version in ["2", "4"] {
            git(dir.path(), &["update-index", "--index-version", version]);
            let bytes = std::fs::read(dir.path().join(".git/index")).expect("read");
            let tracked = parse(&bytes).expect("understood");
            assert!(
                names.iter().all(|name| tracked.contains(name)),
                "version {version}"
            );
            assert!(tracked.any_below("b") && !tracked.any_below("a") && !tracked.contains("b/c"));
        }
    }

    #[test]
    fn a_cut_index_is_not_half_an_index() {
        let dir = tempfile::tempdir().expect("a directory");
        git(dir.path(), &["init", "-q"]);
        for name in 0..20 {
            std::fs::write(dir.path().join(format!("file-{name}")), "").expect("written");
        }
        git(dir.path(), &["add", "."]);
        let bytes = std::fs::read(dir.path().join(".git/index")).expect("read");
        for length in 0..bytes.len() {
            let cut = parse(&bytes[..length]);
            assert!(
                cut.is_none_or(|tracked| tracked.paths.len() == 20),
                "{length}"
            );
        }
    }
}
