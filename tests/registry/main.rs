//! Registries: a real one on loopback, with images that a real engine
//! pushed; and answers that no good registry gives. First: `eval "$(bash tests/setup.sh registry)"`.

#[path = "../support/aws/mod.rs"]
mod aws;
mod ecr;
mod odd;
mod responder;

use std::env;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use forge::image::registry::{
    Digest, DockerConfig, Plain, Registry, RegistryErrorKind as Kind, digest_of,
};

/// Where the registry is, and who may use it.
struct Bed {
    host: String,
    user: String,
    password: String,
}

fn bed() -> &'static Bed {
    static BED: OnceLock<Bed> = OnceLock::new();
    BED.get_or_init(|| {
        let of = |name: &str| {
            let value = env::var(format!("FORGE_TEST_REGISTRY{name}"));
            value.expect("first: eval \"$(bash tests/setup.sh registry)\"")
        };
        Bed {
            host: of(""),
            user: of("_USER"),
            password: of("_PASSWORD"),
        }
    })
}

/// A Docker configuration that knows this password for the registry.
fn config(password: &str) -> tempfile::TempDir {
    user_config(&bed().host, &bed().user, password)
}

fn user_config(host: &str, user: &str, password: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let auth = STANDARD.encode(format!("{user}:{password}"));
    let text = format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#);
    fs::write(dir.path().join("config.json"), text).unwrap();
    dir
}

/// An image of its own, by its label.
fn busybox_with(config: &Path, label: &str, name: &str) {
    let text = format!("FROM busybox:1\nLABEL forge.test=\"{label}\"\n");
    docker(config, &["build", "-q", "-t", name, "-"], &text);
}

fn registry(config: &tempfile::TempDir) -> Plain {
    Plain::new(&bed().host, DockerConfig::at(config.path())).unwrap()
}

/// An image of its own in a repository of its own; gone from the engine at the end.
struct Pushed {
    config: tempfile::TempDir,
    repository: String,
    digest: Digest,
}

fn docker(config: &Path, args: &[&str], input: &str) -> String {
    let mut child = Command::new("docker")
        .arg("--config")
        .arg(config)
        .args(args)
        .env("DOCKER_BUILDKIT", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("docker is installed");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "docker {args:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Pushes an image and forgets it; its digest.
fn push_as(config: &Path, name: &str) -> String {
    docker(config, &["push", "-q", name], "");
    let format = "{{range .RepoDigests}}{{println .}}{{end}}";
    let digests = docker(config, &["inspect", "-f", format, name], "");
    let start = format!("{}@", name.rsplit_once(':').unwrap().0);
    let digest = digests.lines().find_map(|line| line.strip_prefix(&start));
    let digest = digest.unwrap().to_owned();
    docker(config, &["rmi", "-f", name], "");
    digest
}

fn push(test: &str) -> Pushed {
    let config = config(&bed().password);
    let repository = format!("forge-test/{test}-{}", std::process::id());
    let name = format!("{}/{repository}:one", bed().host);
    busybox_with(config.path(), test, &name);
    let digest = push_as(config.path(), &name).parse().unwrap();
    Pushed {
        config,
        repository,
        digest,
    }
}

#[test]
fn an_image_is_tagged_and_read_without_the_engine() {
    let pushed = push("tagged");
    let (registry, repository) = (registry(&pushed.config), pushed.repository.as_str());
    registry.prepare(repository, &[]).unwrap();
    let digests = registry.digests(repository, &["one", "two"]).unwrap();
    assert_eq!(digests, [Some(pushed.digest.clone()), None]);

    registry.tag(repository, &pushed.digest, "two").unwrap();
    registry.tag(repository, &pushed.digest, "two").unwrap();
    let digests = registry.digests(repository, &["two", "one"]).unwrap();
    assert_eq!(digests, vec![Some(pushed.digest.clone()); 2]);

    let facts = registry.facts(repository, &pushed.digest).unwrap();
    assert_eq!(facts.os, "linux");
    assert_eq!(facts.labels["forge.test"], "tagged");
    assert!(!facts.architecture.is_empty());

    // What was tagged without the engine is what the engine pulls.
    let name = format!("{}:two", registry.name(repository).unwrap());
    docker(pushed.config.path(), &["pull", "-q", &name], "");
    docker(pushed.config.path(), &["rmi", "-f", &name], "");
}

#[test]
fn what_is_not_there_is_told_apart() {
    let pushed = push("absent");
    let (registry, repository) = (registry(&pushed.config), pushed.repository.as_str());
    assert!(registry.has(repository, &pushed.digest).unwrap());
    let other = Digest::of(b"nothing");
    assert!(!registry.has(repository, &other).unwrap());
    assert!(!registry.has("forge-test/none-such", &other).unwrap());
    let error = registry.tag(repository, &other, "x").unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
    assert!(error.message.contains(other.as_str()), "{error}");
    let error = registry
        .tag(repository, &pushed.digest, "feature/x")
        .unwrap_err();
    assert!(error.message.contains("feature/x"), "{error}");
}

#[test]
fn images_of_several_platforms_get_one_name() {
    let pushed = push("index");
    let (registry, repository) = (registry(&pushed.config), pushed.repository.as_str());
    let images = [
        ("linux/amd64".to_owned(), pushed.digest.clone()),
        ("linux/arm64/v8".to_owned(), pushed.digest.clone()),
    ];
    let index = registry.put_index(repository, "all", &images).unwrap();
    let digests = registry.digests(repository, &["all"]).unwrap();
    assert_eq!(digests, [Some(index.clone())]);
    registry.tag(repository, &index, "again").unwrap();
    let digests = registry.digests(repository, &["again"]).unwrap();
    assert_eq!(digests, [Some(index.clone())]);
    let facts = registry.facts(repository, &index).unwrap();
    assert_eq!(facts.labels["forge.test"], "index");
    // The engine finds its own platform in it.
    let name = format!("{}:all", registry.name(repository).unwrap());
    docker(pushed.config.path(), &["pull", "-q", &name], "");
    docker(pushed.config.path(), &["rmi", "-f", &name], "");
}

#[test]
fn a_wrong_password_is_said_before_anything_is_built() {
    let wrong = config("hidden-and-wrong");
    let error = registry(&wrong).prepare("forge-test/x", &[]).unwrap_err();
    assert_eq!(error.kind, Kind::Denied);
    let message = format!("{} refused the user name or password", bed().host);
    assert!(error.message.starts_with(&message), "{error}");
    let help = format!("log in: `docker login {}`", bed().host);
    assert_eq!(error.help.as_deref(), Some(help.as_str()));
    assert!(!format!("{error:?}").contains("hidden"));
}

#[test]
fn nobody_is_asked_to_log_in() {
    let nobody = tempfile::tempdir().unwrap();
    let registry = registry(&nobody);
    assert!(registry.login().unwrap().is_none());
    let error = registry.prepare("forge-test/x", &[]).unwrap_err();
    assert_eq!(error.kind, Kind::NoCredentials);
    assert!(error.help.unwrap().contains("docker login"));
    let right = config(&bed().password);
    let login = crate::registry(&right).login().unwrap().unwrap();
    assert_eq!(login.password, bed().password);
}

#[test]
fn a_registry_that_is_gone_is_said_at_once() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let nobody = tempfile::tempdir().unwrap();
    let host = format!("127.0.0.1:{port}");
    let gone = Plain::new(&host, DockerConfig::at(nobody.path())).unwrap();
    let error = gone.prepare("a", &[]).unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    let message = format!("no registry answers at {host}: connection refused");
    assert_eq!(error.message, message);
}

#[test]
fn a_host_is_a_host_alone() {
    let dir = tempfile::tempdir().unwrap();
    for host in ["ghcr.io/acme", "https://ghcr.io", "", "a b", "u@h"] {
        let error = Plain::new(host, DockerConfig::at(dir.path()))
            .err()
            .unwrap();
        assert!(error.message.contains(host) && error.help.is_some());
    }
}

/// Runs in a process of its own, which has the environment of a user: says what [`digest_of`] an image is.
#[test]
#[ignore = "another test runs it"]
fn child() {
    let reference = env::var("REFERENCE").unwrap().parse().unwrap();
    match digest_of(&reference, None) {
        Ok(digest) => println!("\nanswer {digest:?}"),
        Err(error) => println!("\nanswer {:?}", error.kind),
    }
}

#[test]
fn a_base_image_is_asked_for_as_the_user_with_a_credential_helper() {
    let pushed = push("helper");
    let dir = tempfile::tempdir().unwrap();
    let text = format!(r#"{{"credHelpers":{{"{}":"forge-test"}}}}"#, bed().host);
    fs::write(dir.path().join("config.json"), text).unwrap();
    let helper = dir.path().join("docker-credential-forge-test");
    let script = format!(
        "#!/bin/sh\ntest \"$1 $(cat)\" = 'get {}' || exit 1\necho '{{\"Username\":\"{}\",\"Secret\":\"{}\"}}'\n",
        bed().host,
        bed().user,
        bed().password
    );
    // Written by another process: one that is forked meanwhile would keep the file busy.
    let write = r#"printf %s "$1" >"$0" && chmod +x "$0""#;
    let written = Command::new("sh")
        .args(["-c", write])
        .arg(&helper)
        .arg(script)
        .status();
    assert!(written.unwrap().success());
    let ask = |name: &str, config: &Path| {
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env("REFERENCE", format!("{}/{name}", bed().host))
            .env("DOCKER_CONFIG", config)
            .env("PATH", format!("{}:/usr/bin:/bin", dir.path().display()))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let said = text.lines().find_map(|line| line.strip_prefix("answer "));
        said.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let name = format!("{}:one", pushed.repository);
    let known = format!("{:?}", Some(&pushed.digest));
    assert_eq!(ask(&name, dir.path()), known);
    assert_eq!(ask("forge-test/none-such", dir.path()), "None");
    let pinned = format!("anything@{}", pushed.digest);
    let nobody = tempfile::tempdir().unwrap();
    assert_eq!(ask(&pinned, nobody.path()), known);
    assert_eq!(ask(&name, nobody.path()), "NoCredentials");
}
