//! What a shell line does, as far as its words tell: whether its result may be taken from a cache,
//! whether it acts on the world, and what it takes from the caller's environment.
//!
//! A line is cacheable only when every command in it is known to do nothing but check. Knows
//! nothing of make or TOML, and runs nothing.

mod class;

pub(super) use crate::pipeline::names::{is_secret, is_variable as is_name};

use class::class_of;

/// What a command does, weakest first: a line is what its strongest command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Prints, or moves about: `echo`, `cd`.
    Quiet,
    /// Reads the project and says yes or no: linters, tests.
    Checks,
    /// A check whose answer depends on more than the project: advisories, git's state.
    Looks,
    /// Signs in somewhere: harmless after or beside anything.
    SignsIn,
    /// Makes files, or nothing is known of it.
    Makes,
    /// Changes the sources themselves: formatters.
    Edits,
    /// Changes something outside the project: engines, registries, clusters, installed packages.
    Acts,
    /// Talks to whoever runs it: prompts, shells.
    Asks,
    /// Goes on until it is stopped.
    Serves,
}

impl Class {
    /// Whether it is nothing without the terminal.
    pub fn owns_terminal(self) -> bool {
        matches!(self, Class::Asks | Class::Serves)
    }
}

/// A line's class, and the words that made it so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub class: Class,
    pub because: String,
}

/// Judges a line (or several) as the shell gets it.
pub(super) fn judge(line: &str) -> Verdict {
    let quiet = Verdict {
        class: Class::Quiet,
        because: String::new(),
    };
    // What a command substitution runs isn't looked into.
    let substituted = (line.contains("$(") || line.contains('`'))
        .then(|| verdict(Class::Makes, "a command substitution"));
    split(line)
        .iter()
        .map(judge_command)
        .chain(substituted)
        .fold(quiet, |a, b| if b.class > a.class { b } else { a })
}

/// One command of a line.
#[derive(Default)]
struct Simple {
    words: Vec<String>,
    /// It reads what the one before it prints.
    piped: bool,
}

/// The commands of a line, each as its words: split where the shell would, quotes taken off.
/// Redirections to files are kept as `>`.
pub(super) fn simple_commands(line: &str) -> Vec<Vec<String>> {
    split(line).into_iter().map(|simple| simple.words).collect()
}

fn split(line: &str) -> Vec<Simple> {
    let mut commands = vec![Simple::default()];
    let mut word = String::new();
    let mut quote = None;
    let mut chars = line.chars().peekable();
    let end_word = |word: &mut String, commands: &mut Vec<Simple>| {
        if let (false, Some(last)) = (word.is_empty(), commands.last_mut()) {
            last.words.push(std::mem::take(word));
        }
    };
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            // What a double-quoted string substitutes runs all the same.
            ('`', Some('"')) => end_word(&mut word, &mut commands),
            (c, Some(_)) => word.push(c),
            ('\'' | '"', None) => quote = Some(c),
            ('\\', None) => match chars.next() {
                Some('\n') | None => end_word(&mut word, &mut commands),
                Some(next) => word.push(next),
            },
            ('>', None) => {
                end_word(&mut word, &mut commands);
                word.push('>');
                end_word(&mut word, &mut commands);
            }
            ('&', None)
                if commands
                    .last()
                    .and_then(|c| c.words.last())
                    .is_some_and(|w| w == ">") =>
            {
                word.push('&');
            }
            (';' | '|' | '&' | '\n' | '(' | ')' | '`', None) => {
                end_word(&mut word, &mut commands);
                let alone = c == '|' && chars.next_if_eq(&'|').is_none();
                commands.push(Simple {
                    piped: alone,
                    ..Simple::default()
                });
            }
            ('#', None) if word.is_empty() => while chars.next_if(|c| *c != '\n').is_some() {},
            (c, None) if c.is_whitespace() => end_word(&mut word, &mut commands),
            (c, None) => word.push(c),
        }
    }
    end_word(&mut word, &mut commands);
    commands.retain(|simple| !simple.words.is_empty());
    commands
}

fn judge_command(simple: &Simple) -> Verdict {
    // `while read` goes through what its loop is fed.
    let loops = matches!(simple.words[0].as_str(), "while" | "until");
    let fed = loops || simple.piped || simple.words.iter().any(|word| word.starts_with('<'));
    let words = program_on(&simple.words);
    let Some((program, args)) = words.split_first() else {
        return verdict(Class::Quiet, "");
    };
    let subcommand = args.iter().find(|a| !a.starts_with('-')).map_or("", |a| a);
    let class = match () {
        _ if args.contains(&"--follow") || (args.contains(&"logs") && args.contains(&"-f")) => {
            Class::Serves
        }
        _ if args.contains(&"login") || args.contains(&"get-login-password") => Class::SignsIn,
        _ => match class_of(program, subcommand, args) {
            Class::Asks if fed && *program == "read" => Class::Quiet,
            Class::Asks if fed => Class::Acts,
            class => class,
        },
    };
    let class = match writes_a_file(args) || (program != &"pytest" && reports_to_a_file(args)) {
        true if class > Class::Quiet || writes_a_file(args) => class.max(Class::Makes),
        true => class,
        false => class,
    };
    let named = match class {
        Class::Acts | Class::Asks | Class::Serves | Class::Edits | Class::SignsIn
            if !subcommand.is_empty() =>
        {
            format!("{program} {subcommand}")
        }
        _ => (*program).to_owned(),
    };
    verdict(class, &named)
}

fn verdict(class: Class, because: &str) -> Verdict {
    Verdict {
        class,
        because: because.to_owned(),
    }
}

/// A `>` whose target is neither a descriptor nor `/dev/null`.
fn writes_a_file(args: &[&str]) -> bool {
    let targets = args.iter().skip_while(|a| **a != ">").skip(1);
    let mut targets = targets.filter(|t| **t != ">").peekable();
    args.contains(&">")
        && targets
            .peek()
            .is_none_or(|t| !t.starts_with('&') && **t != "/dev/null")
}

/// Options by which checkers are told to leave a report.
fn reports_to_a_file(args: &[&str]) -> bool {
    args.iter().any(|arg| {
        *arg == "-o"
            || [
                "--out",
                "--coverage",
                "-coverprofile",
                "--html-report",
                "--report",
            ]
            .iter()
            .any(|option| arg.starts_with(option))
    })
}

/// The words from the program on: assignments, shell keywords and programs that only run
/// another one are stepped over; the program is its file name.
fn program_on(words: &[String]) -> Vec<&str> {
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    while let Some(first) = words.first().copied() {
        let name = first.rsplit('/').next().unwrap_or(first);
        let second = words.get(1).copied().unwrap_or("");
        let skip = match (name, second) {
            _ if is_assignment(first) => 1,
            (
                "sudo" | "env" | "time" | "exec" | "command" | "nice" | "then" | "do" | "else"
                | "if" | "while" | "until" | "!" | "{" | "xargs",
                _,
            ) => 1,
            ("poetry" | "uv" | "pipenv" | "hatch" | "pdm", "run") => 2,
            ("bundle" | "pnpm" | "yarn" | "npm", "exec") => 2,
            ("npx" | "bunx", _) => 1,
            ("coverage", "run") if words.get(2) == Some(&"-m") => 3,
            ("python" | "python3", "-m") if second == "-m" => 2,
            _ => {
                if let Some(program) = words.first_mut() {
                    *program = name;
                }
                break;
            }
        };
        words.drain(..skip.min(words.len()));
    }
    words
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| is_name(name))
}

/// Variables that programs take from the caller: names that may be in a key, and secret ones.
pub(super) fn environment(line: &str) -> (Vec<&'static str>, Vec<&'static str>) {
    const AWS: (&[&str], &[&str]) = (
        &["AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"],
        &[
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
        ],
    );
    let (mut open, mut secret) = (Vec::new(), Vec::new());
    for words in simple_commands(line) {
        let words = program_on(&words);
        let (names, secrets): (&[&'static str], &[&'static str]) =
            match words.first().copied().unwrap_or("") {
                "aws" | "cdk" | "sam" | "eb" | "ecspresso" | "copilot" | "terraform" => AWS,
                "docker" | "docker-compose" => (&["DOCKER_HOST", "DOCKER_CONFIG"], &[]),
                "kubectl" | "helm" => (&["KUBECONFIG"], &[]),
                "ssh" | "scp" | "rsync" | "git" => (&["SSH_AUTH_SOCK"], &[]),
                "twine" => (&["TWINE_USERNAME"], &["TWINE_PASSWORD"]),
                "gh" => (&[], &["GH_TOKEN"]),
                _ => (&[], &[]),
            };
        open.extend(names);
        secret.extend(secrets);
    }
    (open, secret)
}

/// Shell variables that a line reads and does not set itself, but for those every target sees.
pub(super) fn variables(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut single = false;
    let mut double = false;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\'' if !double => single = !single,
            '"' if !single => double = !double,
            '\\' if !single => rest = rest.get(1..).unwrap_or(""),
            '$' if !single => {
                let name_on = rest.strip_prefix('{').unwrap_or(rest);
                let end = |c: char| !c.is_ascii_alphanumeric() && c != '_';
                let name = &name_on[..name_on.find(end).unwrap_or(name_on.len())];
                let forge = rest.starts_with('{') && name_on[name.len()..].starts_with('.');
                if is_name(name) && !forge {
                    names.push(name.to_owned());
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !always_there(name) && !sets(line, name));
    names.dedup();
    names
}

fn always_there(name: &str) -> bool {
    name.starts_with("LC_")
        || [
            "PATH", "HOME", "USER", "SHELL", "LANG", "TERM", "TMPDIR", "TZ", "PWD", "OLDPWD",
            "IFS", "OPTARG", "OPTIND", "PPID", "RANDOM", "LINENO",
        ]
        .contains(&name)
}

fn sets(line: &str, name: &str) -> bool {
    let assigned = format!("{name}=");
    simple_commands(line).iter().any(|words| {
        let after =
            |keyword: &str| words.iter().any(|w| w == keyword) && words.iter().any(|w| w == name);
        words.iter().any(|w| w.starts_with(&assigned)) || after("for") || after("read")
    })
}

/// Files that a test run writes because its words say so; `None` when their place isn't known.
pub(super) fn reports(line: &str) -> Option<Vec<String>> {
    let commands = simple_commands(line);
    let moved = commands.iter().any(|words| words.iter().any(|w| w == "cd"));
    let files: Vec<String> = commands
        .iter()
        .map(|words| program_on(words))
        .filter(|words| words.first() == Some(&"pytest"))
        .flat_map(|words| {
            let pairs: Vec<(&str, &str)> = words
                .iter()
                .zip(words.iter().skip(1).chain([&""]))
                .map(|(word, next)| word.split_once('=').unwrap_or((word, next)))
                .collect();
            pairs
        })
        .filter_map(|(option, value)| report(option, value))
        .collect();
    let plain = |f: &String| {
        !f.contains(['$', '*', '?', '[']) && !f.starts_with(['/', '-']) && !f.contains("..")
    };
    match (files.is_empty(), moved || !files.iter().all(plain)) {
        (false, true) => None,
        _ => Some(files),
    }
}

/// The file that one of pytest's options names.
fn report(option: &str, value: &str) -> Option<String> {
    let file = match (option, value) {
        ("--cov-report", "xml") => "coverage.xml",
        ("--cov-report", "html") => "htmlcov",
        ("--cov-report", "json") => "coverage.json",
        ("--cov-report", report) => report
            .split_once(':')
            .filter(|(kind, _)| *kind != "term-missing" && *kind != "term")
            .map(|(_, file)| file)?,
        ("--junitxml" | "--junit-xml", file) => file,
        _ => return None,
    };
    Some(file.to_owned())
}
