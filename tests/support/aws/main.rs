//! The simulated AWS, to be used by hand: prints what to export, and runs until it is ended.
//!
//! `cargo run --example aws-simulator -- --speed 20 --service production/app=busybox:1 --repository app`

#[path = "mod.rs"]
mod aws;

use std::env;
use std::process::ExitCode;
use std::thread;

use aws::Aws;
use aws::ecs::behavior::{Behavior, Run};
use aws::seed::Seed;

const USAGE: &str = "\
usage: aws-simulator [OPTION VALUE]...
  --port PORT                     where it listens on 127.0.0.1; otherwise where there is room
  --speed NUMBER                  simulated seconds in a real one (1)
  --repository NAME               a repository of ECR that is there already
  --service CLUSTER/NAME=IMAGE    a service of two tasks that has been running for an hour
  --crash FAMILY:REVISION         its tasks write a few lines and exit with 1";

struct Options {
    port: u16,
    speed: f64,
    repositories: Vec<String>,
    services: Vec<Seed>,
    crashes: Vec<String>,
}

fn options(args: &[String]) -> Option<Options> {
    let mut options = Options {
        port: 0,
        speed: 1.0,
        repositories: Vec::new(),
        services: Vec::new(),
        crashes: Vec::new(),
    };
    for pair in args.chunks(2) {
        let value = pair.get(1)?;
        match &*pair[0] {
            "--port" => options.port = value.parse().ok()?,
            "--speed" => options.speed = value.parse().ok()?,
            "--repository" => options.repositories.push(value.clone()),
            "--service" => options.services.push(seed(value)?),
            "--crash" => options.crashes.push(value.clone()),
            _ => return None,
        }
    }
    Some(options)
}

fn seed(text: &str) -> Option<Seed> {
    let (service, image) = text.split_once('=')?;
    let (cluster, name) = service.split_once('/')?;
    Some(Seed::new(cluster, name, image))
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let Some(options) = options(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if env::var_os("FORGE_TEST_REGISTRY").is_none() {
        eprintln!("no image can be pushed: eval \"$(bash tests/setup.sh registry)\" comes first");
    }
    let aws = Aws::on(&format!("127.0.0.1:{}", options.port));
    aws.speed(options.speed);
    for name in &options.repositories {
        aws.ecr(|ecr| ecr.create(name).name.clone());
    }
    for service in &options.services {
        aws.seed(service);
    }
    // A migration that nobody said anything about is soon done.
    let done = Behavior::exits(0).says(&["nothing to do"]);
    aws.ecs(|ecs| ecs.behave(|run| !run.command.is_empty(), done));
    for revision in options.crashes {
        let lines = [
            "Traceback (most recent call last):",
            "KeyError: 'DATABASE_URL'",
        ];
        let crash = Behavior::exits(1).says(&lines);
        aws.ecs(|ecs| {
            let service = move |run: &Run| run.command.is_empty() && run.revision == revision;
            ecs.behave(service, crash);
        });
    }
    for (name, value) in aws.env() {
        println!("export {name}={value}");
    }
    loop {
        thread::park();
    }
}
