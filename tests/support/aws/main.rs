//! The simulated AWS, to be used by hand: prints what to export, and runs until it is ended.
//!
//! `cargo run --example aws-simulator -- [--port PORT] [--speed SIMULATED-SECONDS-IN-A-REAL-ONE] [--repository NAME]…`

#[path = "mod.rs"]
mod aws;

use std::env;
use std::process::ExitCode;
use std::thread;

use aws::Aws;

const USAGE: &str = "usage: aws-simulator [--port PORT] [--speed NUMBER] [--repository NAME]...";

struct Options {
    port: u16,
    speed: f64,
    repositories: Vec<String>,
}

fn options(args: &[String]) -> Option<Options> {
    let mut options = Options {
        port: 0,
        speed: 1.0,
        repositories: Vec::new(),
    };
    for pair in args.chunks(2) {
        let value = pair.get(1)?;
        match &*pair[0] {
            "--port" => options.port = value.parse().ok()?,
            "--speed" => options.speed = value.parse().ok()?,
            "--repository" => options.repositories.push(value.clone()),
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let Some(options) = options(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let aws = Aws::on(&format!("127.0.0.1:{}", options.port));
    aws.speed(options.speed);
    for name in &options.repositories {
        aws.ecr(|ecr| ecr.create(name).name.clone());
    }
    for (name, value) in aws.env() {
        println!("export {name}={value}");
    }
    loop {
        thread::park();
    }
}
