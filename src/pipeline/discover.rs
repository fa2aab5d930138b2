//! Where pipeline files are: the nearest one going up, the root above a member, the members below a
//! root. Reads pipeline files and lists directories, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::code;
use super::fields::Word;
use super::glob::Glob;
use super::paths;
use super::problem::Problem;
use super::values::{self, is_glob};
use crate::parallel;

/// The file's name, everywhere.
pub const FILE_NAME: &str = "Pipeline.toml";

/// The pipeline file that rules a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The workspace's root file.
    pub root_file: PathBuf,
    /// The member that the directory belongs to: its directory relative to the root's, with `/`.
    pub member: Option<String>,
}

/// Walks up from `dir` to the nearest `Pipeline.toml`, and from a member's on to its workspace's root
/// file. `file` (relative to `dir`) is taken as it is.
pub fn find(dir: &Path, file: Option<&Path>) -> Result<Found, Problem> {
    if let Some(file) = file {
        let root_file = dir.join(file);
        if root_file.is_dir() {
            let name = file.display();
            return Err(Problem::new(
                code::NO_FILE,
                format!("`{name}` is a directory, and `-f` takes a file"),
            )
            .help(format!("work in it: -C {name}")));
        }
        if !root_file.is_file() {
            return Err(Problem::new(
                code::NO_FILE,
                format!("there is no pipeline file `{}`", file.display()),
            )
            .help("`-f` takes the path of a file, from the current directory"));
        }
        return Ok(Found {
            root_file,
            member: None,
        });
    }
    let nearest = dir
        .ancestors()
        .find(|dir| dir.join(FILE_NAME).is_file())
        .ok_or_else(|| none_found(dir))?;
    let owner = workspace_of(nearest);
    Ok(match owner {
        Some(root_file) => Found {
            member: root_file
                .parent()
                .and_then(|above| relative(above, nearest)),
            root_file,
        },
        None => Found {
            root_file: nearest.join(FILE_NAME),
            member: None,
        },
    })
}

/// The pipeline file above a directory that names it among its members.
pub fn workspace_of(dir: &Path) -> Option<PathBuf> {
    dir.ancestors().skip(1).find_map(|above| {
        let member = relative(above, dir)?;
        let file = above.join(FILE_NAME);
        let text = std::fs::read_to_string(&file).ok()?;
        is_member(&member_patterns(&text), &member).then_some(file)
    })
}

fn none_found(dir: &Path) -> Problem {
    Problem::new(
        code::NO_FILE,
        format!("there is no {FILE_NAME} in this directory or above it"),
    )
    .cause(format!("looked in {} and all its parents", dir.display()))
    .help(match namesake(dir) {
        Some(name) => format!("there is `{name}`: rename it to {FILE_NAME}"),
        None => "`forge init` writes one from what is there; `-C DIR` looks elsewhere".into(),
    })
}

/// A file of that name in other letters.
fn namesake(dir: &Path) -> Option<String> {
    let names = std::fs::read_dir(dir).ok()?.flatten();
    let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.find(|name| name.eq_ignore_ascii_case(FILE_NAME))
}

fn relative(above: &Path, dir: &Path) -> Option<String> {
    let parts = dir
        .strip_prefix(above)
        .ok()?
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        });
    Some(parts.collect::<Option<Vec<_>>>()?.join("/"))
}

/// `[workspace] members` of a file; what is wrong with it is said when it is loaded.
fn member_patterns(text: &str) -> Vec<String> {
    let (table, _) = DeTable::parse_recoverable(text);
    let members = table
        .get_ref()
        .get("workspace")
        .and_then(|workspace| workspace.get_ref().get("members"));
    let Some(members) = members.and_then(|members| members.get_ref().as_array()) else {
        return Vec::new();
    };
    let strings = members.iter().filter_map(|item| match item.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    });
    strings.collect()
}

/// Whether a directory is named by `[workspace] members`.
fn is_member(patterns: &[String], dir: &str) -> bool {
    let any = |negative: bool| {
        patterns
            .iter()
            .map(|pattern| Pattern::parse(pattern))
            .any(|pattern| pattern.negative == negative && pattern.matches(dir))
    };
    any(false) && !any(true)
}

/// Whether an entry of `[workspace] members` is a glob that takes directories in, and none of these.
pub fn takes_in_none<'d>(entry: &str, dirs: impl IntoIterator<Item = &'d str>) -> bool {
    let pattern = Pattern::parse(entry);
    let globs = !pattern.negative && !pattern.is_literal();
    globs && !dirs.into_iter().any(|dir| pattern.matches(dir))
}

/// One entry of `[workspace] members`, by path components.
struct Pattern {
    negative: bool,
    parts: Vec<Part>,
}

enum Part {
    Literal(String),
    /// `*`: any one name that isn't hidden.
    Any,
    /// `**`: any number of names that aren't hidden.
    Deep,
    Glob(Glob),
}

impl Pattern {
    fn parse(text: &str) -> Pattern {
        let (negative, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let parts = text
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .map(Part::parse)
            .collect();
        Pattern { negative, parts }
    }

    fn matches(&self, dir: &str) -> bool {
        let names: Vec<&str> = dir.split('/').filter(|name| !name.is_empty()).collect();
        matches_parts(&self.parts, &names)
    }

    fn is_literal(&self) -> bool {
        self.parts
            .iter()
            .all(|part| matches!(part, Part::Literal(_)))
    }
}

impl Part {
    fn parse(text: &str) -> Part {
        match text {
            "*" => Part::Any,
            "**" => Part::Deep,
            text if is_glob(text) && values::glob(text).is_ok() => Part::Glob(Glob::new(text)),
            text => Part::Literal(text.to_owned()),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Part::Literal(text) => text == name,
            Part::Any | Part::Deep => !name.starts_with('.'),
            Part::Glob(glob) => glob.matches(name),
        }
    }
}

fn matches_parts(parts: &[Part], names: &[&str]) -> bool {
    match (parts, names) {
        ([], names) => names.is_empty(),
        ([Part::Deep, rest @ ..], _) if matches_parts(rest, names) => true,
        ([Part::Deep, ..], [name, more @ ..]) => {
            Part::Deep.matches(name) && matches_parts(parts, more)
        }
        ([part, rest @ ..], [name, more @ ..]) => part.matches(name) && matches_parts(rest, more),
        ([_, ..], []) => false,
    }
}

/// A member's file as it was read.
pub struct MemberFile {
    pub text: io::Result<String>,
}

/// So many files are worth a thread to read them.
const SHARE: usize = 24;
/// So much is read at once, at least.
const ROOM: usize = 16 * 1024;

/// Where members can be: a directory among these that has a pipeline file is one.
#[derive(Default)]
pub struct Places {
    /// Relative to the root, with `/`, sorted.
    pub dirs: Vec<String>,
    /// What is wrong where one that is named has no pipeline file, by directory.
    missing: Vec<(String, Problem)>,
}

/// Directories that the patterns name.
pub fn places(root: &Path, words: &[Word<'_>], problems: &mut Vec<Problem>) -> Places {
    let mut named = BTreeSet::new();
    let (mut negatives, mut literals) = (Vec::new(), Vec::new());
    for word in words {
        let pattern = Pattern::parse(word.text);
        if pattern.negative {
            negatives.push(pattern);
            continue;
        }
        if word.text.starts_with('/')
            || word.text.split('/').any(|part| part == "..")
            || pattern.parts.is_empty()
        {
            problems.push(outside(word));
            continue;
        }
        walk(root, "", &pattern.parts, &mut named);
        if pattern.is_literal() {
            literals.push(word);
        }
    }
    let is_wanted =
        |dir: &str| !dir.is_empty() && !negatives.iter().any(|pattern| pattern.matches(dir));
    named.retain(|dir: &String| is_wanted(dir));
    let missing = literals
        .into_iter()
        .map(|word| (literal_dir(word.text), no_member(word)));
    Places {
        missing: missing.filter(|(dir, _)| is_wanted(dir)).collect(),
        dirs: named.into_iter().collect(),
    }
}

/// The members among directories, with the text of each one's file.
pub fn members(
    root: &Path,
    places: Places,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, MemberFile> {
    let files = parallel::map_with(&places.dirs, SHARE, Vec::new, |buffer, dir| {
        read_member(root, dir, buffer)
    });
    let files = places.dirs.into_iter().zip(files);
    let found: BTreeMap<String, MemberFile> = files
        .filter_map(|(dir, file)| file.map(|file| (dir, file)))
        .collect();
    let missing = places.missing.into_iter();
    problems.extend(
        missing.filter_map(|(dir, problem)| (!found.contains_key(&dir)).then_some(problem)),
    );
    found
}

fn literal_dir(text: &str) -> String {
    paths::join("", text).unwrap_or_default()
}

fn outside(word: &Word<'_>) -> Problem {
    Problem::new(
        code::BAD_PATH,
        format!("`{}` is no directory below the workspace", word.text),
    )
    .label(word.span, "members lie below the root file")
    .help("name it relative to the root file's directory: members = [\"services/*\"]")
}

fn no_member(word: &Word<'_>) -> Problem {
    let dir = literal_dir(word.text);
    Problem::new(
        code::MISSING_MEMBER,
        format!("there is no {dir}/{FILE_NAME}"),
    )
    .label(word.span, "named as a member")
    .help(format!(
        "write {dir}/{FILE_NAME}, beginning with [project], or take `{}` out of the list",
        word.text
    ))
}

/// Follows a pattern down the directories; where it ends, a directory with a pipeline file is a member.
fn walk(root: &Path, dir: &str, parts: &[Part], found: &mut BTreeSet<String>) {
    match parts {
        [] => drop(found.insert(dir.to_owned())),
        [Part::Literal(name), rest @ ..] => walk(root, &below(dir, name), rest, found),
        [Part::Deep, rest @ ..] => {
            walk(root, dir, rest, found);
            for name in directories(&root.join(dir), false) {
                if Part::Deep.matches(&name) {
                    walk(root, &below(dir, &name), parts, found);
                }
            }
        }
        [part, rest @ ..] => {
            for name in directories(&root.join(dir), true) {
                if part.matches(&name) {
                    walk(root, &below(dir, &name), rest, found);
                }
            }
        }
    }
}

fn below(dir: &str, name: &str) -> String {
    match dir {
        "" => name.to_owned(),
        dir => format!("{dir}/{name}"),
    }
}

fn read_member(root: &Path, dir: &str, buffer: &mut Vec<u8>) -> Option<MemberFile> {
    let text = read(&root.join(dir).join(FILE_NAME), buffer);
    let missing = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        )
    };
    (!text.as_ref().is_err_and(missing)).then_some(MemberFile { text })
}

/// As the standard library reads a file, which asks for its length first: members are many and small.
fn read(path: &Path, buffer: &mut Vec<u8>) -> io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut length = 0;
    loop {
        if buffer.len() < length + ROOM {
            buffer.resize(length + ROOM, 0);
        }
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let text = std::str::from_utf8(&buffer[..length]);
    let text = text.map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "stream did not contain valid UTF-8",
        )
    })?;
    Ok(text.to_owned())
}

/// Names below a directory. Links are followed where the pattern's depth is fixed, so that no loop of them is.
fn directories(dir: &Path, links: bool) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let kind = entry.file_type().ok()?;
        let directory = kind.is_dir() || (links && kind.is_symlink());
        directory.then(|| entry.file_name().into_string().ok())?
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(patterns: &[&str], dir: &str) -> bool {
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        is_member(&patterns, dir)
    }

    #[test]
    fn member_patterns_match_directories() {
        assert!(matches(&["services/*"], "services/billing"));
        assert!(!matches(&["services/*"], "services/billing/web"));
        assert!(!matches(&["services/*"], "services/.hidden"));
        assert!(matches(&["services/svc-*"], "services/svc-a"));
        assert!(matches(&["./libs/common/"], "libs/common"));
        assert!(matches(&["apps/**"], "apps/a/b/c"));
        assert!(matches(&["**/api"], "x/y/api"));
        assert!(!matches(&["services/*", "!services/old"], "services/old"));
        assert!(!matches(&["services/[a"], "services/a"));
    }

    #[test]
    fn a_member_finds_its_root_and_a_stranger_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("Pipeline.toml", "[workspace]\nmembers = [\"services/*\"]");
        write("services/a/Pipeline.toml", "");
        write("tools/x/Pipeline.toml", "");
        std::fs::create_dir_all(dir.path().join("services/a/src/deep")).unwrap();
        let root_file = dir.path().join(FILE_NAME);
        let found = |path: &str| find(&dir.path().join(path), None).unwrap();
        assert_eq!(
            found("services/a/src/deep"),
            Found {
                root_file: root_file.clone(),
                member: Some("services/a".into())
            }
        );
        assert_eq!(
            found("services"),
            Found {
                root_file: root_file.clone(),
                member: None
            }
        );
        assert_eq!(
            found("tools/x").root_file,
            dir.path().join("tools/x/Pipeline.toml")
        );
        let named = find(dir.path(), Some(Path::new("tools/x/Pipeline.toml"))).unwrap();
        assert_eq!(named.root_file, dir.path().join("tools/x/Pipeline.toml"));
        assert!(find(dir.path(), Some(Path::new("none.toml"))).is_err());
    }
}
