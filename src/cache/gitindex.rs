//! The paths that git tracks: a tracked file is never ignored, whatever `.gitignore` says.
//!
//! Reads git's index file (versions 2 to 4, see git's `index-format`); only the names are wanted, so a parser
//! of a screen's length is a thousandth of what a git library brings. What it can't read it says so, and
//! the caller asks git itself.

/// Paths relative to the repository's top, sorted as bytes.
#[derive(Default)]
pub struct Tracked {
    paths: Vec<Box<[u8]>>,
    /// Those where the commit of another repository is tracked, in no order.
    modules: Vec<String>,
}

impl Tracked {
    pub fn new(mut paths: Vec<Box<[u8]>>, modules: Vec<String>) -> Self {
        paths.sort_unstable();
        Self { paths, modules }
    }

    pub fn modules(&self) -> &[String] {
        &self.modules
    }

    /// Adds what the repository in a directory tracks.
    pub fn add(&mut self, directory: &str, inner: &Tracked) {
        let prefix = format!("{directory}/");
        let paths = inner.paths.iter();
        self.paths
            .extend(paths.map(|path| [prefix.as_bytes(), path].concat().into()));
        self.paths.sort_unstable();
        let modules = inner.modules.iter();
        self.modules
            .extend(modules.map(|module| format!("{prefix}{module}")));
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

/// The mode of an entry that is the commit of another repository.
const MODULE: u32 = 0o160_000;

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
    let mut modules = Vec::new();
    let mut at = 12;
    for _ in 0..count {
        let is_module = word(at + 24)? == MODULE;
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
        let module = paths.last().filter(|_| is_module);
        modules.extend(module.and_then(|path| Some(std::str::from_utf8(path).ok()?.to_owned())));
    }
    let rest = bytes.get(at..bytes.len().checked_sub(20)?)?;
    let special = [b"link".as_slice(), b"sdir"];
    if extensions(rest)?
        .iter()
        .any(|name| special.contains(&name.as_slice()))
    {
        return None;
    }
    Some(Tracked::new(paths, modules))
}

/// The same from what `git ls-files -s -z` says.
pub fn listed(text: &[u8]) -> Tracked {
    let mut all = Tracked::default();
    for entry in text.split(|&byte| byte == 0) {
        let Some(tab) = entry.iter().position(|&byte| byte == b'\t') else {
            continue;
        };
        let name = &entry[tab + 1..];
        if let (true, Ok(module)) = (entry.starts_with(b"160000 "), std::str::from_utf8(name)) {
            all.modules.push(module.to_owned());
        }
        all.paths.push(name.into());
    }
    Tracked::new(all.paths, all.modules)
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
    fn what_git_lists_is_read_like_the_index() {
        let tracked = listed(b"100644 a1 0\ta b/c\x00160000 b2 0\tlib/x\x00120000 c3 0\tz\x00");
        assert!(
            ["a b/c", "lib/x", "z"]
                .iter()
                .all(|name| tracked.contains(name))
        );
        assert_eq!(tracked.modules(), ["lib/x"]);
        assert!(listed(b"").paths.is_empty());
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
