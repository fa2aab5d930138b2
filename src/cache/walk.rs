//! What is on disk below the workspace: one walk for all targets.
//!
//! A walk lists directories level by level, the directories of one level on several threads, and stats every file
//! that git doesn't ignore. Knows nothing of targets: which files are whose inputs is
//! [`super::inputs`]'s question, what they hold [`super::index`]'s.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::WalkDir;

use super::directory::{Name, Names, Opened};
use super::ignored::{Ignores, Rules};
use super::inputs::InputError;
use super::repository::Untold;
use super::stat::Stat;
use crate::parallel;

/// So many directories are worth a thread: below that, starting it costs more than it saves.
const SHARE: usize = 16;

/// One directory: what git doesn't ignore, sorted by name.
#[derive(Debug, Default)]
pub struct Listing {
    /// The names of all files in one piece, since there are many.
    names: String,
    /// Where each name ends, and the file's stat.
    files: Vec<(u32, Stat)>,
    pub directories: Vec<Box<str>>,
    /// Paths below it with names that aren't UTF-8, made readable: nobody can declare them, so a target that would match one is refused.
    pub unreadable: Vec<String>,
}

impl Listing {
    /// Files and symbolic links.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Stat)> {
        let mut from = 0;
        self.files.iter().map(move |(to, stat)| {
            let name = &self.names[from..*to as usize];
            from = *to as usize;
            (name, stat)
        })
    }

    fn add(&mut self, name: &str, stat: Stat) -> io::Result<()> {
        self.names.push_str(name);
        let end = u32::try_from(self.names.len()).map_err(io::Error::other)?;
        self.files.push((end, stat));
        Ok(())
    }
}

/// The listed directories, by path relative to the workspace.
#[derive(Default)]
pub struct Tree {
    directories: HashMap<Box<str>, Listing>,
}

impl Tree {
    pub fn directory(&self, path: &str) -> Option<&Listing> {
        self.directories.get(path)
    }

    /// Of all listed directories, in no order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.directories.keys().map(|path| &**path)
    }
}

/// Lists directories as git sees them.
pub struct Walker {
    root: PathBuf,
    ignores: Ignores,
    /// Paths that are never listed: the cache directory, what targets make. By the directory that they lie in.
    skip: HashMap<Box<str>, HashSet<Box<str>>>,
}

impl Walker {
    /// `skip` holds workspace-relative paths.
    pub fn new(root: &Path, skip: impl IntoIterator<Item = String>) -> Self {
        let mut walker = Self {
            root: root.to_path_buf(),
            ignores: Ignores::new(root),
            skip: HashMap::new(),
        };
        for path in skip {
            let (parent, name) = split(&path);
            let names = match walker.skip.get_mut(parent) {
                Some(names) => names,
                None => walker.skip.entry(parent.into()).or_default(),
            };
            names.insert(name.into());
        }
        walker
    }

    /// Everything below the given directories. Those that don't exist are left out.
    ///
    /// # Errors
    /// A directory can't be read: its files may be inputs, so nothing may be said without them. The same holds where git may
    /// track what its rules ignore.
    pub fn walk(&self, bases: &[String]) -> Result<Tree, InputError> {
        let mut tree = Tree::default();
        self.walk_into(&mut tree, outermost(bases))?;
        // No walk comes through a link, unless it is where one begins.
        let missed = bases.iter().filter(|base| tree.directory(base).is_none());
        let missed: Vec<String> = missed.cloned().collect();
        self.walk_into(&mut tree, outermost(&missed))?;
        Ok(tree)
    }

    fn walk_into(&self, tree: &mut Tree, bases: Vec<String>) -> Result<(), InputError> {
        let mut level: Vec<(Box<str>, Option<Arc<Rules>>)> = Vec::new();
        for base in bases {
            if let Some(rules) = self.rules_at(&base)? {
                level.push((base.into_boxed_str(), rules));
            }
        }
        if level.is_empty() {
            return Ok(());
        }
        let root = Opened::root(&self.root).map_err(|error| with_path(error, &self.root))?;
        while !level.is_empty() {
            let listed =
                parallel::map_with(&level, SHARE, Names::default, |names, (path, rules)| {
                    self.list(&root, path, rules, names)
                });
            let mut below = Vec::new();
            for ((path, _), listed) in level.into_iter().zip(listed) {
                let Some(Listed { listing, rules }) = listed? else {
                    continue;
                };
                for name in &listing.directories {
                    let child = join(&path, name);
                    let rules = self.ignores.inside(&child, &rules);
                    below.push((child.into_boxed_str(), rules));
                }
                tree.directories.insert(path, listing);
            }
            level = below;
        }
        Ok(())
    }

    /// What git's files outside the workspace are now. As long as they are that, the same is ignored, unless something
    /// in the workspace says otherwise.
    pub fn outside(&self) -> Vec<Option<Stat>> {
        self.ignores.outside()
    }

    /// Whether git ignores a file, tracked ones aside. What may be tracked isn't.
    pub fn is_ignored(&self, path: &str) -> bool {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let ignored = || match self.rules_at(parent)? {
            None => Ok(true),
            Some(rules) if parent.is_empty() => self.ignores.ignored(&rules, path, false),
            Some(rules) => {
                self.ignores
                    .ignored(&self.ignores.with_file_of(parent, rules), path, false)
            }
        };
        ignored().is_ok_and(|ignored: bool| ignored)
    }

    /// The rules that hold inside a directory; none if it is ignored itself or lies in one that is.
    fn rules_at(&self, directory: &str) -> Result<Option<Option<Arc<Rules>>>, Untold> {
        let mut rules = self.ignores.rules.clone();
        let mut path = String::new();
        for name in directory.split('/').filter(|name| !name.is_empty()) {
            path = join(&path, name);
            if name == ".git" || self.skips(&path) || self.ignores.ignored(&rules, &path, true)? {
                return Ok(None);
            }
            rules = self.ignores.inside(&path, &rules);
            rules = self.ignores.inside_module(&path, rules)?;
            if path != directory {
                rules = self.ignores.with_file_of(&path, rules);
            }
        }
        Ok(Some(rules))
    }

    fn list(
        &self,
        root: &Opened,
        path: &str,
        above: &Option<Arc<Rules>>,
        names: &mut Names,
    ) -> Result<Option<Listed>, InputError> {
        let listed = root.open(path).and_then(|opened| {
            opened.names(names)?;
            Ok(opened)
        });
        let opened = match listed {
            Ok(opened) => opened,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(with_path(error, &self.root.join(path)).into()),
        };
        let holds = |wanted: &[u8]| {
            let mut all = names.all.iter();
            !path.is_empty() && all.any(|name| names.bytes(*name) == wanted)
        };
        let mut rules = above.clone();
        if holds(b".git") {
            rules = self.ignores.inside_module(path, rules)?;
        }
        if holds(b".gitignore") {
            rules = self.ignores.with_file_of(path, rules);
        }
        let mut listing = Listing {
            names: String::with_capacity(names.length()),
            files: Vec::with_capacity(names.all.len()),
            ..Listing::default()
        };
        let place = Place {
            path,
            skip: self.skip.get(path),
            rules: &rules,
            opened: &opened,
            names,
        };
        for name in &names.all {
            self.sort_in(&place, *name, &mut listing)?;
        }
        Ok(Some(Listed { listing, rules }))
    }

    fn sort_in(
        &self,
        place: &Place<'_>,
        name: Name,
        listing: &mut Listing,
    ) -> Result<(), InputError> {
        let Ok(text) = std::str::from_utf8(place.names.bytes(name)) else {
            return Ok(self.sort_in_unreadable(place, name, listing)?);
        };
        let skipped = place.skip.is_some_and(|skip| skip.contains(text));
        if text == ".git" || skipped || self.is_ignored_in(place, text, name.is_directory)? {
            return Ok(());
        }
        if name.is_directory {
            listing.directories.push(text.into());
            return Ok(());
        }
        match place.opened.stat(place.names, name) {
            Ok(stat) => Ok(listing.add(text, stat)?),
            // Gone since the directory was read: then it isn't there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(with_path(error, &self.root.join(place.path).join(text)).into()),
        }
    }

    fn is_ignored_in(
        &self,
        place: &Place<'_>,
        name: &str,
        is_directory: bool,
    ) -> Result<bool, Untold> {
        match place.rules {
            Some(_) => {
                let path = join(place.path, name);
                self.ignores.ignored(place.rules, &path, is_directory)
            }
            None => Ok(false),
        }
    }

    /// A name that isn't UTF-8: for a directory also all names below it, since a pattern may match those alone.
    fn sort_in_unreadable(
        &self,
        place: &Place<'_>,
        name: Name,
        listing: &mut Listing,
    ) -> Result<(), Untold> {
        let bytes = place.names.bytes(name);
        let text = String::from_utf8_lossy(bytes).into_owned();
        if self.is_ignored_in(place, &text, name.is_directory)? {
            return Ok(());
        }
        if name.is_directory {
            let directory = self.root.join(place.path).join(OsStr::from_bytes(bytes));
            let below = WalkDir::new(&directory).min_depth(1).into_iter().flatten();
            let files = below.filter(|found| !found.file_type().is_dir());
            listing.unreadable.extend(files.map(|found| {
                let rest = found.path().strip_prefix(&directory);
                join(&text, &rest.unwrap_or(found.path()).to_string_lossy())
            }));
        } else {
            listing.unreadable.push(text);
        }
        Ok(())
    }

    fn skips(&self, path: &str) -> bool {
        let (parent, name) = split(path);
        self.skip
            .get(parent)
            .is_some_and(|names| names.contains(name))
    }
}

/// A directory that is being listed.
struct Place<'a> {
    path: &'a str,
    skip: Option<&'a HashSet<Box<str>>>,
    rules: &'a Option<Arc<Rules>>,
    opened: &'a Opened,
    names: &'a Names,
}

struct Listed {
    listing: Listing,
    /// What holds below.
    rules: Option<Arc<Rules>>,
}

/// Of nested directories only the outermost.
fn outermost(bases: &[String]) -> Vec<String> {
    let all: BTreeSet<&str> = bases.iter().map(String::as_str).collect();
    let is_inner = |base: &str| {
        let above = base.match_indices('/').map(|(at, _)| &base[..at]);
        (!base.is_empty() && all.contains("")) || above.into_iter().any(|above| all.contains(above))
    };
    all.iter()
        .filter(|base| !is_inner(base))
        .map(|base| (*base).to_owned())
        .collect()
}

/// A path's directory, and its name in it.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Joins two workspace-relative paths.
pub fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        name.to_owned()
    } else {
        let mut path = String::with_capacity(directory.len() + 1 + name.len());
        path.push_str(directory);
        path.push('/');
        path.push_str(name);
        path
    }
}

/// Whether nothing is there. Whatever else is the matter, something may be.
pub fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// An error that says which file it is about.
pub fn with_path(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    fn files(tree: &Tree, directory: &str, found: &mut Vec<String>) {
        let Some(listing) = tree.directory(directory) else {
            return;
        };
        found.extend(listing.files().map(|(name, _)| join(directory, name)));
        for name in &listing.directories {
            files(tree, &join(directory, name), found);
        }
    }

    fn walked(walker: &Walker, base: &str) -> Vec<String> {
        let tree = walker.walk(&[base.to_owned()]).expect("walks");
        let mut found = Vec::new();
        files(&tree, base, &mut found);
        found
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("has one")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn git(dir: &Path, args: &[&str]) {
        let status = Command::new("git").current_dir(dir).args(args).status();
        assert!(status.expect("git starts").success());
    }

    #[test]
    fn lists_what_git_does_not_ignore() {
        let dir = tempfile::tempdir().expect("a directory");
        git(dir.path(), &["init", "-q"]);
        write(dir.path(), ".gitignore", "*.log\n/build\n!keep.log\n");
        write(dir.path(), "sub/.gitignore", "/local\n");
        for path in [
            "a.py",
            "x.log",
            "keep.log",
            "build/o",
            "sub/build/o",
            "sub/local",
            "sub/deep/local",
            "out/o",
        ] {
            write(dir.path(), path, "");
        }
        // Tracked files are never ignored.
        write(dir.path(), "build/tracked", "");
        write(dir.path(), "forced.log", "");
        git(dir.path(), &["add", "-f", "build/tracked", "forced.log"]);
        let walker = Walker::new(dir.path(), ["out".to_owned()]);
        let expected = [
            ".gitignore",
            "a.py",
            "forced.log",
            "keep.log",
            "build/tracked",
            "sub/.gitignore",
            "sub/build/o",
            "sub/deep/local",
        ];
        assert_eq!(walked(&walker, ""), expected);
        assert_eq!(walked(&walker, "sub/deep"), ["sub/deep/local"]);
        assert!(walked(&walker, "nowhere").is_empty());
        assert!(walker.is_ignored("sub/local") && !walker.is_ignored("sub/deep/local"));
    }

    #[test]
    fn a_base_that_is_a_link_is_walked_whatever_else_is() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), "real/in/a", "");
        std::os::unix::fs::symlink("real", dir.path().join("link")).expect("linked");
        let walker = Walker::new(dir.path(), []);
        for bases in [&["link/in"][..], &["", "link/in", "link"], &["", "link"]] {
            let bases: Vec<String> = bases.iter().map(|base| (*base).to_owned()).collect();
            let tree = walker.walk(&bases).expect("walks");
            let mut found = Vec::new();
            files(&tree, "link/in", &mut found);
            assert_eq!(found, ["link/in/a"], "{bases:?}");
        }
    }

    #[test]
    fn rules_above_the_workspace_hold_unless_they_ignore_it_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        git(dir.path(), &["init", "-q"]);
        write(dir.path(), ".gitignore", "*.tmp\n/scratch/\n");
        for workspace in ["app", "scratch/app"] {
            write(dir.path(), &format!("{workspace}/a.tmp"), "");
            write(dir.path(), &format!("{workspace}/b.py"), "");
        }
        let inside = Walker::new(&dir.path().join("app"), []);
        assert_eq!(walked(&inside, ""), ["b.py"]);
        let ignored = Walker::new(&dir.path().join("scratch/app"), []);
        assert_eq!(walked(&ignored, ""), ["a.tmp", "b.py"]);
    }

    #[test]
    fn a_worktree_finds_its_own_index() {
        let dir = tempfile::tempdir().expect("a directory");
        let main = dir.path().join("main");
        fs::create_dir(&main).expect("made");
        git(&main, &["init", "-q"]);
        write(&main, ".gitignore", "*.log\n");
        write(&main, "forced.log", "");
        git(&main, &["add", "-f", "."]);
        git(
            &main,
            &[
                "-c",
                "user.name=n",
                "-c",
                "user.email=e@e",
                "commit",
                "-qm",
                "c",
            ],
        );
        git(&main, &["worktree", "add", "-q", "../other"]);
        let walker = Walker::new(&dir.path().join("other"), []);
        assert_eq!(walked(&walker, ""), [".gitignore", "forced.log"]);
    }
}
