//! Which files are a target's inputs: patterns against what the walk found.
//!
//! Never inputs are `.git`, the cache directory, the pipeline files (unless one is named), and whatever a target makes:
//! outputs of needed targets count as *their* outputs, those of others must not be picked up by accident.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use walkdir::WalkDir;

use super::claims::Claims;
use super::inputs::{File, InputError, Inputs};
use super::manifest::Manifest;
use super::spec::Spec;
use super::stat::{Kind, Stat};
use super::walk::{Listing, Tree, Walker, is_absence, join, split, with_path};
use crate::pipeline::model::TargetId;
use crate::pipeline::paths::is_within;

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
        let mut inputs = Inputs::default();
        inputs.add(found.inputs);
        Ok(inputs)
    }

    /// What a target's literal input of this name comes to.
    ///
    /// # Errors
    /// As in [`Finder::find`].
    pub fn named(&self, spec: &Spec, literal: &str) -> Result<Inputs, InputError> {
        let mut found = Found::default();
        self.add_literal(spec, literal, &mut found)?;
        Ok(found.inputs)
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
                let Some(behind) = self.directory_behind(&link)? else {
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
        let full = self.root.join(literal);
        let metadata = match fs::symlink_metadata(&full) {
            Ok(metadata) => metadata,
            Err(error) if is_absence(&error) => {
                found.inputs.absent.push(literal.to_owned());
                return Ok(());
            }
            Err(error) => return Err(with_path(error, &full).into()),
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
            let Some(behind) = self.inside(&link)? else {
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
            } else if metadata.is_dir() {
                let is_around = is_within(&link.place, &behind);
                let is_new = found.entered.insert(behind.clone());
                if !is_new && (is_around || !is_outer) {
                    continue;
                }
                let below = match is_around {
                    true => self.around(spec, &behind, found)?,
                    false => self.everything_below(&behind)?,
                };
                for (path, stat) in below {
                    if is_own(&path) {
                        continue;
                    }
                    let rest = path.strip_prefix(&*behind).unwrap_or(&path);
                    let alias = Some(join(&name, rest.trim_start_matches('/')));
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

    /// Files and links below a directory that a link in it leads to. It may be the whole workspace: there is much in it that
    /// nobody means, so it holds what it holds for a glob.
    fn around(
        &self,
        spec: &Spec,
        directory: &str,
        found: &mut Found,
    ) -> Result<Vec<(String, Stat)>, InputError> {
        let tree = self.walker.walk(&[directory.to_owned()])?;
        let mut files = Vec::new();
        let mut waiting = vec![directory.to_owned()];
        while let Some(directory) = waiting.pop() {
            let Some(listing) = tree.directory(&directory) else {
                continue;
            };
            if let Some(name) = listing.unreadable.first() {
                return Err(InputError::Name(join(&directory, name)));
            }
            for (name, stat) in listing.files() {
                let path = join(&directory, name);
                let is_made = match self.claims.owner(&path) {
                    Some(maker) => self.is_made(spec, maker, &path, found),
                    None => false,
                };
                if !self.claims.is_pipeline_file(&path) && !is_made {
                    files.push((path, *stat));
                }
            }
            let directories = listing.directories.iter();
            waiting.extend(directories.map(|name| join(&directory, name)));
        }
        Ok(files)
    }

    /// That a link is an input, and where it leads.
    fn tell_link(&self, link: &Link, found: &mut Found) -> Result<String, InputError> {
        let to = self.target_of(&link.place, &link.name)?;
        let links = &mut found.inputs.links;
        links.push((link.name.clone(), to.clone(), link.stat));
        Ok(to)
    }

    fn target_of(&self, link: &str, name: &str) -> Result<String, InputError> {
        let to = fs::read_link(self.root.join(link))?;
        let to = to.to_str().ok_or_else(|| InputError::Name(name.into()))?;
        Ok(to.to_owned())
    }

    /// The directory of the workspace that a link leads to, unless the link lies in it.
    fn directory_behind(&self, link: &Link) -> Result<Option<String>, InputError> {
        let is_apart = |behind: &String| !behind.is_empty() && !is_within(&link.place, behind);
        let behind = self.inside(link)?.filter(is_apart);
        Ok(behind.filter(|behind| self.root.join(behind).is_dir()))
    }

    /// Where a link ends, relative to the workspace, if that lies in it and exists.
    fn inside(&self, link: &Link) -> Result<Option<String>, InputError> {
        let real = |path: &Path| fs::canonicalize(path).ok();
        let ends = real(&self.root.join(&link.place)).zip(real(self.root));
        let inside = ends
            .as_ref()
            .and_then(|(end, root)| end.strip_prefix(root).ok());
        let Some(inside) = inside else {
            return Ok(None);
        };
        let unnamed = || InputError::Name(format!("{} (where it leads to)", link.name));
        let inside = inside.to_str().ok_or_else(unnamed)?;
        let is_cache = self.cache_dir.is_some_and(|cache| is_within(inside, cache));
        Ok((!is_cache).then(|| inside.to_owned()))
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
        let mut found = Inputs::default();
        for (path, stat) in self.listed(directory, leaves_out)? {
            match stat.kind() {
                Kind::File => found.files.push(File {
                    path,
                    alias: None,
                    stat,
                }),
                Kind::Link => {
                    let to = self.target_of(&path, &path)?;
                    found.links.push((path, to, stat));
                }
                Kind::Directory | Kind::Other => {}
            }
        }
        let mut inputs = Inputs::default();
        inputs.add(found);
        Ok(inputs)
    }

    /// Files and links below a directory, git-ignored or not, but for what is git's; links aren't followed.
    fn everything_below(&self, directory: &str) -> Result<Vec<(String, Stat)>, InputError> {
        let is_git = |path: &str, is_directory: bool| is_directory && split(path).1 == ".git";
        match is_git(directory, true) {
            true => Ok(Vec::new()),
            false => self.listed(directory, &is_git),
        }
    }

    /// Files and links below a directory but for the cache's and what is left out; links aren't followed.
    fn listed(
        &self,
        directory: &str,
        leaves_out: &dyn Fn(&str, bool) -> bool,
    ) -> Result<Vec<(String, Stat)>, InputError> {
        let mut found = Vec::new();
        let full = self.root.join(directory);
        let mut walk = WalkDir::new(full).min_depth(1).into_iter();
        while let Some(entry) = walk.next() {
            let entry = entry.map_err(io::Error::from)?;
            let inside = entry.path().strip_prefix(self.root).unwrap_or(entry.path());
            let path = inside
                .to_str()
                .ok_or_else(|| InputError::Name(inside.display().to_string()))?;
            let is_directory = entry.file_type().is_dir();
            let is_cache = is_directory && self.cache_dir == Some(path);
            if is_cache || leaves_out(path, is_directory) {
                if is_directory {
                    walk.skip_current_dir();
                }
            } else if !is_directory {
                let metadata = entry.metadata().map_err(io::Error::from)?;
                found.push((path.to_owned(), Stat::from(&metadata)));
            }
        }
        Ok(found)
    }
}
