//! Which files are a target's inputs: patterns against what the walk found.
//!
//! Never inputs are `.git`, the cache directory, the pipeline files (unless one is named), and whatever a target makes:
//! outputs of needed targets count as *their* outputs, those of others must not be picked up by accident.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::WalkDir;

use super::digest::Digest;
use super::index::{Index, Unreadable};
use super::key::{Preimage, Section, Value};
use super::manifest::{Manifest, Node};
use super::stat::{Kind, Stat};
use super::walk::{Listing, Tree, Walker, join, split};
use crate::pipeline::glob::{Glob, has_wildcard};
use crate::pipeline::model::{Project, Target, TargetId, Workspace};
use crate::pipeline::paths::is_within;

/// Which target makes which path, and which files describe targets.
pub struct Claims {
    literals: HashMap<String, TargetId>,
    /// By a directory that holds all that they can match.
    globs: HashMap<String, Vec<(Glob, TargetId)>>,
    pipeline_files: HashSet<String>,
}

impl Claims {
    pub fn of(ws: &Workspace) -> Self {
        let mut claims = Self {
            literals: HashMap::new(),
            globs: HashMap::new(),
            pipeline_files: ws.files.iter().map(|file| file.name.clone()).collect(),
        };
        for target in &ws.targets {
            for output in &target.outputs {
                if output.literal {
                    claims.literals.insert(output.pattern.clone(), target.id);
                } else {
                    let glob = Glob::new(&output.pattern);
                    for base in glob.bases() {
                        let there = claims.globs.entry(base).or_default();
                        there.push((glob.clone(), target.id));
                    }
                }
            }
        }
        claims
    }

    /// Paths that a walk needn't enter.
    pub fn literal_paths(&self) -> impl Iterator<Item = String> + '_ {
        self.literals.keys().cloned()
    }

    /// The globs that can match something in a directory.
    fn globs_at(&self, directory: &str) -> Vec<&(Glob, TargetId)> {
        if self.globs.is_empty() {
            return Vec::new();
        }
        let above = directory.match_indices('/').map(|(at, _)| &directory[..at]);
        let root = (!directory.is_empty()).then_some("");
        let bases = root.into_iter().chain(above).chain([directory]);
        bases
            .filter_map(|base| self.globs.get(base))
            .flatten()
            .collect()
    }

    fn is_pipeline_file(&self, path: &str) -> bool {
        path.ends_with(".toml") && self.pipeline_files.contains(path)
    }

    /// The target that makes a path, or a directory that it lies in.
    pub fn owner(&self, path: &str) -> Option<TargetId> {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        let literal = parents
            .chain([path])
            .find_map(|path| self.literals.get(path));
        literal.copied().or_else(|| self.owner_by_glob(path))
    }

    /// The target with a glob among its outputs that matches a path.
    pub fn owner_by_glob(&self, path: &str) -> Option<TargetId> {
        let globs = self.globs_at(split(path).0);
        let mut matching = globs.iter().filter(|(glob, _)| glob.matches(path));
        matching.next().map(|(_, id)| *id)
    }
}

/// The input patterns of one target, ready to match.
pub struct Spec {
    id: TargetId,
    /// Every file below this directory, those of members aside.
    everything: Option<(String, HashSet<String>)>,
    globs: Vec<Glob>,
    excludes: Vec<Exclude>,
    literals: Vec<String>,
    /// Where to walk.
    pub bases: Vec<String>,
}

enum Exclude {
    Tree(String),
    Glob(Glob),
}

impl Exclude {
    fn matches(&self, path: &str) -> bool {
        match self {
            Exclude::Tree(tree) => is_within(path, tree),
            Exclude::Glob(glob) => glob.matches(path),
        }
    }
}

impl Spec {
    pub fn of(ws: &Workspace, target: &Target) -> Self {
        let project = ws.project(target.project);
        let patterns = target.inputs.as_deref().unwrap_or_default();
        let excludes = patterns
            .iter()
            .filter(|pattern| pattern.exclude)
            .map(|pattern| {
                if has_wildcard(&pattern.pattern) {
                    Exclude::Glob(Glob::new(&pattern.pattern))
                } else {
                    Exclude::Tree(pattern.pattern.clone())
                }
            });
        let mut included = patterns
            .iter()
            .filter(|pattern| !pattern.exclude)
            .peekable();
        // Nothing but exclusions: everything else.
        let all = target.inputs.is_none() || (!patterns.is_empty() && included.peek().is_none());
        let (literal, globs): (Vec<_>, Vec<_>) = included.partition(|pattern| pattern.literal);
        let globs: Vec<Glob> = globs
            .iter()
            .map(|pattern| Glob::new(&pattern.pattern))
            .collect();
        let mut bases: BTreeSet<String> = globs.iter().flat_map(Glob::bases).collect();
        let everything = all.then(|| {
            bases.insert(project.dir.clone());
            (project.dir.clone(), members_below(ws, &project.dir))
        });
        Self {
            id: target.id,
            everything,
            globs,
            excludes: excludes.collect(),
            literals: literal
                .iter()
                .map(|pattern| pattern.pattern.clone())
                .collect(),
            bases: bases.into_iter().collect(),
        }
    }

    /// Whether what happens to a path may concern the inputs.
    pub fn is_near(&self, path: &str) -> bool {
        let in_base = |base: &String| base.is_empty() || is_within(path, base);
        let by_name = |literal: &String| is_within(path, literal) || is_within(literal, path);
        self.bases.iter().any(in_base) || self.literals.iter().any(by_name)
    }

    /// Where inputs are looked for, patterns and names alike.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        let bases = self.bases.iter().chain(&self.literals);
        bases.map(String::as_str)
    }

    fn matches(&self, path: &str) -> bool {
        let everything = self
            .everything
            .as_ref()
            .is_some_and(|(dir, members)| is_within(path, dir) && !lies_in(path, members));
        (everything || self.globs.iter().any(|glob| glob.matches(path))) && !self.excluded(path)
    }

    /// Whether a glob can match something below a link, which it doesn't match itself.
    fn looks_through(&self, link: &str) -> bool {
        let mut globs = self.globs.iter();
        globs.any(|glob| glob.can_match_below(link)) && !self.excluded(link)
    }

    fn excluded(&self, path: &str) -> bool {
        self.excludes.iter().any(|exclude| exclude.matches(path))
    }
}

/// Directories of the members in a directory, itself aside. Members are sorted by directory, and many.
fn members_below(ws: &Workspace, dir: &str) -> HashSet<String> {
    let members = ws.projects.get(1..).unwrap_or_default();
    let below = match dir {
        "" => members,
        dir => {
            let prefix = format!("{dir}/");
            let from = members.partition_point(|member| member.dir < prefix);
            let inner = |member: &Project| member.dir.starts_with(&prefix);
            &members[from..from + members[from..].partition_point(inner)]
        }
    };
    below.iter().map(|member| member.dir.clone()).collect()
}

fn lies_in(path: &str, directories: &HashSet<String>) -> bool {
    let mut around = path.match_indices('/').map(|(at, _)| &path[..at]);
    !directories.is_empty() && around.any(|directory| directories.contains(directory))
}

/// A file that is an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it is, relative to the workspace.
    pub path: String,
    /// The link's path and the rest, where it was reached through a link.
    pub alias: Option<String>,
    pub stat: Stat,
}

impl File {
    /// What it is called in the key.
    pub fn name(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.path)
    }
}

/// All inputs of a target at one moment. Two equal ones: nothing changed in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Sorted by name.
    pub files: Vec<File>,
    pub links: Vec<(String, String, Stat)>,
    /// Literal paths where nothing is.
    pub absent: Vec<String>,
}

impl Inputs {
    /// A digest of names and stats: what has the same has the same contents, if the stats are trusted.
    pub fn stats(&self) -> Digest {
        let mut frame = Frame(Vec::with_capacity(self.files.len() * 96));
        frame.number(self.links.len());
        for (path, to, _) in &self.links {
            frame.part(path.as_bytes());
            frame.part(to.as_bytes());
        }
        frame.number(self.absent.len());
        for path in &self.absent {
            frame.part(path.as_bytes());
        }
        for file in &self.files {
            frame.part(file.path.as_bytes());
            frame.part(file.alias.as_deref().unwrap_or_default().as_bytes());
            frame.part(&file.stat.packed());
        }
        Digest::of(&frame.0)
    }

    /// Where each file is, and what it was like there.
    pub fn stat_of_each(&self) -> impl Iterator<Item = (&str, &Stat)> + Clone {
        let files = self.files.iter();
        files.map(|file| (file.path.as_str(), &file.stat))
    }

    /// Whether contents can be told by stats alone.
    pub fn are_trusted(&self, index: &Index) -> bool {
        index.knows_all(self.stat_of_each())
    }
}

/// Parts in a row, so that no two rows have the same bytes.
struct Frame(Vec<u8>);

impl Frame {
    fn number(&mut self, number: usize) {
        self.0.extend((number as u64).to_le_bytes());
    }

    fn part(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.extend(bytes);
    }
}

/// Why inputs can't be told.
#[derive(Debug)]
pub enum InputError {
    /// A name that isn't UTF-8 where a pattern would match it.
    Name(String),
    Unreadable(Unreadable),
}

impl std::fmt::Display for InputError {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            InputError::Name(name) => write!(f, "the name of the input {name} isn't UTF-8"),
            InputError::Unreadable(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for InputError {
    fn from(error: io::Error) -> Self {
        InputError::Unreadable(error.into())
    }
}

impl From<Unreadable> for InputError {
    fn from(error: Unreadable) -> Self {
        InputError::Unreadable(error)
    }
}

/// A symbolic link that was come upon.
struct Link {
    name: String,
    /// Where it is, past the links on the way to it.
    place: String,
    stat: Stat,
}

impl Link {
    fn new(place: String, alias: Option<String>, stat: Stat) -> Self {
        Self {
            name: alias.unwrap_or_else(|| place.clone()),
            place,
            stat,
        }
    }
}

/// What a search came upon so far.
#[derive(Default)]
struct Found {
    inputs: Inputs,
    /// The directories behind links that count as a whole.
    entered: HashSet<String>,
    /// See [`Made::made_for`].
    made: HashMap<TargetId, Option<Arc<Manifest>>>,
}

/// What targets made, for whoever looks for inputs.
pub trait Made {
    /// What `maker` made, if `reader` needs it and so waited for it.
    fn made_for(&self, reader: TargetId, maker: TargetId) -> Option<Arc<Manifest>>;
}

/// Finds inputs in one workspace.
pub struct Finder<'a> {
    pub walker: &'a Walker,
    pub root: &'a Path,
    /// Of the cache, relative to the workspace, if it lies in it.
    pub cache_dir: Option<&'a str>,
    pub claims: &'a Claims,
    pub made: &'a dyn Made,
}

impl Finder<'_> {
    /// The inputs of a target in a walk that holds its bases.
    ///
    /// # Errors
    /// A name that can't be declared, an unreadable directory.
    pub fn find(&self, spec: &Spec, tree: &Tree) -> Result<Inputs, InputError> {
        let mut found = Found::default();
        let mut entered: Vec<&str> = Vec::new();
        for base in &spec.bases {
            if !entered.iter().any(|outer| is_within(base, outer)) {
                entered.push(base);
                self.visit_all(spec, tree, base, &mut found)?;
            }
        }
        for literal in &spec.literals {
            self.add_literal(spec, literal, &mut found)?;
        }
        let mut inputs = found.inputs;
        inputs.files.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        inputs.files.dedup_by(|a, b| a.name() == b.name());
        inputs.links.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        inputs.links.dedup_by(|a, b| a.0 == b.0);
        Ok(inputs)
    }

    /// What matches in a directory, and behind the links in it that are looked through.
    fn visit_all(
        &self,
        spec: &Spec,
        tree: &Tree,
        base: &str,
        found: &mut Found,
    ) -> Result<(), InputError> {
        for link in self.visit(spec, tree, base, base, found)? {
            let mut seen = HashSet::new();
            let mut waiting = vec![link];
            while let Some(link) = waiting.pop() {
                let Some(behind) = self.directory_behind(&link.place) else {
                    continue;
                };
                // What has several names may be matched by each, and in a circle it has no end of them: then all of it counts.
                if !seen.insert(behind.clone()) {
                    self.add_link(spec, link, found)?;
                    continue;
                }
                self.tell_link(&link, found)?;
                waiting.extend(self.visit_behind(spec, tree, &link.name, &behind, found)?);
            }
        }
        Ok(())
    }

    /// What matches in a directory that a link leads to. If git ignores it, nothing in it is: the link leads there.
    fn visit_behind(
        &self,
        spec: &Spec,
        tree: &Tree,
        link: &str,
        behind: &str,
        found: &mut Found,
    ) -> Result<Vec<Link>, InputError> {
        if tree.directory(behind).is_some() {
            return self.visit(spec, tree, behind, link, found);
        }
        let tree = self.walker.walk(&[behind.to_owned()])?;
        if tree.directory(behind).is_some() {
            return self.visit(spec, &tree, behind, link, found);
        }
        let mut links = Vec::new();
        for (path, stat) in self.everything_below(behind)? {
            let is_made = match self.claims.owner(&path) {
                Some(maker) => self.is_made(spec, maker, &path, found),
                None => false,
            };
            if !self.claims.is_pipeline_file(&path) && !is_made {
                let alias = Some(format!("{link}{}", &path[behind.len()..]));
                links.extend(self.sort_in(spec, path, alias, stat, found)?);
            }
        }
        Ok(links)
    }

    /// What matches in a directory that is reached by this name; the links in it that globs look through.
    fn visit(
        &self,
        spec: &Spec,
        tree: &Tree,
        base: &str,
        named: &str,
        found: &mut Found,
    ) -> Result<Vec<Link>, InputError> {
        let mut links = Vec::new();
        let alias = |path: &str| (named != base).then(|| format!("{named}{}", &path[base.len()..]));
        let mut waiting = vec![base.to_owned()];
        while let Some(directory) = waiting.pop() {
            let Some(listing) = tree.directory(&directory) else {
                continue;
            };
            let directory_alias = alias(&directory);
            self.check_names(
                spec,
                listing,
                directory_alias.as_deref().unwrap_or(&directory),
            )?;
            let made = self.claims.globs_at(&directory);
            for (name, stat) in listing.files() {
                let path = join(&directory, name);
                let alias = alias(&path);
                let mut is_made = || {
                    let mut makers = made.iter().filter(|(glob, _)| glob.matches(&path));
                    makers.any(|(_, maker)| self.is_made(spec, *maker, &path, found))
                };
                if !self.claims.is_pipeline_file(&path) && !is_made() {
                    links.extend(self.sort_in(spec, path, alias, *stat, found)?);
                }
            }
            waiting.extend(
                listing
                    .directories
                    .iter()
                    .map(|name| join(&directory, name)),
            );
        }
        Ok(links)
    }

    /// Whether a file that a target's outputs claim is its affair alone. A needed one has been there before: what it didn't
    /// make lies among its outputs by hand, and is what any other file is.
    fn is_made(&self, spec: &Spec, maker: TargetId, path: &str, found: &mut Found) -> bool {
        let of_maker = found.made.entry(maker);
        let manifest = of_maker.or_insert_with(|| self.made.made_for(spec.id, maker));
        let known = manifest.as_ref();
        known.is_none_or(|manifest| manifest.get(path).is_some())
    }

    /// A file that isn't made: an input, or nothing, or (handed back) a link that globs look through.
    fn sort_in(
        &self,
        spec: &Spec,
        path: String,
        alias: Option<String>,
        stat: Stat,
        found: &mut Found,
    ) -> Result<Option<Link>, InputError> {
        let name = alias.as_deref().unwrap_or(&path);
        if spec.matches(name) {
            self.add(spec, path, alias, stat, found)?;
        } else if stat.kind() == Kind::Link && spec.looks_through(name) {
            return Ok(Some(Link::new(path, alias, stat)));
        }
        Ok(None)
    }

    fn check_names(
        &self,
        spec: &Spec,
        listing: &Listing,
        directory: &str,
    ) -> Result<(), InputError> {
        let mut names = listing.unreadable.iter().map(|name| join(directory, name));
        match names.find(|path| spec.matches(path)) {
            Some(path) => Err(InputError::Name(path)),
            None => Ok(()),
        }
    }

    fn add_literal(&self, spec: &Spec, literal: &str, found: &mut Found) -> Result<(), InputError> {
        let Ok(metadata) = fs::symlink_metadata(self.root.join(literal)) else {
            found.inputs.absent.push(literal.to_owned());
            return Ok(());
        };
        if !metadata.is_dir() {
            return self.add(spec, literal.to_owned(), None, Stat::from(&metadata), found);
        }
        for (path, stat) in self.everything_below(literal)? {
            if !spec.excluded(&path) && self.claims.owner(&path) != Some(spec.id) {
                self.add(spec, path, None, stat, found)?;
            }
        }
        Ok(())
    }

    /// A file, or a link and what is behind it.
    fn add(
        &self,
        spec: &Spec,
        path: String,
        alias: Option<String>,
        stat: Stat,
        found: &mut Found,
    ) -> Result<(), InputError> {
        match stat.kind() {
            Kind::File => found.inputs.files.push(File { path, alias, stat }),
            Kind::Link => self.add_link(spec, Link::new(path, alias, stat), found)?,
            Kind::Directory | Kind::Other => {}
        }
        Ok(())
    }

    /// A link and what is behind it, other links too. What is behind those is gone through once, by whichever name comes
    /// first: where each leads is told, so nothing changes unseen, and circles end.
    fn add_link(&self, spec: &Spec, link: Link, found: &mut Found) -> Result<(), InputError> {
        let is_own = |path: &str| self.claims.owner(path) == Some(spec.id);
        let mut is_outer = true;
        let mut waiting = BTreeMap::from([(link.name.clone(), link)]);
        while let Some((name, link)) = waiting.pop_first() {
            let to = self.tell_link(&link, found)?;
            let Some(behind) = self.inside(&link.place) else {
                continue;
            };
            if is_own(&behind) {
                continue;
            }
            let metadata = fs::symlink_metadata(self.root.join(&behind))?;
            if metadata.is_file() {
                found.inputs.files.push(File {
                    path: behind,
                    alias: Some(format!("{name} -> {to}")),
                    stat: Stat::from(&metadata),
                });
            } else if metadata.is_dir() && !behind.is_empty() && !is_within(&link.place, &behind) {
                let is_new = found.entered.insert(behind.clone());
                if !is_new && !is_outer {
                    continue;
                }
                for (path, stat) in self.everything_below(&behind)? {
                    if is_own(&path) {
                        continue;
                    }
                    let rest = path.strip_prefix(&*behind).unwrap_or(&path);
                    let alias = Some(format!("{name}{rest}"));
                    match stat.kind() {
                        Kind::File => found.inputs.files.push(File { path, alias, stat }),
                        Kind::Link => {
                            let link = Link::new(path, alias, stat);
                            waiting.insert(link.name.clone(), link);
                        }
                        Kind::Directory | Kind::Other => {}
                    }
                }
            }
            is_outer = false;
        }
        Ok(())
    }

    /// That a link is an input, and where it leads.
    fn tell_link(&self, link: &Link, found: &mut Found) -> Result<String, InputError> {
        let to = fs::read_link(self.root.join(&link.place))?;
        let to = to
            .to_str()
            .ok_or_else(|| InputError::Name(link.name.clone()))?;
        let links = &mut found.inputs.links;
        links.push((link.name.clone(), to.to_owned(), link.stat));
        Ok(to.to_owned())
    }

    /// The directory of the workspace that a link leads to, unless the link lies in it.
    fn directory_behind(&self, link: &str) -> Option<String> {
        let behind = self.inside(link)?;
        let is_apart = !behind.is_empty() && !is_within(link, &behind);
        (is_apart && self.root.join(&behind).is_dir()).then_some(behind)
    }

    /// Where a link ends, relative to the workspace, if that lies in it and exists.
    fn inside(&self, link: &str) -> Option<String> {
        let real = fs::canonicalize(self.root.join(link)).ok()?;
        let root: PathBuf = fs::canonicalize(self.root).ok()?;
        let inside = real.strip_prefix(root).ok()?.to_str()?.to_owned();
        (!self
            .cache_dir
            .is_some_and(|cache| is_within(&inside, cache)))
        .then_some(inside)
    }

    /// What is below a directory, git-ignored or not, but for what is left out; links aren't followed.
    ///
    /// `leaves_out` is asked of each path with whether it is a directory; of a directory that is left out nothing is looked at.
    ///
    /// # Errors
    /// A name that isn't UTF-8, an unreadable directory.
    pub fn below(
        &self,
        directory: &str,
        leaves_out: &dyn Fn(&str, bool) -> bool,
    ) -> Result<Inputs, InputError> {
        let mut inputs = Inputs::default();
        let full = self.root.join(directory);
        let mut walk = WalkDir::new(full)
            .min_depth(1)
            .sort_by_file_name()
            .into_iter();
        while let Some(entry) = walk.next() {
            let entry = entry.map_err(io::Error::from)?;
            let inside = entry.path().strip_prefix(self.root).unwrap_or(entry.path());
            let path = inside
                .to_str()
                .ok_or_else(|| InputError::Name(inside.display().to_string()))?;
            if entry.file_type().is_dir() {
                if self.cache_dir == Some(path) || leaves_out(path, true) {
                    walk.skip_current_dir();
                }
                continue;
            }
            if leaves_out(path, false) {
                continue;
            }
            let stat = Stat::from(&entry.metadata().map_err(io::Error::from)?);
            match stat.kind() {
                Kind::File => inputs.files.push(File {
                    path: path.into(),
                    alias: None,
                    stat,
                }),
                Kind::Link => {
                    let to = fs::read_link(entry.path())?;
                    let to = to.to_str().ok_or_else(|| InputError::Name(path.into()))?;
                    inputs.links.push((path.to_owned(), to.to_owned(), stat));
                }
                Kind::Directory | Kind::Other => {}
            }
        }
        inputs.files.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        inputs.links.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(inputs)
    }

    /// Files and links below a directory, git-ignored or not; links aren't followed.
    fn everything_below(&self, directory: &str) -> Result<Vec<(String, Stat)>, InputError> {
        let mut found = Vec::new();
        let mut walk = WalkDir::new(self.root.join(directory)).into_iter();
        while let Some(entry) = walk.next() {
            let entry = entry.map_err(io::Error::from)?;
            let inside = entry.path().strip_prefix(self.root).unwrap_or(entry.path());
            let path = inside
                .to_str()
                .ok_or_else(|| InputError::Name(inside.display().to_string()))?;
            if entry.file_type().is_dir() {
                if entry.file_name() == ".git" || self.cache_dir == Some(path) {
                    walk.skip_current_dir();
                }
                continue;
            }
            let metadata = entry.metadata().map_err(io::Error::from)?;
            found.push((path.to_owned(), Stat::from(&metadata)));
        }
        Ok(found)
    }
}

/// Writes the inputs into a key.
///
/// # Errors
/// A file can't be read.
pub fn describe(inputs: &Inputs, index: &Index, preimage: &mut Preimage) -> Result<(), Unreadable> {
    describe_with(inputs, index.digests(inputs.stat_of_each())?, preimage);
    Ok(())
}

/// The same, where the digests of all files were asked for before.
pub fn describe_with(inputs: &Inputs, digests: Vec<Digest>, preimage: &mut Preimage) {
    for (file, digest) in inputs.files.iter().zip(digests) {
        let value = Value::File {
            executable: file.stat.executable(),
            digest,
        };
        preimage.add(Section::Input, file.name(), &value);
    }
    for (path, to, _) in &inputs.links {
        preimage.add(Section::Input, path, &Value::Link(to.clone()));
    }
    for path in &inputs.absent {
        preimage.add(Section::Input, path, &Value::Absent);
    }
}

/// Whether an output of a target that is needed indirectly is an input.
pub fn picks_up(spec: &Spec, path: &str, walker: &Walker) -> bool {
    spec.matches(path) && !walker.is_ignored(path)
}

/// Writes those outputs of a target that is needed indirectly, which the patterns pick up, into a key.
pub fn describe_indirect(
    spec: &Spec,
    manifest: &Manifest,
    walker: &Walker,
    preimage: &mut Preimage,
) {
    for entry in &manifest.entries {
        if !picks_up(spec, &entry.path, walker) {
            continue;
        }
        let value = match &entry.node {
            Node::File { digest, mode, .. } => Value::File {
                executable: mode & 0o100 != 0,
                digest: *digest,
            },
            Node::Link { to } => Value::Link(to.clone()),
            Node::Directory { .. } => continue,
        };
        preimage.add(Section::Input, &entry.path, &value);
    }
}
