//! What workflows of GitHub Actions run and start that the proposal doesn't: left as comments, since a workflow tells
//! neither what a command reads nor which target it belongs to. Understands as much YAML as steps are written in.

use std::collections::BTreeSet;

use super::commands::{Class, judge, simple_commands};
use super::draft::Draft;
use super::{Found, Note};

/// Where they lie.
pub(super) const DIR: &str = ".github/workflows";

/// Ports that well-known images listen on.
const PORTS: [(&str, u16); 8] = [
    ("postgres", 5432),
    ("redis", 6379),
    ("mysql", 3306),
    ("mariadb", 3306),
    ("mongo", 27017),
    ("rabbitmq", 5672),
    ("memcached", 11211),
    ("elasticsearch", 9200),
];

/// What only prepares a runner, or runs what the proposal was made from.
const PREPARES: [&str; 9] = [
    "pip", "pip3", "apt-get", "apt", "make", "forge", "set", "source", ".",
];

/// What says little without the word after it.
const RUNNERS: [&str; 14] = [
    "python", "python3", "node", "npm", "npx", "pnpm", "yarn", "bash", "sh", "cargo", "go",
    "docker", "aws", "gh",
];

/// A line of a workflow: how far it is set in, without a list's dash, and where it stands.
struct Line<'t> {
    indent: usize,
    text: &'t str,
    number: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Service {
    name: String,
    line: usize,
    image: String,
    env: Vec<(String, String)>,
    ports: Vec<u16>,
}

/// Comments for the file's end: what each workflow does that the draft doesn't.
pub(super) fn remarks(found: &Found, draft: &Draft, notes: &mut Vec<Note>) -> Vec<String> {
    let known = known(found, draft);
    let mut told = BTreeSet::new();
    let files = found.texts.iter().filter(|(name, _)| name.starts_with(DIR));
    let mut remark = |(file, text): (&String, &String)| {
        let lines = lines(text);
        let mut services = services(&lines);
        services.retain(|service| told.insert(service.name.clone()));
        let mut commands = commands(&lines);
        commands.retain(|(_, command)| is_news(command, &known) && told.insert(command.clone()));
        if !services.is_empty() || !commands.is_empty() {
            notes.push(Note::new(file, None, summary(&services, &commands)));
        }
        let commands = (!commands.is_empty()).then(|| these_commands(file, &commands));
        let services: Vec<String> = services.iter().map(|one| this_service(file, one)).collect();
        commands.into_iter().chain(services)
    };
    files.flat_map(&mut remark).collect()
}

fn summary(services: &[Service], commands: &[(usize, String)]) -> String {
    let mut parts = Vec::new();
    if !services.is_empty() {
        let names: Vec<&str> = services
            .iter()
            .map(|service| service.name.as_str())
            .collect();
        parts.push(format!("starts {}", names.join(", ")));
    }
    if let [(line, _), ..] = commands {
        parts.push(format!("runs what no target does (from line {line} on)"));
    }
    format!("it {}: the end of the file says what", parts.join(" and "))
}

fn these_commands(file: &str, commands: &[(usize, String)]) -> String {
    let line = |(line, command): &(usize, String)| format!("    {command}  (line {line})\n");
    let lines: String = commands.iter().map(line).collect();
    format!("{file} runs this, which no target here does:\n{lines}")
}

fn this_service(file: &str, service: &Service) -> String {
    let name = &service.name;
    let mut out = format!(
        "{file} (line {}) starts {name}. Targets with `services = [\"{name}\"]` find it at\n\
         ${{service.{name}.host}}:${{service.{name}.port}}, here and in CI:\n\n[service.{name}]\nimage = {:?}\n",
        service.line, service.image
    );
    if !service.env.is_empty() {
        let env = service.env.iter();
        let env: Vec<String> = env
            .map(|(key, value)| format!("{key} = {value:?}"))
            .collect();
        out += &format!("env = {{ {} }}\n", env.join(", "));
    }
    match service.ports.as_slice() {
        [] => out += "ports = []  # the one it listens on\n",
        ports => out += &format!("ports = {ports:?}\n"),
    }
    out
}

/// What targets, and the files that they were made from, run.
fn known(found: &Found, draft: &Draft) -> String {
    let runs = draft.targets.iter().flat_map(|target| &target.run);
    let files = [
        found.makefile().map(|(_, text)| text),
        found.text("package.json"),
    ];
    let texts = runs.map(String::as_str).chain(files.into_iter().flatten());
    texts.collect::<Vec<_>>().join("\n")
}

/// Whether a line of a step does something that isn't known.
fn is_news(line: &str, known: &str) -> bool {
    let has = |word: &str| {
        let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        known.match_indices(word).any(|(at, _)| {
            !known[..at].ends_with(part) && !known[at + word.len()..].starts_with(part)
        })
    };
    // What `npm ci` and the like install, installations of the proposal do.
    let installs = |words: &[String]| {
        words.len() > 1 && ["ci", "install", "sync"].contains(&words[1].as_str())
    };
    simple_commands(line).iter().any(|words| {
        let program = words[0].rsplit('/').next().unwrap_or(&words[0]);
        let verdict = judge(&words.join(" "));
        let matters = !matches!(verdict.class, Class::Quiet | Class::SignsIn);
        let word = words.iter().skip(1).find(|word| !word.starts_with('-'));
        let is_known =
            has(program) && (!RUNNERS.contains(&program) || word.is_none_or(|word| has(word)));
        matters && !PREPARES.contains(&program) && !installs(words) && !is_known
    })
}

fn lines(text: &str) -> Vec<Line<'_>> {
    let line = |(at, raw): (usize, &'_ str)| -> Option<(usize, usize)> {
        let text = raw.trim_start();
        let dashes = text.len() - text.trim_start_matches("- ").trim_start().len();
        let blank = text.is_empty() || text.starts_with('#');
        (!blank).then_some((at, raw.len() - text.len() + dashes))
    };
    let numbered = text.lines().enumerate();
    numbered
        .filter_map(|(at, raw)| {
            let (at, indent) = line((at, raw))?;
            Some(Line {
                indent,
                text: raw[indent..].trim_end(),
                number: at + 1,
            })
        })
        .collect()
}

/// What stands below a line: the lines set in further.
fn below<'l, 't>(lines: &'l [Line<'t>], at: usize) -> &'l [Line<'t>] {
    let indent = lines[at].indent;
    let rest = &lines[at + 1..];
    let end = rest.iter().position(|line| line.indent <= indent);
    &rest[..end.unwrap_or(rest.len())]
}

/// The value of a line with this key.
fn value<'t>(line: &Line<'t>, key: &str) -> Option<&'t str> {
    let rest = line.text.strip_prefix(key)?.strip_prefix(':')?;
    (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim())
}

fn unquoted(text: &str) -> String {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"')
        .or_else(|| inner('\''))
        .unwrap_or(text)
        .to_owned()
}

/// The shell lines of all steps, with their numbers.
fn commands(lines: &[Line<'_>]) -> Vec<(usize, String)> {
    let mut commands = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(run) = value(line, "run") else {
            continue;
        };
        if !run.is_empty() && !run.starts_with(['|', '>']) {
            commands.push((line.number, unquoted(run)));
            continue;
        }
        let mut open = false;
        for line in below(lines, at) {
            let text = line.text.trim_end_matches('\\').trim_end();
            match commands.last_mut() {
                Some((_, command)) if open => *command = format!("{command} {text}"),
                _ => commands.push((line.number, text.to_owned())),
            }
            open = run.starts_with('>') || line.text.ends_with('\\');
        }
    }
    commands
}

fn services(lines: &[Line<'_>]) -> Vec<Service> {
    let mut services = Vec::new();
    for at in (0..lines.len()).filter(|at| value(&lines[*at], "services") == Some("")) {
        let block = below(lines, at);
        let Some(indent) = block.first().map(|line| line.indent) else {
            continue;
        };
        for at in (0..block.len()).filter(|at| block[*at].indent == indent) {
            let name = block[at].text.strip_suffix(':');
            services.extend(name.and_then(|name| service(name, block, at)));
        }
    }
    services
}

fn service(name: &str, lines: &[Line<'_>], at: usize) -> Option<Service> {
    let block = below(lines, at);
    let find = |key: &str| block.iter().position(|line| value(line, key).is_some());
    let image = value(&block[find("image")?], "image")?;
    let plain = |name: &str| {
        name.chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let env = find("env").map_or(&[][..], |at| below(block, at));
    let pairs = env.iter().filter_map(|line| line.text.split_once(':'));
    let mut ports: Vec<u16> = find("ports")
        .map_or(&[][..], |at| below(block, at))
        .iter()
        .filter_map(|line| unquoted(line.text).rsplit(':').next()?.parse().ok())
        .collect();
    let image = unquoted(image);
    if ports.is_empty() {
        let base = image
            .split(':')
            .next()
            .unwrap_or_default()
            .rsplit('/')
            .next();
        let known = PORTS.iter().filter(|(name, _)| Some(*name) == base);
        ports.extend(known.map(|(_, port)| *port));
    }
    (plain(name) && !image.is_empty()).then(|| Service {
        name: name.to_owned(),
        line: lines[at].number,
        image,
        env: pairs
            .filter(|(key, _)| plain(key))
            .map(|(key, value)| (key.to_owned(), unquoted(value.trim())))
            .collect(),
        ports,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_services_are_read() {
        let text = "jobs:\n  test:\n    services:\n      db: # a comment\n      postgres:\n        image: postgres:15\n        env:\n          POSTGRES_PASSWORD: 'x'\n\n    \
                    steps:\n      - uses: actions/checkout@v3\n      - run: make lint\n      - name: more\n        run: |\n          a --b \\\n            c\n          # not this\n          d\n        env:\n          E: f\n      - run: >-\n          g\n          h\n";
        let lines = lines(text);
        let expected = [(12, "make lint"), (15, "a --b c"), (18, "d"), (22, "g h")];
        let expected: Vec<_> = expected.map(|(line, text)| (line, text.to_owned())).into();
        assert_eq!(commands(&lines), expected);
        let services = services(&lines);
        assert_eq!(services.len(), 1);
        assert_eq!(
            (services[0].name.as_str(), services[0].line),
            ("postgres", 5)
        );
        assert_eq!(
            services[0].env,
            [("POSTGRES_PASSWORD".to_owned(), "x".to_owned())]
        );
        assert_eq!(services[0].ports, [5432]);
    }

    #[test]
    fn what_targets_run_is_no_news() {
        let known = "$(BIN)/bandit -q -r app/\ndocker build .\npython3 -m pytest";
        for line in [
            "bandit -r app",
            "pip install x",
            "echo a",
            "docker build -t x .",
            "npm ci",
            "cd a && make b",
        ] {
            assert!(!is_news(line, known), "{line}");
        }
        for line in [
            "docker tag a b",
            "codecov",
            "./deploy.sh",
            "python3 release.py",
        ] {
            assert!(is_news(line, known), "{line}");
        }
    }
}
