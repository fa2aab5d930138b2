//! A workspace whose image has a repository of its own, and what the engine and the registry have of it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::aws::Aws;
use crate::run::{Ran, Workspace, output};

/// A small image that says what is in `file`.
pub const DOCKERFILE: &str = "FROM busybox:1\nCOPY file /file\nCMD [\"cat\", \"/file\"]\n";

const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.index.v1+json";

pub struct Bed {
    pub ws: Workspace,
    /// Of this test alone.
    pub repository: String,
    /// Where it is pushed to: `127.0.0.1:PORT`.
    host: String,
    /// What forge gets beside a small environment.
    env: Vec<(String, String)>,
    config: tempfile::TempDir,
}

/// A repository that no other test and no earlier run uses.
pub fn repository() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static RUN: OnceLock<u128> = OnceLock::new();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // The registry outlives runs, and numbers of processes come again.
    let now = || UNIX_EPOCH.elapsed().expect("after 1970").as_millis();
    let run = RUN.get_or_init(now);
    format!("forge-images/{}-{run:x}-{number}", std::process::id())
}

/// The registry of the test bed.
pub fn registry() -> String {
    std::env::var("FORGE_TEST_REGISTRY").expect("FORGE_TEST_REGISTRY: run tests/setup.sh registry")
}

pub fn password() -> String {
    std::env::var("FORGE_TEST_REGISTRY_PASSWORD").expect("FORGE_TEST_REGISTRY_PASSWORD")
}

impl Bed {
    /// `keys` are those of `[target.image]`, beside its repository.
    pub fn new(keys: &str) -> Self {
        let host = registry();
        let bed = Self::with(&format!("host = \"{host}\""), keys, &host, Vec::new());
        bed.log_in("AWS", &password());
        bed
    }

    /// One whose image goes to ECR; `ecr` are the keys of `ecr` under `[registry]`.
    pub fn in_ecr(aws: &Aws, ecr: &str, keys: &str) -> Self {
        Self::with(&format!("ecr = {{ {ecr} }}"), keys, &aws.host(), aws.env())
    }

    fn with(registry: &str, keys: &str, host: &str, env: Vec<(String, String)>) -> Self {
        let repository = repository();
        let ws = Workspace::new(&format!(
            "[pipeline]\nname = \"app\"\n[registry]\n{registry}\n\
             [target.image]\nkind = \"image\"\nrepository = \"{repository}\"\n{keys}\n"
        ));
        ws.write(
            "Dockerfile",
            &format!("{DOCKERFILE}LABEL repository={repository}\n"),
        );
        ws.write("file", "one\n");
        Self {
            ws,
            repository,
            host: host.into(),
            env,
            config: tempfile::tempdir().expect("a directory"),
        }
    }

    /// Another checkout, with no cache, that makes the same image.
    pub fn elsewhere(&self) -> Self {
        let other = Workspace::new(&self.ws.read("Pipeline.toml"));
        for name in ["Dockerfile", "file", ".dockerignore"] {
            if self.ws.has(name) {
                other.write(name, &self.ws.read(name));
            }
        }
        let config = tempfile::tempdir().expect("a directory");
        let login = self.config.path().join("config.json");
        if login.exists() {
            fs::copy(login, config.path().join("config.json")).expect("copied");
        }
        Self {
            ws: other,
            repository: self.repository.clone(),
            host: self.host.clone(),
            env: self.env.clone(),
            config,
        }
    }

    /// What `docker login` writes.
    pub fn log_in(&self, user: &str, password: &str) {
        let auth = STANDARD.encode(format!("{user}:{password}"));
        let text = serde_json::json!({ "auths": { &self.host: { "auth": auth } } }).to_string();
        fs::write(self.config.path().join("config.json"), text).expect("written");
    }

    pub fn forge(&self, args: &[&str]) -> Ran {
        self.forge_with(&[], args)
    }

    pub fn forge_with(&self, env: &[(&str, &str)], args: &[&str]) -> Ran {
        let mut command = self.command(args);
        command.envs(env.iter().copied());
        self.ws.run(command)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.ws.command(args);
        command.env("DOCKER_CONFIG", self.config.path());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// `target outcome` of the image, and its event.
    #[track_caller]
    pub fn image(&self, args: &[&str]) -> (String, serde_json::Value) {
        let mut all = vec!["--json", "image"];
        all.extend(args);
        let ran = self.forge(&all);
        ran.code(0);
        let end = ran.end_of("image");
        let outcome = end["outcome"].as_str().expect("an outcome").to_owned();
        (outcome, end)
    }

    /// Where its login is.
    pub fn config(&self) -> &Path {
        self.config.path()
    }

    /// The repository with its registry.
    pub fn full(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    /// Removes every image of the repository from the engine.
    pub fn forget_in_engine(&self) {
        for name in [&self.repository, &self.full()] {
            let format = "{{.Repository}}:{{.Tag}}";
            let names = output("docker", &["image", "ls", "--format", format, name]);
            // By name: an image of the same content may be another test's as well.
            for name in names.lines().filter(|name| !name.contains('<')) {
                output("docker", &["image", "rm", name]);
            }
        }
    }

    /// What the registry says of a tag: its digest, none where there is no such tag.
    pub fn digest_of(&self, tag: &str) -> Option<String> {
        let (_, digest) = self.manifest(tag)?;
        Some(digest)
    }

    /// A manifest in the registry, and its digest.
    pub fn manifest(&self, tag: &str) -> Option<(serde_json::Value, String)> {
        let request = ureq::get(self.manifest_url(tag))
            .header("Authorization", authorization())
            .header("Accept", MANIFESTS);
        let mut answer = request.call().ok()?;
        let digest = answer
            .headers()
            .get("Docker-Content-Digest")
            .expect("a digest");
        let digest = digest.to_str().expect("text").to_owned();
        let text = answer.body_mut().read_to_string().expect("a body");
        Some((serde_json::from_str(&text).expect("JSON"), digest))
    }

    pub fn delete_in_registry(&self, digest: &str) {
        let request =
            ureq::delete(self.manifest_url(digest)).header("Authorization", authorization());
        request.call().expect("deleted");
    }

    fn manifest_url(&self, name: &str) -> String {
        format!(
            "http://{}/v2/{}/manifests/{name}",
            registry(),
            self.repository
        )
    }

    /// The docker command, logged in.
    pub fn docker(&self, args: &[&str]) -> String {
        let mut command = Command::new("docker");
        command.args(args).env("DOCKER_CONFIG", self.config.path());
        let output = command.output().expect("docker runs");
        assert!(output.status.success(), "docker {args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn authorization() -> String {
    format!("Basic {}", STANDARD.encode(format!("AWS:{}", password())))
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.forget_in_engine();
    }
}

/// What an image prints when it runs.
pub fn printed(image: &str) -> String {
    output("docker", &["run", "--rm", image])
}
