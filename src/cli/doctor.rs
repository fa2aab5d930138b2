//! `forge doctor`: whether what this pipeline needs is there, and what to do where it isn't. [`aws`] asks who is let in
//! there, [`place`] looks at where the cache is.

mod aws;
mod place;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;
use serde_json::json;

use crate::docker::{Engine, EngineError};
use crate::engine::session::Session;
use crate::exec::service::{leftovers, sweep};
use crate::pipeline::model::{Kind, Provider, Tool, Workspace};
use crate::report::style::{Paint, count, printable};

/// The first API version whose engines build with BuildKit.
const BUILDKIT_API: (u32, u32) = (1, 39);
/// Whether Docker is reachable, the tools are there and the cache is healthy
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Remove the containers that killed runs left behind
    #[arg(long)]
    pub fix: bool,
}

/// What is looked at.
pub struct Patient<'a> {
    pub cache_dir: &'a Path,
    /// None outside a workspace, or where its files have errors.
    pub workspace: Option<&'a Workspace>,
    pub tool: &'a Version<'a>,
    /// As the workspace: for what only a run can tell.
    pub session: Option<&'a Session>,
    /// The answer as a document.
    pub json: bool,
}

/// The version of a tool; or what is wrong with it, and what to do.
pub type Version<'a> = dyn Fn(&Tool) -> Result<String, (String, String)> + 'a;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mark {
    Good,
    /// Works, but could be better; or nobody here needs it.
    Notice,
    /// This pipeline needs it.
    Bad,
    /// Not looked at.
    #[serde(rename = "unchecked")]
    Aside,
}

#[derive(Serialize)]
struct Finding {
    #[serde(rename = "state")]
    mark: Mark,
    what: String,
    text: String,
    help: Option<String>,
}

impl Finding {
    fn new(mark: Mark, what: &str, text: impl Into<String>) -> Finding {
        Finding {
            mark,
            what: what.to_owned(),
            text: text.into(),
            help: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Finding {
        self.help = Some(help.into());
        self
    }
}

/// Looks, and prints a line for each thing; 3 when something that the pipeline needs is missing.
///
/// # Errors
/// Those of `out`.
pub fn run(args: &Args, patient: &Patient, paint: Paint, out: &mut dyn Write) -> io::Result<u8> {
    let mut findings = engine(args.fix, patient.workspace);
    findings.push(git());
    findings.extend(place::cache(patient.cache_dir));
    findings.push(place::space(patient.cache_dir));
    findings.extend(patient.session.and_then(remote));
    findings.extend(
        patient
            .workspace
            .map(|ws| tools(ws, patient.tool))
            .unwrap_or_default(),
    );
    findings.extend(credentials(patient.session));
    let bad = findings.iter().any(|finding| finding.mark == Mark::Bad);
    if patient.json {
        let document = json!({ "ok": !bad, "findings": findings });
        serde_json::to_writer_pretty(&mut *out, &document)?;
        writeln!(out)?;
    } else {
        let width = findings.iter().map(|finding| finding.what.chars().count());
        let width = width.max().unwrap_or(0);
        for finding in &findings {
            write_line(finding, width, paint, out)?;
        }
    }
    Ok(if bad { 3 } else { 0 })
}

fn write_line(
    finding: &Finding,
    width: usize,
    paint: Paint,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mark = match finding.mark {
        Mark::Good => paint.good("✓"),
        Mark::Notice => paint.notice("!"),
        Mark::Bad => paint.bad("✗"),
        Mark::Aside => "-".to_owned(),
    };
    let what = format!("{:width$}", finding.what);
    writeln!(out, "{mark} {what}  {}", printable(&finding.text))?;
    match &finding.help {
        Some(help) => writeln!(out, "  {:width$}  {}", "", printable(help)),
        None => Ok(()),
    }
}

fn engine(fix: bool, workspace: Option<&Workspace>) -> Vec<Finding> {
    const WHAT: &str = "Docker engine";
    let connected = Engine::connect().and_then(|engine| Ok((engine.version()?, engine)));
    match connected {
        Ok((version, engine)) => {
            let kit = if has_buildkit(&version.api) {
                ", BuildKit"
            } else {
                ""
            };
            let socket = version.socket.display();
            let text = format!("{} (API {}{kit}) at {socket}", version.version, version.api);
            vec![
                Finding::new(Mark::Good, WHAT, text),
                containers(&engine, fix),
            ]
        }
        Err(error) => {
            let needed = workspace.and_then(needs_engine);
            let mark = if needed.is_some() {
                Mark::Bad
            } else {
                Mark::Notice
            };
            let why = needed.unwrap_or_else(|| "nothing here needs one".to_owned());
            let finding = Finding::new(mark, WHAT, format!("{error} ({why})"));
            vec![Finding {
                help: error.help,
                ..finding
            }]
        }
    }
}

fn has_buildkit(api: &str) -> bool {
    let mut numbers = api.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= BUILDKIT_API
}

/// What can't run without an engine; a service with a `run` can.
fn needs_engine(ws: &Workspace) -> Option<String> {
    let service = ws
        .services
        .iter()
        .find(|service| service.image.is_some() && service.run.is_empty());
    let image = ws
        .targets
        .iter()
        .find(|target| matches!(target.kind, Kind::Image(_)));
    let docker = ws
        .environments
        .iter()
        .find(|one| one.provider == Provider::Docker);
    service
        .map(|service| format!("service {} needs one", service.name))
        .or_else(|| image.map(|image| format!("image target {} needs one", image.address)))
        .or_else(|| docker.map(|one| format!("environment {} is one", one.name)))
}

fn containers(engine: &Engine, fix: bool) -> Finding {
    const WHAT: &str = "leftovers";
    let removed = if fix { sweep(engine) } else { Ok(0) };
    let found = removed.and_then(|removed| Ok((removed, leftovers(engine)?)));
    match found {
        Ok((0, left)) if left.is_empty() => {
            Finding::new(Mark::Good, WHAT, "no containers of killed runs")
        }
        Ok((removed, left)) if left.is_empty() => {
            let containers = count(removed, "container", "containers");
            Finding::new(
                Mark::Good,
                WHAT,
                format!("removed {containers} of killed runs"),
            )
        }
        Ok((_, left)) => {
            let names: Vec<_> = left.into_iter().map(|container| container.name).collect();
            let containers = count(names.len(), "container", "containers");
            let text = format!("{containers} of killed runs: {}", names.join(", "));
            Finding::new(Mark::Notice, WHAT, text).help("`forge doctor --fix` removes them")
        }
        Err(EngineError { message, .. }) => Finding::new(Mark::Notice, WHAT, message),
    }
}

fn git() -> Finding {
    let output = Command::new("git")
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            Finding::new(Mark::Good, "git", text)
        }
        Ok(output) => Finding::new(
            Mark::Notice,
            "git",
            format!("`git --version` ends with {}", output.status),
        ),
        Err(error) => Finding::new(Mark::Notice, "git", format!("can't be run: {error}"))
            .help("without it `${git.…}`, `--since` and `--affected` don't work: install git"),
    }
}

fn tools(ws: &Workspace, version: &Version) -> Vec<Finding> {
    let mut seen = BTreeMap::new();
    for tool in ws.targets.iter().flat_map(|target| &target.tools) {
        seen.entry((&tool.name, &tool.requirement)).or_insert(tool);
    }
    seen.into_values()
        .map(|tool| match version(tool) {
            Ok(found) => {
                let text = match &*tool.requirement {
                    "*" => found,
                    wanted => format!("{found} ({wanted} is wanted)"),
                };
                Finding::new(Mark::Good, &tool.name, text)
            }
            Err((why, help)) => Finding::new(Mark::Bad, &tool.name, why).help(help),
        })
        .collect()
}

/// It is never needed, so whatever is wrong with it is no more than a notice.
fn remote(session: &Session) -> Option<Finding> {
    const WHAT: &str = "remote cache";
    Some(match session.ask_remote()? {
        Ok((host, true)) => Finding::new(Mark::Good, WHAT, format!("{host} answers")),
        Ok((host, false)) => {
            let text = format!("{host} answers; results aren't signed with a secret");
            Finding::new(Mark::Good, WHAT, text)
                .help("set FORGE_REMOTE_SECRET wherever it is used, if others can write there")
        }
        Err(why) => Finding::new(Mark::Notice, WHAT, why).help("runs go on without it"),
    })
}

/// Credentials that nobody here needs are left alone.
fn credentials(session: Option<&Session>) -> Vec<Finding> {
    let found = session.map(aws::findings).unwrap_or_default();
    if !found.is_empty() {
        return found;
    }
    let why = match session {
        Some(_) => "not checked: nothing here goes to ECR or ECS",
        None => "not checked: there is no pipeline here",
    };
    vec![Finding::new(Mark::Aside, "AWS", why)]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn report(dir: &Path) -> (u8, String) {
        let mut out = Vec::new();
        let patient = Patient {
            cache_dir: dir,
            workspace: None,
            tool: &|_| Err(Default::default()),
            session: None,
            json: false,
        };
        let code = run(&Args { fix: false }, &patient, Paint::new(false), &mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    #[test]
    fn without_a_pipeline_nothing_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (code, text) = report(&dir.path().join("none/yet"));
        assert_eq!(code, 0, "{text}");
        for what in [
            "Docker engine",
            "git",
            "isn't there yet",
            "disk space",
            "not checked",
        ] {
            assert!(text.contains(what), "{what}: {text}");
        }
    }

    #[test]
    fn the_cache_is_measured_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/blob"), [0; 1500]).unwrap();
        let (_, text) = report(dir.path());
        assert!(
            text.contains("1.5 kB in 1 file, writable, copies"),
            "{text}"
        );
        let left = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 1, "nothing but what was there");
    }

    #[test]
    fn an_engine_since_1_39_has_buildkit() {
        assert!(has_buildkit("1.41") && has_buildkit("1.39") && has_buildkit("2.0"));
        assert!(!has_buildkit("1.38") && !has_buildkit(""));
    }

    fn workspace(text: &str) -> Workspace {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("Pipeline.toml");
        fs::write(&file, text).unwrap();
        crate::pipeline::load(&file, &Default::default())
            .unwrap()
            .workspace
    }

    #[test]
    fn a_tool_that_does_not_fit_is_bad_and_said_once() {
        let problem =
            |name: &str| Err((format!("{name} isn't installed"), "install it".to_owned()));
        let text = r#"
            [pipeline]
            name = "x"
            [target.a]
            run = "true"
            tools = { here = "1", gone = "*" }
            [target.b]
            run = "true"
            tools = { gone = "*" }
        "#;
        let ws = workspace(text);
        let found = tools(&ws, &|tool| match &*tool.name {
            "here" => Ok("1.2.3".to_owned()),
            name => problem(name),
        });
        let lines: Vec<_> = found
            .iter()
            .map(|one| (one.mark, &*one.what, &*one.text))
            .collect();
        assert_eq!(
            lines,
            [
                (Mark::Bad, "gone", "gone isn't installed"),
                (Mark::Good, "here", "1.2.3 (1 is wanted)")
            ]
        );
    }

    #[test]
    fn a_service_that_can_run_as_a_process_needs_no_engine() {
        let pipeline = |service: &str| {
            workspace(&format!(
                "[pipeline]\nname = \"x\"\n[service.db]\n{service}\n"
            ))
        };
        let container = pipeline("image = \"postgres:15\"");
        assert_eq!(
            needs_engine(&container).as_deref(),
            Some("service db needs one")
        );
        assert_eq!(
            needs_engine(&pipeline("image = \"postgres:15\"\nrun = \"postgres\"")),
            None
        );
    }
}
