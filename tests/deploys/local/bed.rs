//! An environment on the real engine with images of its own, made on the spot; everything goes when the bed does.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use forge::deploy::error::DeployError;
use forge::deploy::gates::Approval;
use forge::deploy::local::Local;
use forge::deploy::outcome::{Ending, Outcome};
use forge::deploy::progress::Progress;
use forge::deploy::provider::{LogLine, Provider, Wanted};
use forge::deploy::request::{Caller, Found, Pace, Request};
use forge::deploy::spec::{Check, Overlay, Spec};
use forge::deploy::taskdef::Image;
use forge::docker::{Credentials, Engine};
use forge::pipeline::model::OnFailure;

/// What no test waits longer for.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Bed {
    /// Of this test alone; the environment is `dev`, the service `app`.
    pub pipeline: String,
    images: RefCell<Vec<String>>,
    /// Its containers go with it.
    owned: bool,
}

/// A deployment, changed by what the test says.
pub struct Plan<'a> {
    /// Name of an image.
    pub image: &'a str,
    /// One in a registry instead: `repository@sha256:…`.
    pub pushed: Option<&'a str>,
    /// Nobody is logged in there.
    pub stranger: bool,
    pub services: &'a [&'a str],
    pub url: Option<String>,
    pub env: &'a [(&'a str, &'a str)],
    pub secrets: &'a [(&'a str, &'a str)],
    pub before: &'a [&'a str],
    pub smoke: &'a [&'a str],
    pub memory: Option<u32>,
    pub timeout: Duration,
    pub on_failure: OnFailure,
    pub approval: bool,
    pub takeover: bool,
    pub restart: bool,
    /// Told each line; what it does goes on meanwhile.
    pub at: &'a dyn Fn(&str),
    /// Ctrl-C at the first line that holds this.
    pub cancel_on: Option<&'a str>,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Plan {
            image: "",
            pushed: None,
            stranger: false,
            services: &["app"],
            url: None,
            env: &[],
            secrets: &[],
            before: &[],
            smoke: &[],
            memory: None,
            timeout: PATIENCE,
            on_failure: OnFailure::Rollback,
            approval: false,
            takeover: false,
            restart: false,
            at: &|_| {},
            cancel_on: None,
        }
    }
}

/// How it ended.
#[derive(Debug)]
pub struct Run {
    pub code: u8,
    /// Everything that was said, the end last.
    pub text: String,
}

impl Run {
    #[track_caller]
    pub fn says(&self, what: &str) -> &Run {
        assert!(self.text.contains(what), "no `{what}` in:\n{}", self.text);
        self
    }

    #[track_caller]
    pub fn never_says(&self, what: &str) -> &Run {
        assert!(!self.text.contains(what), "`{what}` in:\n{}", self.text);
        self
    }

    #[track_caller]
    pub fn ends(&self, code: u8) -> &Run {
        assert_eq!(self.code, code, "{}", self.text);
        self
    }
}

pub fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("docker");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker {args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A port of 127.0.0.1 that nobody has.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// What a web server answers; `None`: nobody does.
pub fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    let timeout = Some(Duration::from_secs(5));
    stream.set_read_timeout(timeout).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.trim().to_owned()).filter(|body| !body.is_empty())
}

/// Waits until something holds.
#[track_caller]
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name}: run tests/setup.sh registry"))
}

/// Who may push to and pull from the registry of the test bed.
fn login() -> Credentials {
    Credentials {
        user: "AWS".into(),
        password: variable("FORGE_TEST_REGISTRY_PASSWORD"),
    }
}

fn of_registry(pushed: &str) -> Image {
    let (repository, digest) = pushed.split_once('@').expect("a digest");
    Image {
        repository: repository.into(),
        digest: digest.into(),
    }
}

/// What is deployed of a local image, and what its commit is called.
fn of_engine(name: &str) -> (Image, &str) {
    let (repository, commit) = name.split_once(':').expect("a tag");
    let image = Image {
        repository: repository.into(),
        digest: docker(&["image", "inspect", "-f", "{{.Id}}", name]),
    };
    (image, commit)
}

impl Bed {
    pub fn new() -> Bed {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Bed {
            pipeline: format!("forge-local-{}-{number}", std::process::id()),
            images: RefCell::default(),
            owned: true,
        }
    }

    /// Another look at somebody's environment.
    pub fn of(pipeline: String) -> Bed {
        Bed {
            pipeline,
            images: RefCell::default(),
            owned: false,
        }
    }

    /// Makes an image on busybox of these lines, and answers its name.
    pub fn image(&self, lines: &str) -> String {
        let number = self.images.borrow().len();
        let name = format!("{}:{number}", self.pipeline);
        let mut build = Command::new("docker")
            .args(["build", "-q", "-t", &name, "-"])
            .env("DOCKER_BUILDKIT", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker");
        // First what no other image has: layers that two share can't be removed while the other one is built.
        let text = format!("FROM busybox:1\nLABEL of={name}\nSTOPSIGNAL SIGKILL\n{lines}\n");
        let mut stdin = build.stdin.take().expect("piped");
        stdin.write_all(text.as_bytes()).expect("written");
        drop(stdin);
        let output = build.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{said}");
        self.images.borrow_mut().push(name.clone());
        name
    }

    /// Moves an image to the registry of the test bed, and answers what it is there.
    pub fn push(&self, image: &str) -> String {
        let engine = Engine::connect().expect("an engine");
        let host = variable("FORGE_TEST_REGISTRY");
        let (repository, tag) = image.split_once(':').expect("a tag");
        let there = format!("{host}/{repository}");
        engine.tag(image, &there, tag).expect("tagged");
        let name = format!("{there}:{tag}");
        let pushed = engine.push(&name, Some(&login()), &mut |_| {}, &|| false);
        pushed.expect("pushed");
        let digests = engine.image(&name).expect("asked").expect("there");
        let mut digests = digests.repo_digests.into_iter();
        let pushed = digests.find(|one| one.starts_with(&there));
        docker(&["image", "rm", &name, image]);
        let pushed = pushed.expect("a digest");
        self.images.borrow_mut().push(pushed.clone());
        pushed
    }

    /// A web server on port 8000 that answers with this word.
    pub fn web(&self, word: &str) -> String {
        self.image(&format!(
            "EXPOSE 8000\nCMD echo {word} is up; mkdir /www; echo {word} > /www/index.html; exec httpd -f -p 8000 -h /www"
        ))
    }

    /// One that writes a line and ends with 3.
    pub fn crash(&self) -> String {
        self.image("EXPOSE 8000\nCMD echo the disk is on fire; exit 3")
    }

    /// One whose check always fails.
    pub fn unhealthy(&self) -> String {
        self.image(
            "EXPOSE 8000\nHEALTHCHECK --interval=1s --retries=1 CMD echo not today; false\nCMD sleep 600",
        )
    }

    fn spec(&self, plan: &Plan<'_>) -> Spec {
        let pairs = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = list.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let texts =
            |list: &[&str]| -> Vec<String> { list.iter().map(|one| (*one).to_owned()).collect() };
        Spec {
            name: "dev".into(),
            region: None,
            account: None,
            profile: None,
            assume_role: None,
            cluster: None,
            services: texts(plan.services),
            container: None,
            overlay: Overlay {
                env: pairs(plan.env),
                secrets: pairs(plan.secrets),
                cpu: None,
                memory: plan.memory,
            },
            desired_count: None,
            url: plan.url.clone(),
            branch: Vec::new(),
            approval: plan.approval,
            freeze: Vec::new(),
            timezone: None,
            before: texts(plan.before),
            smoke: texts(plan.smoke).into_iter().map(Check::Run).collect(),
            on_failure: plan.on_failure,
            timeout: plan.timeout,
        }
    }

    fn act(
        &self,
        plan: &Plan<'_>,
        action: impl FnOnce(
            &Local,
            &Spec,
            &RefCell<String>,
            &mut Caller<'_>,
        ) -> Result<Option<Outcome>, DeployError>,
    ) -> Run {
        let text = RefCell::new(String::new());
        let cancelled = Cell::new(false);
        let mut sink = |progress: Progress| {
            let line = progress.to_string();
            text.borrow_mut().push_str(&format!("{line}\n"));
            (plan.at)(&line);
            if plan.cancel_on.is_some_and(|word| line.contains(word)) {
                cancelled.set(true);
            }
        };
        let shell = |line: &str| match line {
            "true" => Ok(()),
            "ctrl-c" => {
                cancelled.set(true);
                Err("interrupted".to_owned())
            }
            _ => Err("exit code 1".to_owned()),
        };
        let mut caller = Caller {
            sink: &mut sink,
            cancelled: &|| cancelled.get(),
            shell: &shell,
            image: &|_| match plan.pushed {
                Some(_) => Found::Here(Vec::new()),
                None => Found::Gone,
            },
            login: &|_| (!plan.stranger).then(login),
            commits: &|old, new| vec![format!("{old}..{new}")],
            pace: Pace(Duration::from_millis(50)),
        };
        let local = Local::connect(&self.pipeline).expect("an engine");
        let (code, end) = match action(&local, &self.spec(plan), &text, &mut caller) {
            Ok(Some(outcome)) => (
                outcome.result.exit_code(),
                format!("{:?} now {:?}", outcome.result, outcome.now),
            ),
            Ok(None) => (0, String::new()),
            Err(error) => (
                error.exit_code(),
                format!("{} / {}", error.message, error.help),
            ),
        };
        let text = format!("{}{end}", text.borrow());
        Run { code, text }
    }

    /// Plans, and deploys after something, unless that is nothing.
    fn deploy_or_plan(&self, plan: &Plan<'_>, between: Option<&dyn Fn()>) -> Run {
        let (image, commit) = match plan.pushed {
            Some(pushed) => (of_registry(pushed), "0"),
            None => of_engine(plan.image),
        };
        self.act(plan, |local, spec, text, caller| {
            let request = Request {
                spec: spec.clone(),
                definition: None,
                image,
                commit: Some(format!("c{commit}")),
                branch: None,
                by: "ann".into(),
                key: "k1".into(),
                run: None,
                now: "2026-01-09T12:00:00Z".parse().expect("a time"),
                hotfix: None,
                takeover: plan.takeover,
                restart: plan.restart,
            };
            let made = local.plan(&request, caller)?;
            for service in &made.services {
                for change in &service.diff {
                    text.borrow_mut().push_str(&format!("{change}\n"));
                }
                for commit in &service.commits {
                    text.borrow_mut().push_str(&format!("{commit}\n"));
                }
            }
            for note in &made.notes {
                text.borrow_mut().push_str(&format!("{note:?}\n"));
            }
            match between {
                Some(between) => between(),
                None => return Ok(None),
            }
            local
                .deploy(&request, &made, &Approval::None, caller)
                .map(Some)
        })
    }

    pub fn deploy(&self, plan: &Plan<'_>) -> Run {
        self.deploy_or_plan(plan, Some(&|| {}))
    }

    /// Something happens between the plan and the deployment.
    pub fn deploy_after(&self, plan: &Plan<'_>, between: &dyn Fn()) -> Run {
        self.deploy_or_plan(plan, Some(between))
    }

    pub fn plan(&self, plan: &Plan<'_>) -> Run {
        self.deploy_or_plan(plan, None)
    }

    /// A deployment of an image that has to succeed.
    #[track_caller]
    pub fn deployed(&self, image: &str, url: Option<&str>) {
        let plan = Plan {
            image,
            url: url.map(str::to_owned),
            ..Plan::default()
        };
        self.deploy(&plan).ends(0);
    }

    pub fn rollback(&self, wanted: Wanted, plan: &Plan<'_>) -> Run {
        self.act(plan, |local, spec, text, caller| {
            let back = local.plan_rollback(spec, &wanted, caller)?;
            for one in &back.services {
                let line = format!(
                    "to {} {:?} skipped {:?}\n",
                    one.to.revision, one.to.commit, one.skipped
                );
                text.borrow_mut().push_str(&line);
            }
            local.rollback(spec, &back, caller).map(Some)
        })
    }

    pub fn back(&self) -> Run {
        self.rollback(Wanted::Steps(1), &Plan::default())
    }

    pub fn status(&self) -> Run {
        self.act(&Plan::default(), |local, spec, text, caller| {
            let all = local.status(spec, caller)?;
            text.borrow_mut().push_str(&format!("{all:#?}"));
            Ok(None)
        })
    }

    /// `3 rolled-back because`, newest first.
    pub fn history(&self) -> Vec<String> {
        let lines = RefCell::new(Vec::new());
        self.act(&Plan::default(), |local, spec, _, caller| {
            for one in local.history(spec, 20, caller)? {
                assert_eq!(one.by.as_deref(), Some("ann"));
                let revision = one.revision.expect("one");
                let line = format!("{revision} {} {}", one.state, one.reason);
                lines.borrow_mut().push(line.trim_end().to_owned());
            }
            Ok(None)
        })
        .ends(0);
        lines.into_inner()
    }

    /// Shows the log, and what follows until the caller has seen this.
    pub fn logs(&self, until: Option<&str>, meanwhile: &dyn Fn(&str)) -> Run {
        let over = Cell::new(false);
        let seen = RefCell::new(String::new());
        let mut sink = |_: Progress| {};
        let mut caller = Caller {
            sink: &mut sink,
            cancelled: &|| over.get(),
            shell: &|_| Ok(()),
            image: &|_| Found::Gone,
            login: &|_| None,
            commits: &|_, _| Vec::new(),
            pace: Pace(Duration::from_millis(50)),
        };
        let local = Local::connect(&self.pipeline).expect("an engine");
        let mut line = |line: LogLine| {
            seen.borrow_mut()
                .push_str(&format!("{}: {}\n", line.service, line.text));
            meanwhile(&line.text);
            over.set(over.get() || until.is_some_and(|word| line.text.contains(word)));
        };
        let spec = self.spec(&Plan::default());
        let shown = local.logs(&spec, until.is_some(), &mut line, &mut caller);
        shown.expect("logs");
        Run {
            code: 0,
            text: seen.into_inner(),
        }
    }

    pub fn cancel(&self) -> Run {
        self.act(&Plan::default(), |local, spec, text, caller| {
            let ended = local.cancel(spec, caller)?;
            text.borrow_mut().push_str(&ended.join("\n"));
            Ok(None)
        })
    }

    /// Names of the service's containers, in order, without what all of them begin with; those that run with a `+`.
    pub fn containers(&self) -> Vec<String> {
        let filter = format!("label=forge.deploy={}/dev/app", self.pipeline);
        let format = "{{.Names}} {{.State}}";
        let all = docker(&["ps", "-a", "--filter", &filter, "--format", format]);
        let base = self.name("");
        let mut all: Vec<String> = all
            .lines()
            .map(|line| {
                let (name, state) = line.split_once(' ').expect("a state");
                let name = name.strip_prefix(&base).expect("ours");
                let name = if name.is_empty() { "live" } else { name };
                let mark = if state == "running" { "+" } else { "" };
                format!("{mark}{name}")
            })
            .collect();
        all.sort();
        all
    }

    /// The name of a container of the service.
    pub fn name(&self, end: &str) -> String {
        format!("{}-dev-app{end}", self.pipeline)
    }

    pub fn live_id(&self) -> String {
        docker(&["inspect", "-f", "{{.Id}}", &self.name("")])
    }

    /// What the live container answers on whichever port it has.
    pub fn answer(&self) -> Option<String> {
        let port = docker(&["port", &self.name(""), "8000"]);
        get(port.rsplit(':').next()?.parse().ok()?)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        for service in ["app", "worker", &self.pipeline] {
            let filter = format!("label=forge.deploy={}/dev/{service}", self.pipeline);
            let ids = docker(&["ps", "-aq", "--filter", &filter]);
            for id in ids.lines() {
                // Another way of the test may be just removing it.
                let _ = Command::new("docker").args(["rm", "-f", id]).output();
            }
        }
        for image in self.images.borrow().iter() {
            let _ = Command::new("docker").args(["image", "rm", image]).output();
        }
    }
}

/// A successful end, as it is told.
pub fn done() -> String {
    format!("{:?}", Ending::Done)
}
