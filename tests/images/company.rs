//! The company's application: its image as the fixture describes it, pushed, and run with what it needs. The images of
//! `tests/setup.sh images` stand in for the real ones.

use std::process::Command;
use std::{fs, path::Path};

use crate::aws::Aws;
use crate::bed::Bed;
use crate::run::{output, wait_until};

/// A network with containers, gone with the value.
struct Network {
    name: String,
    containers: Vec<String>,
}

impl Network {
    fn new() -> Self {
        let name = format!("forge-images-{}", std::process::id());
        output("docker", &["network", "create", &name]);
        Self {
            name,
            containers: Vec::new(),
        }
    }

    /// Starts a container that is called `name` in the network.
    fn start(&mut self, bed: &Bed, name: &str, image_and_options: &[&str]) -> String {
        let container = format!("{}-{name}", self.name);
        let mut args = vec!["run", "-d", "--name", &container, "--network", &self.name];
        args.extend(["--network-alias", name]);
        args.extend(image_and_options);
        self.containers.push(container.clone());
        bed.docker(&args);
        container
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for container in &self.containers {
            output("docker", &["rm", "-f", "-v", container]);
        }
        output("docker", &["network", "rm", &self.name]);
    }
}

/// The fixture, with a repository of its own and without its checks: those have tests of their own.
fn company_app(aws: &Aws) -> Bed {
    let bed = Bed::in_ecr(aws, "region = \"us-east-1\"", "");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/company-app");
    let listed = Command::new("git")
        .args(["ls-files"])
        .current_dir(&from)
        .output()
        .expect("git");
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        bed.ws
            .write(name, &fs::read_to_string(from.join(name)).expect(name));
    }
    let pipeline = bed.ws.read("Pipeline.toml");
    let image = format!("repository  = \"{}\"", bed.repository);
    let own = pipeline
        .replace("repository  = \"company-app\"", &image)
        .replace("needs       = [\"lint\", \"test\", \"scan\"]\n", "");
    assert_ne!(own, pipeline);
    bed.ws.write("Pipeline.toml", &own);
    fs::remove_file(bed.ws.path("file")).expect("removed");
    bed.ws.commit();
    aws.ecr(|ecr| ecr.create(&bed.repository).name.clone());
    bed
}

#[test]
fn the_company_app_is_built_pushed_and_healthy() {
    let aws = Aws::start();
    let bed = company_app(&aws);
    let (outcome, end) = bed.image(&[]);
    assert_eq!(outcome, "ran");
    bed.forget_in_engine();
    let token = aws.world(|world| world.tokens.keys().next().cloned());
    bed.log_in("AWS", &token.expect("forge got one"));
    let image = end["image"]["ref"].as_str().expect("a name");

    let mut network = Network::new();
    let password = ["-e", "POSTGRES_PASSWORD=postgres", "postgres:15"];
    let postgres = network.start(&bed, "postgres", &password);
    network.start(&bed, "redis", &["redis:7"]);
    wait_until("PostgreSQL", || {
        let ask = ["exec", &postgres, "pg_isready", "-h", "127.0.0.1"];
        output("docker", &ask).contains("accepting")
    });
    let database = "DATABASE_URL=postgresql://postgres:postgres@postgres:5432/postgres";
    let env = ["-e", database, "-e", "REDIS_URL=redis://redis:6379/0"];
    let mut migration = vec!["run", "--rm", "--network", &network.name];
    migration.extend(env.iter().chain(&[image, "python", "-m", "app.migrate"]));
    bed.docker(&migration);
    let mut options = vec!["-p", "127.0.0.1::8000"];
    options.extend(env.iter().chain(&[image]));
    let app = network.start(&bed, "app", &options);

    let port = output("docker", &["port", &app, "8000"]);
    let url = format!("http://{}/health", port.lines().next().expect("a port"));
    let mut said = String::new();
    wait_until("/health", || {
        let answer = ureq::get(&url).call();
        let text = answer.map(|mut answer| answer.body_mut().read_to_string());
        said = text.map_or_else(|error| error.to_string(), Result::unwrap_or_default);
        said.contains("\"status\"")
    });
    assert_eq!(
        said,
        r#"{"status":"ok","checks":{"postgres":"ok","redis":"ok"}}"#
    );
    let label = "{{index .Config.Labels \"org.opencontainers.image.revision\"}}";
    let commit = bed.docker(&["image", "inspect", "-f", label, image]);
    assert_eq!(commit.trim(), bed.ws.git(&["rev-parse", "HEAD"]));
    output("docker", &["image", "rm", "-f", image]);
}
