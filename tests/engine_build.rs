//! Images that are built, tagged and pushed, on a real engine and a registry with a password: without the two of
//! `tests/setup.sh registry` these tests fail.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use forge::docker::{
    self, BuildError, BuildSpec, Builder, Credentials, Engine, Progress, Pull, PushErrorKind,
    StepState,
};
use forge::image::context::{Context, Entry, Kind};

const BOTH: [Builder; 2] = [Builder::Classic, Builder::BuildKit];

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    format!("t{}-{number}", std::process::id())
}

/// A directory with a context, and what a build of it told.
struct Bench {
    engine: Engine,
    dir: tempfile::TempDir,
    spec: BuildSpec,
    told: RefCell<Vec<Progress>>,
    built: RefCell<Vec<String>>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        for name in self.built.get_mut().iter().chain(&self.spec.tags) {
            let _ = Command::new("docker").args(["rmi", "-f", name]).output();
        }
    }
}

impl Bench {
    fn new(builder: Builder, dockerfile: &str) -> Self {
        let bench = Self {
            engine: Engine::connect().unwrap(),
            dir: tempfile::tempdir().unwrap(),
            spec: BuildSpec::new(builder),
            told: RefCell::default(),
            built: RefCell::default(),
        };
        bench.write("Dockerfile", dockerfile);
        bench
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn entry(&self, path: &str, kind: Kind) -> Entry {
        Entry {
            path: path.into(),
            source: self.dir.path().join(path),
            kind,
        }
    }

    fn file(&self, path: &str) -> Entry {
        self.entry(path, Kind::File { executable: false })
    }

    fn context(&self, files: &[&str]) -> Context {
        let entries = files.iter().map(|path| self.file(path)).collect();
        Context::new(entries, &self.dir.path().join("Dockerfile")).unwrap()
    }

    fn build_of(
        &self,
        context: &Context,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<String, BuildError> {
        self.told.borrow_mut().clear();
        let mut progress = |event| self.told.borrow_mut().push(event);
        let id = self
            .engine
            .build(&self.spec, context, &mut progress, cancelled)?;
        self.built.borrow_mut().push(id.clone());
        Ok(id)
    }

    fn build(&self, files: &[&str]) -> Result<String, BuildError> {
        self.build_of(&self.context(files), &|| false)
    }

    /// Builds, and runs the image: what it prints.
    fn printed(&self, files: &[&str]) -> String {
        let id = self.build(files).unwrap();
        docker(&["run", "--rm", &id])
    }

    fn logged(&self) -> Vec<String> {
        let told = self.told.borrow();
        let logs = told.iter().filter_map(|event| match event {
            Progress::Log { line, .. } => Some(line.clone()),
            Progress::Step { .. } => None,
        });
        logs.collect()
    }

    /// The states of the step that has these words in its name.
    fn states(&self, words: &str) -> Vec<StepState> {
        let told = self.told.borrow();
        let states = told.iter().filter_map(|event| match event {
            Progress::Step { name, state, .. } if name.contains(words) => Some(*state),
            _ => None,
        });
        states.collect()
    }
}

fn inspect(id: &str, format: &str) -> String {
    docker(&["inspect", "-f", format, id])
}

#[test]
fn a_build_of_two_stages_has_its_args_labels_and_files() {
    const TEXT: &str = "FROM busybox:1 AS one\nARG WORD=none\nCOPY dir/ /dir/\nRUN echo \"$WORD $(cat /dir/a)\" > /said\n\
        FROM busybox:1 AS two\nCOPY --from=one /said /said\nCOPY --from=one /dir /dir\nCMD cat /said; stat -c '%a %Y %u %N' /dir/*\n\
        FROM two\nCMD echo last\n";
    for builder in BOTH {
        let mut bench = Bench::new(builder, TEXT);
        bench.write("dir/a", "file");
        let name = format!("forge-test/{}", unique());
        bench.spec.build_args = BTreeMap::from([("WORD".into(), "a word = %".into())]);
        bench.spec.labels = BTreeMap::from([("forge.label".into(), "b c".into())]);
        bench.spec.target = Some("two".into());
        bench.spec.tags = vec![format!("{name}:1"), format!("{name}:2")];
        let entries = vec![
            bench.file("dir/a"),
            bench.entry(
                "dir/l",
                Kind::Link {
                    target: "../said".into(),
                },
            ),
            bench.entry("dir/x", Kind::File { executable: true }),
        ];
        bench.write("dir/x", "x");
        let context = Context::new(entries, &bench.dir.path().join("Dockerfile")).unwrap();
        let id = bench.build_of(&context, &|| false).unwrap();
        assert_eq!(
            docker(&["run", "--rm", &id]),
            "a word = % file\n644 0 0 /dir/a\n777 0 0 '/dir/l' -> '../said'\n755 0 0 /dir/x",
            "{builder:?}"
        );
        assert_eq!(
            inspect(&id, "{{index .Config.Labels \"forge.label\"}}"),
            "b c"
        );
        for tag in &bench.spec.tags {
            assert_eq!(inspect(tag, "{{.Id}}"), id);
        }
        let info = bench.engine.image(&bench.spec.tags[1]).unwrap().unwrap();
        assert_eq!(info.id, id);
        assert_eq!(info.labels["forge.label"], "b c");
        assert_eq!(info.os, "linux");
    }
}

#[test]
fn a_dockerfile_outside_of_the_context_is_in_no_image() {
    for builder in BOTH {
        let bench = Bench::new(builder, "FROM busybox:1\nCOPY . /all/\nCMD ls -A /all\n");
        bench.write("a", "");
        assert_eq!(bench.printed(&["a"]), "a", "{builder:?}");
        bench.write(".dockerignore", "b\n");
        assert_eq!(bench.printed(&["a", ".dockerignore"]), ".dockerignore\na");
    }
}

#[test]
fn what_was_built_before_is_cached_until_a_file_changes() {
    for builder in BOTH {
        let word = unique();
        let text = format!("FROM busybox:1\nCOPY a /a\nRUN echo {word}; cat /a\n");
        let mut bench = Bench::new(builder, &text);
        bench.write("a", "one\n");
        let first = bench.build(&["a", "Dockerfile"]).unwrap();
        let states = bench.states("RUN");
        assert!(
            matches!(states[..], [StepState::Started, StepState::Done { .. }]),
            "{states:?}"
        );
        assert_eq!(bench.logged(), [word.as_str(), "one"]);

        assert_eq!(bench.build(&["a", "Dockerfile"]).unwrap(), first);
        assert!(bench.states("RUN").contains(&StepState::Cached));
        assert_eq!(bench.logged(), [""; 0]);

        // The same size, and no time that would tell.
        bench.write("a", "two\n");
        assert_ne!(bench.build(&["a", "Dockerfile"]).unwrap(), first);
        assert_eq!(bench.logged(), [word.as_str(), "two"]);

        bench.spec.no_cache = true;
        bench.build(&["a", "Dockerfile"]).unwrap();
        assert_eq!(bench.logged(), [word.as_str(), "two"]);
    }
}

#[test]
fn a_step_that_fails_is_named_with_its_line_its_output_and_its_code() {
    for builder in BOTH {
        let word = unique();
        let text = format!(
            "FROM busybox:1 AS base\n\nENV A=b\nRUN true\nFROM base\n\n# why\nRUN echo {word}; \\\n  echo $A >&2; printf 'no end'; exit 7\nRUN never\n"
        );
        let bench = Bench::new(builder, &text);
        let error = bench.build(&[]).unwrap_err();
        assert_eq!(error.line, Some(8), "{builder:?} {error:?}");
        assert!(error.message.ends_with("ended with exit code 7"), "{error}");
        let failed = error.failed.unwrap();
        assert_eq!(failed.exit_code, Some(7));
        assert!(
            failed.name.contains(&format!("RUN echo {word};")),
            "{failed:?}"
        );
        let mut output = failed.output;
        output.sort();
        assert_eq!(output, ["b", "no end", &word]);
        let states = bench.states(&word);
        assert_eq!(states, [StepState::Started, StepState::Failed]);
        assert!(bench.states("never").is_empty());
    }
}

#[test]
fn a_dockerfile_that_cannot_be_read_is_an_error_with_its_line() {
    for builder in BOTH {
        let bench = Bench::new(builder, "FROM busybox:1\n\nRUNN x\n");
        let error = bench.build(&[]).unwrap_err();
        assert!(
            error.message.to_lowercase().contains("unknown instruction"),
            "{error}"
        );
        assert_eq!(error.line, Some(3), "{builder:?} {error}");
    }
    let bench = Bench::new(Builder::Classic, "");
    fs::remove_file(bench.dir.path().join("Dockerfile")).unwrap();
    let error = bench.build(&[]).unwrap_err();
    assert!(error.message.starts_with("can't read "), "{error}");
}

#[test]
fn a_base_image_that_is_nowhere_is_the_step_that_fails() {
    for builder in BOTH {
        let bench = Bench::new(builder, "FROM 127.0.0.1:1/no/such:1\nRUN x\n");
        let error = bench.build(&[]).unwrap_err();
        assert!(error.message.contains("127.0.0.1:1"), "{builder:?} {error}");
        assert!(error.message.contains("refused"), "{builder:?} {error}");
    }
}

#[test]
fn a_file_that_goes_away_is_said_by_its_name() {
    for builder in BOTH {
        let bench = Bench::new(builder, "FROM busybox:1\nCOPY . /all\n");
        bench.write("dir/a", "x");
        bench.write("dir/b", "x");
        let context = bench.context(&["dir/a", "dir/b"]);
        fs::remove_file(bench.dir.path().join("dir/b")).unwrap();
        let error = bench.build_of(&context, &|| false).unwrap_err();
        assert!(
            error
                .message
                .starts_with("can't read dir/b of the build context"),
            "{builder:?} {error}"
        );
    }
}

#[test]
fn files_are_found_by_patterns_through_links_and_in_any_order() {
    const TEXT: &str = "FROM busybox:1\nCOPY *.txt /t/\nCOPY d /d/\nCOPY link/e many/7 /l/\nCOPY a* /s/\n\
        CMD cd / && find t d l s -type f | sort | tr '\\n' ' '; cat /l/e\n";
    // `/` sorts before everything, or after, or where its byte is.
    let odd = [
        "a b", "a!b", "a-b", "a.b", "a/b", "a/b c/d", "a0", "aa", "ä",
    ];
    for builder in BOTH {
        let bench = Bench::new(builder, TEXT);
        let many: Vec<String> = (0..1500).map(|number| format!("many/{number}")).collect();
        let files = ["x.txt", "y.txt", "z.md", "d/e", "d/f/g", "hidden/e"].into_iter();
        let files: Vec<&str> = files
            .chain(odd)
            .chain(many.iter().map(String::as_str))
            .collect();
        files.iter().for_each(|path| bench.write(path, path));
        let mut entries: Vec<Entry> = files.iter().map(|path| bench.file(path)).collect();
        entries.push(bench.entry(
            "link",
            Kind::Link {
                target: "hidden".into(),
            },
        ));
        let context = Context::new(entries, &bench.dir.path().join("Dockerfile")).unwrap();
        let id = bench.build_of(&context, &|| false).unwrap();
        assert_eq!(
            docker(&["run", "--rm", &id]),
            "d/e d/f/g l/7 l/e s/a b s/a!b s/a-b s/a.b s/a0 s/aa s/b s/b c/d t/x.txt t/y.txt hidden/e",
            "{builder:?}"
        );
    }
}

#[test]
fn buildkit_takes_what_the_instructions_name_and_what_links_lead_to() {
    let text = "FROM busybox:1\nCOPY a/b /l/\nCMD cat /l/*\n";
    let bench = Bench::new(Builder::BuildKit, text);
    bench.write("a/b", "plain ");
    bench.write("hidden/e", "behind");
    // Nobody asks for a file that nothing copies: that it isn't there doesn't show.
    assert_eq!(bench.printed(&["a/b", "away", "a-b"]), "plain");

    bench.write("Dockerfile", &text.replace("a/b", "a/b link/e"));
    let target = "hidden".into();
    let entries = vec![
        bench.file("a/b"),
        bench.file("hidden/e"),
        bench.entry("link", Kind::Link { target }),
    ];
    let context = Context::new(entries, &bench.dir.path().join("Dockerfile")).unwrap();
    let id = bench.build_of(&context, &|| false).unwrap();
    assert_eq!(docker(&["run", "--rm", &id]), "plain behind");
}

#[test]
fn everything_that_is_there_comes_along_with_a_dot() {
    const TEXT: &str =
        "FROM busybox:1\nCOPY . /all/\nCMD cd /all && find . | wc -l && cat many/1499\n";
    for builder in BOTH {
        let bench = Bench::new(builder, TEXT);
        let many: Vec<String> = (0..1500).map(|number| format!("many/{number}")).collect();
        let files: Vec<&str> = many.iter().map(String::as_str).collect();
        files.iter().for_each(|path| bench.write(path, path));
        assert_eq!(bench.printed(&files), "1502\nmany/1499", "{builder:?}");
    }
}

/// The containers in which something runs that has these words in its command.
fn running(words: &str) -> bool {
    let processes = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    let processes = String::from_utf8_lossy(&processes.stdout).into_owned();
    processes.lines().any(|line| line.starts_with(words))
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "{what} doesn't come");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn giving_up_ends_the_build_at_the_engine_too() {
    for (number, builder) in BOTH.into_iter().enumerate() {
        let sleep = format!("sleep 97{}{number}", std::process::id());
        let bench = Bench::new(builder, &format!("FROM busybox:1\nRUN {sleep}\n"));
        let error = bench
            .build_of(&bench.context(&[]), &|| running(&sleep))
            .unwrap_err();
        assert!(error.is_cancelled(), "{builder:?} {error}");
        wait_until("the end of the command", || !running(&sleep));
    }
}

#[test]
fn the_builder_is_the_callers_choice_or_the_better_one() {
    let engine = Engine::connect().unwrap();
    let with = |value: Option<&str>| {
        let value = value.map(OsString::from);
        engine
            .builder(|name| value.clone().filter(|_| name == "DOCKER_BUILDKIT"))
            .unwrap()
    };
    assert_eq!(with(Some("0")), Builder::Classic);
    assert_eq!(with(Some("false")), Builder::Classic);
    assert_eq!(with(Some("1")), Builder::BuildKit);
    assert_eq!(with(None), Builder::BuildKit);
    assert_eq!(with(Some("")), Builder::BuildKit);
}

#[test]
fn the_classic_builder_refuses_what_it_cannot_do() {
    let mut bench = Bench::new(
        Builder::Classic,
        "FROM busybox:1\nRUN --mount=type=cache,target=/c x\n",
    );
    let error = bench.build(&[]).unwrap_err();
    assert_eq!(error.message, "the classic builder has no `RUN --mount`");
    assert_eq!(error.line, Some(2));
    bench.write("Dockerfile", "FROM busybox:1\n");
    bench.spec.secrets = vec![("token".into(), b"hunter2".to_vec())];
    let error = bench.build(&[]).unwrap_err();
    assert_eq!(error.message, "the classic builder has no secrets");
    assert!(error.help.unwrap().contains("DOCKER_BUILDKIT"));
    assert!(bench.told.borrow().is_empty());
}

/// Where the registry is, and who may push there.
fn registry() -> (String, Credentials) {
    let var = |name| {
        env::var(name)
            .unwrap_or_else(|_| panic!("eval \"$(tests/setup.sh registry)\": {name} isn't set"))
    };
    let user = var("FORGE_TEST_REGISTRY_USER");
    let password = var("FORGE_TEST_REGISTRY_PASSWORD");
    (var("FORGE_TEST_REGISTRY"), Credentials { user, password })
}

#[test]
fn one_tag_is_pushed_and_can_be_pulled_and_built_on() {
    let (host, user) = registry();
    let repository = format!("{host}/builds/{}", unique());
    let (name, other) = (format!("{repository}:1"), format!("{repository}:2"));
    let mut bench = Bench::new(
        Builder::Classic,
        &format!("FROM busybox:1\nLABEL a={}\n", unique()),
    );
    bench.spec.tags = vec![name.clone(), other.clone()];
    let id = bench.build(&[]).unwrap();
    assert_eq!(
        docker::local_image(&name).unwrap().unwrap().repo_digests,
        [""; 0]
    );
    let mut lines = Vec::new();
    bench
        .engine
        .push(&name, Some(&user), &mut |line| lines.push(line), &|| false)
        .unwrap();
    let last = lines.last().unwrap();
    let (done, all) = last
        .split_once(" layers")
        .unwrap()
        .0
        .split_once(" of ")
        .unwrap();
    assert_eq!(done, all, "{lines:?}");
    let local = docker::local_image(&name).unwrap().unwrap();
    assert_eq!(local.id, id);
    assert!(local.repo_digests[0].starts_with(&format!("{repository}@sha256:")));
    assert_eq!(
        bench.engine.image(&name).unwrap().unwrap().repo_digests,
        local.repo_digests
    );

    for name in [&name, &other] {
        bench.engine.remove_image(name).unwrap();
        bench.engine.remove_image(name).unwrap();
    }
    let pull = |reference, credentials| {
        let pull = Pull {
            credentials,
            ..Pull::from(reference)
        };
        bench.engine.pull(pull, |_| {}, &|| false)
    };
    assert!(
        pull(&*name, None)
            .unwrap_err()
            .message
            .contains("no basic auth credentials")
    );
    pull(&*name, Some(&user)).unwrap();
    assert_eq!(docker::image_digest(&name).unwrap(), Some(id));
    // The other name didn't go up with it.
    assert!(
        pull(&*other, Some(&user))
            .unwrap_err()
            .message
            .contains("unknown")
    );

    for builder in BOTH {
        bench.engine.remove_image(&name).unwrap();
        let mut based = Bench::new(builder, &format!("FROM {name}\nLABEL b={}\n", unique()));
        let error = based.build(&[]).unwrap_err();
        assert!(error.message.contains("auth"), "{builder:?} {error}");
        based.spec.credentials = HashMap::from([(host.clone(), user.clone())]);
        based.build(&[]).unwrap();
    }
}

#[test]
fn a_push_that_fails_says_why() {
    let (host, user) = registry();
    let engine = Engine::connect().unwrap();
    let name = format!("{host}/builds/{}:1", unique());
    let closed = format!("127.0.0.1:1/builds/{}:1", unique());
    let push = |name: &str, user: Option<&Credentials>| {
        engine.push(name, user, &mut |_| {}, &|| false).unwrap_err()
    };
    assert_eq!(push(&name, Some(&user)).kind, PushErrorKind::NoImage);
    for name in [&name, &closed] {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        engine.tag("busybox:1", repository, tag).unwrap();
    }
    let wrong = Credentials {
        password: "wrong".into(),
        ..user.clone()
    };
    for credentials in [None, Some(&wrong)] {
        let error = push(&name, credentials);
        assert_eq!(error.kind, PushErrorKind::Denied, "{error}");
        assert!(error.help.unwrap().contains("log in"));
    }
    let error = push(&closed, Some(&user));
    assert_eq!(error.kind, PushErrorKind::Unreachable, "{error}");
    let cancelled = engine
        .push(&name, Some(&user), &mut |_| {}, &|| true)
        .unwrap_err();
    assert_eq!(cancelled.kind, PushErrorKind::Cancelled);
    engine.remove_image(&name).unwrap();
    engine.remove_image(&closed).unwrap();
}

#[test]
fn a_secret_is_there_while_it_is_needed_and_nowhere_else() {
    const SECRET: &str = "hunter2-is-secret";
    let text = format!(
        "FROM busybox:1\nRUN --mount=type=secret,id=token cat /run/secrets/token; wc -c < /run/secrets/token; echo {}\nCMD ls -A /run/secrets\n",
        unique()
    );
    let mut bench = Bench::new(Builder::BuildKit, &text);
    bench.spec.secrets = vec![("token".into(), SECRET.into())];
    let id = bench.build(&[]).unwrap();
    let logged = bench.logged();
    assert_eq!(logged[0], format!("***{}", SECRET.len()));
    assert!(!docker(&["history", "--no-trunc", &id]).contains(SECRET));
    assert!(!docker(&["inspect", &id]).contains(SECRET));
    assert!(!format!("{:?}", bench.told.borrow()).contains(SECRET));
    assert_eq!(docker(&["run", "--rm", &id]), "");

    bench.write("Dockerfile", &text.replace("wc", "exit 3 # wc"));
    let error = bench.build(&[]).unwrap_err();
    assert_eq!(error.failed.as_ref().unwrap().output, ["***"]);
    assert!(!format!("{error:?}").contains(SECRET));

    bench.spec.secrets.clear();
    bench.write("Dockerfile", &text.replace("id=token", "id=token,required"));
    let error = bench.build(&[]).unwrap_err();
    assert!(error.message.contains("token"), "{error}");
}

#[test]
fn a_cache_mount_keeps_its_files_from_build_to_build() {
    let word = unique();
    let text = |step: &str| {
        format!(
            "FROM busybox:1\nRUN --mount=type=cache,id={word},target=/cache echo {step} >> /cache/steps; cat /cache/steps\n"
        )
    };
    let bench = Bench::new(Builder::BuildKit, &text("one"));
    bench.build(&[]).unwrap();
    assert_eq!(bench.logged(), ["one"]);
    bench.write("Dockerfile", &text("two"));
    bench.build(&[]).unwrap();
    assert_eq!(bench.logged(), ["one", "two"]);
}

/// A registry of this test's own, whose password is not like the others.
struct Registry {
    process: Child,
    host: String,
    _dir: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    fn start(user: &Credentials) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let crypt =
            "print \"$ARGV[0]:\", crypt($ARGV[1], q($2b$05$forgeforgeforgeforgefu)), \"\\n\"";
        let line = Command::new("perl")
            .args(["-e", crypt, &user.user, &user.password])
            .output()
            .unwrap();
        fs::write(dir.path().join("users"), line.stdout).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let at = dir.path().display();
        let config = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {at}/data }}\n\
             http: {{ addr: \"127.0.0.1:{port}\" }}\nauth:\n  htpasswd: {{ realm: own, path: {at}/users }}\n"
        );
        let file = dir.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self {
            process,
            host: format!("127.0.0.1:{port}"),
            _dir: dir,
        };
        wait_until("the registry", || {
            TcpStream::connect(&registry.host).is_ok()
        });
        registry
    }
}

/// base64 has two alphabets, which differ in what these lead to.
#[test]
fn any_password_reaches_the_registry() {
    let user = Credentials {
        user: "~?>".into(),
        password: "~~~???>>>ü/+".into(),
    };
    let registry = Registry::start(&user);
    let name = format!("{}/x:1", registry.host);
    let engine = Engine::connect().unwrap();
    engine
        .tag("busybox:1", &format!("{}/x", registry.host), "1")
        .unwrap();
    let pushed = engine.push(&name, Some(&user), &mut |_| {}, &|| false);
    engine.remove_image(&name).unwrap();
    pushed.unwrap();
    for builder in BOTH {
        let mut bench = Bench::new(builder, &format!("FROM {name}\nLABEL x={}\n", unique()));
        bench.spec.credentials = HashMap::from([(registry.host.clone(), user.clone())]);
        bench.spec.tags = vec![format!("{name}-built")];
        bench.build(&[]).unwrap();
        let _ = engine.remove_image(&name);
    }
}

/// In a process of its own, because the engine's address comes from the environment: a way to the engine that breaks when
/// the build has begun.
#[test]
fn an_engine_that_goes_away_in_the_middle_is_an_error() {
    const THIS: &str = "an_engine_that_goes_away_in_the_middle_is_an_error";
    if let Some(path) = env::var("FORGE_TEST_WAY").ok().map(PathBuf::from) {
        return BOTH
            .into_iter()
            .for_each(|builder| breaking(&path, builder));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("way");
    let engine = Engine::connect().unwrap().version().unwrap().socket;
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", THIS])
        .env("FORGE_TEST_WAY", engine)
        .env("DOCKER_HOST", format!("unix://{}", path.display()))
        .status();
    assert!(status.unwrap().success());
}

fn breaking(engine: &Path, builder: Builder) {
    let way = env::var("DOCKER_HOST").unwrap().replace("unix://", "");
    let _ = fs::remove_file(&way);
    let listener = UnixListener::bind(&way).unwrap();
    let open: Arc<Mutex<Vec<UnixStream>>> = Arc::default();
    let (engine, both) = (engine.to_owned(), Arc::clone(&open));
    thread::spawn(move || {
        for near in listener.incoming().map(Result::unwrap) {
            let far = UnixStream::connect(&engine).unwrap();
            for (from, to) in [(&near, &far), (&far, &near)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
            both.lock().unwrap().extend([near, far]);
        }
    });
    let sleep = format!("sleep 98{}", std::process::id());
    let bench = Bench::new(builder, &format!("FROM busybox:1\nRUN {sleep}\n"));
    let mut progress = |event| {
        if matches!(&event, Progress::Step { name, .. } if name.contains("RUN")) {
            for connection in open.lock().unwrap().drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    };
    let built = bench
        .engine
        .build(&bench.spec, &bench.context(&[]), &mut progress, &|| false);
    let error = built.unwrap_err();
    assert!(
        error.message.starts_with("the Docker engine went away: "),
        "{builder:?} {error}"
    );
    assert!(error.help.is_some());
    wait_until("the end of the command", || !running(&sleep));
}
