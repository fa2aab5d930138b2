//! Who makes which file: two targets must not make the same, and what reads a made file has to need its
//! maker. Knowable for literal paths, and for a glob where a literal path lies under it.

use std::collections::{HashMap, HashSet};

use globset::{GlobBuilder, GlobMatcher};

use crate::graph;
use crate::pipeline::code;
use crate::pipeline::model::{InputPattern, OutputPattern, Target, TargetId, Workspace};
use crate::pipeline::paths::{is_within, literal_prefix};
use crate::pipeline::problem::Problem;

pub fn check(ws: &Workspace) -> Vec<Problem> {
    let claims = Claims::new(ws);
    let mut problems = claims.literal_overlaps();
    problems.extend(claims.glob_overlaps());
    problems.extend(claims.unneeded_inputs());
    problems.extend(claims.own_inputs());
    problems.extend(claims.in_the_cache());
    problems
}

/// One output of one target.
#[derive(Clone, Copy)]
struct Claim<'w> {
    target: &'w Target,
    output: &'w OutputPattern,
}

impl<'w> Claim<'w> {
    fn path(&self) -> &'w str {
        &self.output.pattern
    }
}

struct Claims<'w> {
    ws: &'w Workspace,
    /// Sorted so that what lies in a directory follows it.
    literals: Vec<Claim<'w>>,
    globs: Vec<Claim<'w>>,
    /// The first literal claim of each path.
    by_path: HashMap<&'w str, Claim<'w>>,
    /// Globs by the directory they begin in.
    by_prefix: HashMap<&'w str, Vec<Claim<'w>>>,
}

impl<'w> Claims<'w> {
    fn new(ws: &'w Workspace) -> Claims<'w> {
        let all = ws.targets.iter().flat_map(|target| {
            let outputs = target.outputs.iter();
            outputs.map(move |output| Claim { target, output })
        });
        let (mut literals, globs): (Vec<_>, Vec<_>) = all.partition(|claim| claim.output.literal);
        literals.sort_by(|a, b| a.path().split('/').cmp(b.path().split('/')));
        let mut by_path = HashMap::new();
        for claim in &literals {
            by_path.entry(claim.path()).or_insert(*claim);
        }
        let mut by_prefix: HashMap<&str, Vec<Claim<'_>>> = HashMap::new();
        for claim in &globs {
            by_prefix
                .entry(literal_prefix(claim.path()))
                .or_default()
                .push(*claim);
        }
        Claims {
            ws,
            literals,
            globs,
            by_path,
            by_prefix,
        }
    }

    /// The same path twice, or one inside the other.
    fn literal_overlaps(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut open: Vec<Claim<'_>> = Vec::new();
        for claim in &self.literals {
            while open
                .last()
                .is_some_and(|above| !is_within(claim.path(), above.path()))
            {
                open.pop();
            }
            if let Some(above) = open
                .last()
                .filter(|above| above.target.id != claim.target.id)
            {
                problems.push(overlap(above, claim));
            }
            open.push(*claim);
        }
        problems
    }

    fn glob_overlaps(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut same: HashMap<&str, Claim<'_>> = HashMap::new();
        for claim in &self.globs {
            let other = same.get(claim.path()).copied();
            let other =
                other.or_else(|| self.made_at(literal_prefix(claim.path()), claim.target.id));
            let other = other.or_else(|| self.literal_under(claim));
            match other.filter(|other| other.target.id != claim.target.id) {
                Some(other) => problems.push(overlap(&other, claim)),
                None => drop(same.insert(claim.path(), *claim)),
            }
        }
        problems
    }

    /// Another target's literal output that is the path, or a directory above it.
    fn made_at(&self, path: &str, except: TargetId) -> Option<Claim<'w>> {
        let claims = ancestors(path).filter_map(|dir| self.by_path.get(dir));
        claims.copied().find(|claim| claim.target.id != except)
    }

    /// Another target's literal output that a glob matches.
    fn literal_under(&self, glob: &Claim<'_>) -> Option<Claim<'w>> {
        let prefix = literal_prefix(glob.path());
        let start = self
            .literals
            .partition_point(|claim| claim.path().split('/').lt(prefix.split('/')));
        let start = if prefix.is_empty() { 0 } else { start };
        let below = self.literals[start..]
            .iter()
            .take_while(|claim| is_within(claim.path(), prefix));
        let mut matcher = Lazy::new(glob.path());
        below
            .filter(|claim| claim.target.id != glob.target.id)
            .find(|claim| matcher.is_match(claim.path()))
            .copied()
    }

    /// Inputs that another target makes, which isn't needed: literal ones, and globs that begin in what it makes.
    fn unneeded_inputs(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut matchers: HashMap<&str, Lazy<'_>> = HashMap::new();
        for target in &self.ws.targets {
            let mut needs: Option<HashSet<TargetId>> = None;
            let inputs = target.inputs.as_deref().unwrap_or_default();
            for input in inputs.iter().filter(|input| !input.exclude) {
                let maker = match input.literal {
                    true => self
                        .made_at(&input.pattern, target.id)
                        .or_else(|| self.made_by_glob(&input.pattern, target.id, &mut matchers)),
                    false => self
                        .made_at(literal_prefix(&input.pattern), target.id)
                        .or_else(|| self.same_glob(&input.pattern, target.id)),
                };
                let Some(maker) = maker else {
                    continue;
                };
                let needs =
                    needs.get_or_insert_with(|| graph::transitive_needs(self.ws, target.id));
                let follows = maker
                    .target
                    .finally
                    .iter()
                    .any(|last| last.target == target.id);
                if !needs.contains(&maker.target.id) && !follows {
                    problems.push(self.unneeded(target, input, &maker));
                }
            }
        }
        problems
    }

    /// Another target's output that is the same glob.
    fn same_glob(&self, glob: &str, except: TargetId) -> Option<Claim<'w>> {
        let claims = self.by_prefix.get(literal_prefix(glob)).into_iter();
        let mut others = claims.flatten().filter(|claim| claim.path() == glob);
        others.find(|claim| claim.target.id != except).copied()
    }

    fn made_by_glob(
        &self,
        path: &str,
        except: TargetId,
        matchers: &mut HashMap<&'w str, Lazy<'w>>,
    ) -> Option<Claim<'w>> {
        let globs = ancestors(path)
            .filter_map(|dir| self.by_prefix.get(dir))
            .flatten();
        for claim in globs.filter(|claim| claim.target.id != except) {
            let matcher = matchers
                .entry(claim.path())
                .or_insert_with(|| Lazy::new(claim.path()));
            if matcher.is_match(path) {
                return Some(*claim);
            }
        }
        None
    }

    /// Inputs that lie wholly in what the same target makes: never read, and removed before it runs.
    fn own_inputs(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for target in &self.ws.targets {
            let inputs = target.inputs.iter().flatten();
            for input in inputs.filter(|input| !input.exclude) {
                let path = &*input.pattern;
                let own = |output: &&OutputPattern| match (output.literal, input.literal) {
                    (true, true) => is_within(path, &output.pattern),
                    (true, false) => is_within(literal_prefix(path), &output.pattern),
                    (false, true) => Lazy::new(&output.pattern).is_match(path),
                    (false, false) => output.pattern == path,
                };
                if let Some(output) = target.outputs.iter().find(own) {
                    problems.push(own_input(target, input, output));
                }
            }
        }
        problems
    }

    /// What lies in the cache's directory may go at any time, and what lies around it would hold the cache.
    fn in_the_cache(&self) -> Vec<Problem> {
        let dir = &self.ws.cache.dir;
        let all = self.literals.iter().chain(&self.globs);
        let inside = all.filter(|claim| {
            is_within(claim.path(), dir) || claim.output.literal && is_within(dir, claim.path())
        });
        let problem = |claim: &Claim<'_>| {
            Problem::new(
                code::BAD_PATH,
                match is_within(claim.path(), dir) {
                    true => format!("`{}` lies in the cache's directory", claim.path()),
                    false => format!("the cache's directory lies in `{}`", claim.path()),
                },
            )
            .label(&claim.output.span, "not an output")
            .help(format!(
                "`{dir}` is forge's own: let the target write elsewhere"
            ))
        };
        inside.map(problem).collect()
    }

    fn unneeded(&self, target: &Target, input: &InputPattern, maker: &Claim<'_>) -> Problem {
        let (reader, writer) = (&target.address, &maker.target.address);
        let word = crate::pipeline::resolve::needs_word(self.ws, target.id, maker.target.id);
        Problem::new(
            code::INPUT_NOT_NEEDED,
            format!("`{reader}` reads what `{writer}` makes, without needing it"),
        )
        .label(&input.span, format!("`{reader}` reads it"))
        .label(&maker.output.span, format!("`{writer}` makes it"))
        .help(format!(
            "add \"{word}\" to the `needs` of [target.{}]",
            target.name
        ))
    }
}

/// A glob that is compiled when a path could match it at all.
struct Lazy<'p> {
    pattern: &'p str,
    /// What follows the last glob character: a path that doesn't end so is no match.
    ending: &'p str,
    matcher: Option<GlobMatcher>,
}

impl<'p> Lazy<'p> {
    fn new(pattern: &'p str) -> Lazy<'p> {
        let end = pattern
            .rfind(['*', '?', ']', '}', '\\'])
            .map_or(0, |at| at + 1);
        // An escaped character is part of the escape.
        let ending = match pattern[..end].ends_with('\\') {
            true => "",
            false => &pattern[end..],
        };
        Lazy {
            pattern,
            ending,
            matcher: None,
        }
    }

    fn is_match(&mut self, path: &str) -> bool {
        if !path.ends_with(self.ending) {
            return false;
        }
        if self.matcher.is_none() {
            let glob = GlobBuilder::new(self.pattern)
                .literal_separator(true)
                .build();
            self.matcher = glob.ok().map(|glob| glob.compile_matcher());
        }
        self.matcher
            .as_ref()
            .is_some_and(|matcher| matcher.is_match(path))
    }
}

fn own_input(target: &Target, input: &InputPattern, output: &OutputPattern) -> Problem {
    Problem::new(
        code::OWN_INPUT,
        format!("`{}` reads what it makes itself", target.address),
    )
    .label(&input.span, "all of this")
    .label(&output.span, "is removed before it runs")
    .help("name what it only reads in `inputs`; a target that rewrites files has no `outputs`, and `cache = false`")
}

/// A path and the directories above it, the workspace's root last.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rfind('/') {
        Some(slash) => Some(&path[..slash]),
        None if path.is_empty() => None,
        None => Some(""),
    })
}

/// The one that is written later in the files is the one that is pointed at.
fn overlap(one: &Claim<'_>, other: &Claim<'_>) -> Problem {
    let place = |claim: &Claim<'_>| {
        (
            claim.output.span.file.0,
            claim.output.span.range.start,
            claim.target.id.0,
        )
    };
    let (first, second) = if place(one) <= place(other) {
        (one, other)
    } else {
        (other, one)
    };
    let (a, b) = (&first.target.address, &second.target.address);
    let message = if first.path() == second.path() {
        format!("`{a}` and `{b}` both make `{}`", first.path())
    } else if is_within(second.path(), first.path()) {
        format!("`{b}` makes `{}` inside of what `{a}` makes", second.path())
    } else if is_within(first.path(), second.path()) {
        format!("`{a}` makes `{}` inside of what `{b}` makes", first.path())
    } else {
        format!(
            "`{b}` makes `{}`, and `{a}` makes `{}`",
            second.path(),
            first.path()
        )
    };
    let mut problem = Problem::new(code::OUTPUT_OVERLAP, message)
        .label(&second.output.span, format!("made by `{b}`"))
        .help("let each target write to a place of its own, or make one target of the two");
    if first.output.span != second.output.span {
        problem = problem.label(&first.output.span, format!("made by `{a}`"));
    }
    problem
}
