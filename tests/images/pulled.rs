//! Images that come from a registry with a password: what images are built on, and services.

use std::process::Command;

use crate::aws::Aws;
use crate::bed::{Bed, password, printed, registry, repository};
use crate::run::{Workspace, output};

/// A small image that prints a word, in the registry alone; its name.
fn base(bed: &Bed, name: &str, word: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("UTF-8");
    let dockerfile = format!("FROM busybox:1\nRUN echo {word} > /base\n");
    std::fs::write(dir.path().join("Dockerfile"), dockerfile).expect("written");
    bed.docker(&["build", "-q", "-t", name, path]);
    bed.docker(&["push", "-q", name]);
    output("docker", &["image", "rm", name]);
    name.to_owned()
}

fn on(bed: &Bed, base: &str) {
    let text = format!("FROM {base}\nCOPY file /file\nCMD [\"cat\", \"/base\"]\n");
    bed.ws.write("Dockerfile", &text);
}

#[test]
fn a_base_in_a_registry_is_pulled_and_seen_to_move() {
    let bed = Bed::new("tags = [\"v1\"]");
    let name = format!("{}-base:1", bed.full());
    base(&bed, &name, "old");
    on(&bed, &name);
    let (outcome, first) = bed.image(&[]);
    assert_eq!(outcome, "ran");
    assert_eq!(bed.image(&[]).0, "fresh");
    let old = output("docker", &["image", "inspect", "-f", "{{.Id}}", &name]);
    base(&bed, &name, "new");
    // The engine still has the old one by that name.
    output("docker", &["tag", old.trim(), &name]);
    let (outcome, end) = bed.image(&[]);
    assert_eq!(outcome, "ran");
    let reason = end["reason"].as_str().expect("a reason");
    assert!(reason.contains(&name), "{reason}");
    assert_ne!(first["image"]["digest"], end["image"]["digest"]);
    assert_eq!(printed(&format!("{}:v1", bed.full())), "new\n");
    output("docker", &["image", "rm", &name]);
}

#[test]
fn a_base_that_cannot_be_had_says_why() {
    let bed = Bed::new("push = false\ntags = [\"v1\"]");
    let name = format!("{}-base:1", bed.full());
    on(&bed, &name);
    bed.forge(&["image"])
        .code(1)
        .says(&format!("its base image {name} doesn't exist"))
        .says("correct the FROM line");
    base(&bed, &name, "x");
    bed.log_in("AWS", "wrong");
    bed.forge(&["image"])
        .code(3)
        .says(&format!("its base image {name} can't be found"))
        .says("refused the user name or password")
        .says(&format!("docker login {}", registry()));
}

#[test]
fn a_base_in_the_own_ecr_needs_no_login() {
    let aws = Aws::start();
    let bed = Bed::in_ecr(&aws, "", "tags = [\"v1\"]");
    aws.ecr(|ecr| ecr.create(&bed.repository).name.clone());
    bed.image(&[]);
    let token = aws.world(|world| world.tokens.keys().next().cloned());
    let token = token.expect("forge got one");
    bed.log_in("AWS", &token);
    let name = format!("{}:base", bed.full());
    base(&bed, &name, "ours");
    bed.log_in("AWS", "expired");
    on(&bed, &name);
    assert_eq!(bed.image(&[]).0, "ran");
    assert_eq!(printed(&format!("{}:v1", bed.full())), "ours\n");
}

#[test]
fn the_image_of_a_service_is_pulled_with_a_login() {
    let name = format!("{}/{}:1", registry(), repository());
    let ws = Workspace::new(&format!(
        "[pipeline]\nname = \"app\"\n[service.web]\nimage = \"{name}\"\nports = [8080]\n\
         [target.t]\ninputs = []\nservices = [\"web\"]\nrun = \"true\"\n"
    ));
    let bed = Bed::new("tags = [\"v1\"]");
    output("docker", &["tag", "forge-test/http:1", &name]);
    bed.docker(&["push", "-q", &name]);
    output("docker", &["image", "rm", &name]);
    let forge = |password: &str| {
        bed.log_in("AWS", password);
        let mut command: Command = ws.command(&["t"]);
        command.env("DOCKER_CONFIG", bed.config());
        ws.run(command)
    };
    forge("wrong")
        .code(3)
        .says(&name)
        .says("docker login")
        .says_not("wrong");
    forge(&password()).code(0);
    output("docker", &["image", "rm", &name]);
}
