//! Where a path leads in the eyes of another process: its root, its working directory, its descriptors, and the links on
//! the way. The kernel does the same when the call goes on; done before, it also tells which links were passed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use super::Found;

/// As many as the kernel follows before it gives up.
const MOST_LINKS: usize = 40;

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub struct Resolved {
    pub path: PathBuf,
    pub found: Found,
    /// The links on the way, where they are.
    pub links: Vec<PathBuf>,
}

/// A process as `/proc` knows it.
#[derive(Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    /// The directory that relative paths start at; of a descriptor what it stands for.
    pub fn base(self, descriptor: i32) -> io::Result<PathBuf> {
        fs::read_link(match descriptor {
            libc::AT_FDCWD => format!("/proc/{}/cwd", self.0),
            number => format!("/proc/{}/fd/{number}", self.0),
        })
    }

    pub fn root(self) -> io::Result<PathBuf> {
        fs::read_link(format!("/proc/{}/root", self.0))
    }

    /// Follows `path` from `base`, in a tree that begins at `root`; a link at its very end only if `follow`.
    pub fn resolve(self, root: &Path, base: &Path, path: &Path, follow: bool) -> Resolved {
        let mut here = if path.is_absolute() { root } else { base }.to_path_buf();
        let mut left = steps(path);
        let follow = follow || path.as_os_str().as_bytes().ends_with(b"/");
        let mut links = Vec::new();
        let mut found = None;
        while let Some(step) = left.pop() {
            if step == ".." {
                if here != root {
                    here.pop();
                }
                found = None;
                continue;
            }
            let name = self.own_name(&here, &step);
            here.push(name.as_deref().unwrap_or(&step));
            let kind = kind_of(&here);
            found = Some(kind);
            match kind {
                Found::Link if (follow || !left.is_empty()) && links.len() < MOST_LINKS => {
                    let Ok(to) = fs::read_link(&here) else { break };
                    if !is_path(&here, &to) {
                        found = Some(Found::Other);
                        break;
                    }
                    links.push(here.clone());
                    here.pop();
                    if to.is_absolute() {
                        here = root.to_path_buf();
                    }
                    left.extend(steps(&to));
                    found = None;
                }
                Found::Directory => {}
                _ if left.is_empty() => {}
                _ => {
                    // Nothing can be below it.
                    here.extend(left.drain(..).rev());
                    found = Some(Found::Nothing);
                }
            }
        }
        let found = found.unwrap_or_else(|| kind_of(&here));
        Resolved {
            path: here,
            found,
            links,
        }
    }

    /// `/proc/self` is another one for forge.
    fn own_name(self, here: &Path, step: &OsStr) -> Option<OsString> {
        if here != Path::new("/proc") {
            return None;
        }
        match step.to_str()? {
            "self" | "thread-self" => Some(self.0.to_string().into()),
            _ => None,
        }
    }
}

/// Links of `/proc` may lead to what has no path: `pipe:[4026]`.
fn is_path(link: &Path, to: &Path) -> bool {
    !link.starts_with("/proc") || to.is_absolute()
}

/// The steps of a path, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    let steps = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    steps.rev().map(|part| part.as_os_str().into()).collect()
}

fn kind_of(path: &Path) -> Found {
    match fs::symlink_metadata(path).map(|metadata| metadata.file_type()) {
        Err(_) => Found::Nothing,
        Ok(kind) if kind.is_file() => Found::File,
        Ok(kind) if kind.is_dir() => Found::Directory,
        Ok(kind) if kind.is_symlink() => Found::Link,
        Ok(kind) => {
            debug_assert!(
                kind.is_char_device()
                    || kind.is_block_device()
                    || kind.is_fifo()
                    || kind.is_socket()
            );
            Found::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn resolve(base: &Path, path: &str, follow: bool) -> (String, Found, Vec<String>) {
        let me = Process(std::process::id());
        let resolved = me.resolve(Path::new("/"), base, Path::new(path), follow);
        let inside = |path: &Path| {
            let path = path.strip_prefix(base).unwrap_or(path);
            path.to_str().expect("UTF-8").to_owned()
        };
        let links = resolved.links.iter().map(|link| inside(link)).collect();
        (inside(&resolved.path), resolved.found, links)
    }

    #[test]
    fn a_path_leads_where_the_kernel_says_and_its_links_are_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let base = dir.path().canonicalize().expect("there");
        fs::create_dir_all(base.join("v1/sub")).expect("made");
        fs::write(base.join("v1/sub/a"), "").expect("written");
        symlink("v1", base.join("now")).expect("linked");
        symlink("../now/sub/a", base.join("v1/b")).expect("linked");
        symlink("loop", base.join("loop")).expect("linked");
        let links = |names: &[&str]| {
            names
                .iter()
                .map(|name| name.to_string())
                .collect::<Vec<_>>()
        };
        for (path, follow, answer) in [
            ("v1/sub/a", true, ("v1/sub/a", Found::File, vec![])),
            (
                "./v1//sub/../sub/a",
                true,
                ("v1/sub/a", Found::File, vec![]),
            ),
            (
                "now/sub",
                true,
                ("v1/sub", Found::Directory, links(&["now"])),
            ),
            ("now", false, ("now", Found::Link, vec![])),
            ("now/", false, ("v1", Found::Directory, links(&["now"]))),
            (
                "now/../v1/b",
                true,
                ("v1/sub/a", Found::File, links(&["now", "v1/b", "now"])),
            ),
            ("v1/none/x", true, ("v1/none/x", Found::Nothing, vec![])),
            ("v1/sub/a/x", true, ("v1/sub/a/x", Found::Nothing, vec![])),
            (".", true, ("", Found::Directory, vec![])),
        ] {
            let (expected, found, passed) = answer;
            assert_eq!(
                resolve(&base, path, follow),
                (expected.to_owned(), found, passed),
                "{path}"
            );
        }
        assert_eq!(resolve(&base, "loop", true).2.len(), MOST_LINKS);
        let own = resolve(&base, "/proc/self/cwd", true).0;
        assert_eq!(PathBuf::from(own), std::env::current_dir().expect("there"));
    }
}
