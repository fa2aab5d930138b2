//! ECR: the simulated one with a real registry behind, asked from a process of its own, because the SDK reads
//! the process's environment.

use std::process::Command;

use forge::image::registry::{Registry, RegistryError, open};
use forge::pipeline::model;

use crate::aws::faults::{Fault, What};
use crate::aws::{ACCOUNT, Aws};
use crate::{busybox_with, push_as, user_config};

const REPOSITORY: &str = "shop/api";

/// Runs in a process that [`ask`] started: does what the lines of `STEPS` say, and tells what came of each.
#[test]
#[ignore = "the other tests run it"]
fn ecr_child() {
    let steps = std::env::var("STEPS").unwrap();
    let settings = model::Registry::Ecr {
        region: None,
        account: std::env::var("ACCOUNT").ok(),
        create_repository: std::env::var("CREATE").is_ok(),
    };
    let registry = open(&settings);
    for step in steps.split(';') {
        let told = match &registry {
            Ok(registry) => take(registry.as_ref(), step),
            Err(error) => Err(error.clone()),
        };
        match told {
            Ok(told) => println!("\nanswer {told}"),
            Err(error) => println!(
                "\nanswer {:?}|{}|{}",
                error.kind,
                error.message,
                error.help.unwrap_or_default()
            ),
        }
    }
}

fn take(registry: &dyn Registry, step: &str) -> Result<String, RegistryError> {
    let words: Vec<&str> = step.split_whitespace().collect();
    Ok(match words[..] {
        ["prepare"] => format!("{:?}", registry.prepare(REPOSITORY, &[])?),
        ["name"] => registry.name(REPOSITORY)?,
        ["host"] => registry.host()?,
        ["login"] => registry
            .login()?
            .map_or_else(String::new, |login| login.password),
        ["renew"] => format!("{:?}", registry.renew()),
        ["digests", ref tags @ ..] => format!("{:?}", registry.digests(REPOSITORY, tags)?),
        ["has", digest] => registry.has(REPOSITORY, &digest.parse()?)?.to_string(),
        ["tag", digest, tag] => format!("{:?}", registry.tag(REPOSITORY, &digest.parse()?, tag)?),
        ["index", tag, digest] => {
            let images = [("linux/amd64".to_owned(), digest.parse()?)];
            registry.put_index(REPOSITORY, tag, &images)?.to_string()
        }
        ["facts", digest] => format!("{:?}", registry.facts(REPOSITORY, &digest.parse()?)?.labels),
        _ => panic!("{step}"),
    })
}

/// What came of each step.
fn ask_with(aws: &Aws, env: &[(&str, &str)], steps: &str) -> Vec<String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ecr::ecr_child", "--ignored", "--nocapture"])
        .env_clear()
        .envs(aws.env())
        .envs(env.iter().copied())
        .env("STEPS", steps)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let told = text.lines().filter_map(|line| line.strip_prefix("answer "));
    let told: Vec<String> = told.map(str::to_owned).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.len(), steps.split(';').count(), "{text}{errors}");
    told
}

fn ask(aws: &Aws, steps: &str) -> Vec<String> {
    ask_with(aws, &[], steps)
}

/// A simulator with the repository, as forge makes it.
fn simulator() -> Aws {
    crate::bed();
    let aws = Aws::start();
    assert_eq!(ask_with(&aws, &[("CREATE", "1")], "prepare"), ["()"]);
    aws.forget_calls();
    aws
}

/// Pushes an image of its own under a tag; its digest.
fn push(aws: &Aws, tag: &str) -> String {
    let told = ask(aws, "login;name");
    let config = user_config(&aws.host(), "AWS", &told[0]);
    let name = format!("{}:{tag}", told[1]);
    busybox_with(config.path(), tag, &name);
    let digest = push_as(config.path(), &name);
    aws.forget_calls();
    digest
}

fn count(aws: &Aws, call: &str) -> usize {
    aws.calls_of(call).len()
}

#[test]
fn a_repository_is_made_only_when_the_file_says_so() {
    let aws = Aws::start();
    let told = ask(&aws, "prepare").remove(0);
    let expected = format!("NotFound|there is no repository \"{REPOSITORY}\" in ECR in us-east-1|");
    assert!(told.starts_with(&expected), "{told}");
    assert!(told.contains("create-repository = true"), "{told}");
    assert!(told.contains(&format!(
        "--repository-name {REPOSITORY} --region us-east-1"
    )));
    assert_eq!(count(&aws, "ecr:CreateRepository"), 0);

    let told = ask_with(&aws, &[("CREATE", "1")], "prepare;prepare;name;host");
    let name = format!("{}/{REPOSITORY}", aws.host());
    assert_eq!(told, ["()", "()", name.as_str(), &aws.host()]);
    assert_eq!(count(&aws, "ecr:CreateRepository"), 1);
    aws.ecr(|ecr| {
        let made = &ecr.repositories[REPOSITORY];
        assert_eq!(made.mutability, "IMMUTABLE_WITH_EXCLUSION");
        assert_eq!(made.exclusions, ["latest"]);
        assert!(made.scan_on_push);
    });
}

#[test]
fn a_repository_that_somebody_else_makes_meanwhile_is_as_good() {
    let aws = Aws::start();
    let race = Fault::happens("ecr:CreateRepository", |world| {
        let place = crate::aws::world::Place::new(ACCOUNT, crate::aws::REGION);
        world.region(&place).ecr.create(REPOSITORY);
    });
    aws.inject(race.once());
    assert_eq!(ask_with(&aws, &[("CREATE", "1")], "prepare"), ["()"]);
}

#[test]
fn who_may_only_push_need_not_be_allowed_to_look() {
    let aws = simulator();
    aws.inject(Fault::new("ecr:DescribeRepositories", What::Denied));
    let told = ask(&aws, "prepare;name");
    assert_eq!(
        told,
        ["()".to_owned(), format!("{}/{REPOSITORY}", aws.host())]
    );
    aws.inject(Fault::new("ecr:BatchGetImage", What::Denied));
    let told = ask(&aws, "digests x").remove(0);
    assert!(
        told.starts_with("Denied|ecr:BatchGetImage was denied"),
        "{told}"
    );
}

#[test]
fn tags_are_read_and_given_without_moving_a_byte() {
    let aws = simulator();
    let digest = push(&aws, "one");
    let many: Vec<String> = (0..150).map(|number| format!("t{number}")).collect();
    let told = ask(&aws, &format!("digests one {} one", many.join(" ")));
    assert_eq!(told[0].matches(&digest).count(), 2, "{told:?}");
    assert_eq!(told[0].matches("None").count(), 150);
    assert_eq!(count(&aws, "ecr:BatchGetImage"), 2);

    aws.forget_calls();
    let steps = format!("tag {digest} two;tag {digest} two;digests two;has {digest}");
    let told = ask(&aws, &steps);
    assert_eq!(told[..2], ["()", "()"]);
    assert!(told[2].contains(&digest) && told[3] == "true", "{told:?}");
    assert_eq!(count(&aws, "ecr:PutImage"), 1);
    assert_eq!(count(&aws, "registry:*"), 0);
    aws.ecr(|ecr| {
        let tags = &ecr.repositories[REPOSITORY].tags;
        assert!(tags.is_empty() || tags.len() < 3, "{tags:?}");
        let tagged = ecr.repositories[REPOSITORY].tagged("two");
        assert_eq!(
            tagged.map(|image| image.digest.as_str()),
            Some(digest.as_str())
        );
    });
}

#[test]
fn a_tag_that_may_not_move_says_which_images_it_is_about() {
    let aws = simulator();
    let (first, second) = (push(&aws, "first"), push(&aws, "second"));
    let told = ask(
        &aws,
        &format!("tag {second} first;tag {first} latest;tag {second} latest"),
    );
    let expected = format!(
        "Immutable|{}/{REPOSITORY}:first names {first} and may not be moved to {second}|",
        aws.host()
    );
    assert!(told[0].starts_with(&expected), "{}", told[0]);
    assert_eq!(told[1..], ["()", "()"]);
}

#[test]
fn images_of_several_platforms_get_one_name() {
    let aws = simulator();
    let digest = push(&aws, "one");
    let index = ask(&aws, &format!("index all {digest}")).remove(0);
    assert!(index.starts_with("sha256:"), "{index}");
    let told = ask(&aws, &format!("digests all;facts {index}"));
    assert!(told[0].contains(&index), "{told:?}");
    assert!(told[1].contains("\"one\""), "{told:?}");
}

#[test]
fn a_token_is_kept_until_it_is_refused() {
    let aws = simulator();
    let digest = push(&aws, "one");
    let told = ask(&aws, &format!("login;login;facts {digest};renew;login"));
    assert_eq!(told[0], told[1]);
    assert!(
        told[2].contains("\"one\"") && told[4] != told[0],
        "{told:?}"
    );
    assert_eq!(count(&aws, "ecr:GetAuthorizationToken"), 2);

    aws.forget_calls();
    let expire = Fault::happens("registry:*", |world| {
        let now = world.now();
        world
            .tokens
            .values_mut()
            .for_each(|token| token.expires = now);
    });
    aws.inject(expire.once());
    let told = ask(&aws, &format!("login;facts {digest}"));
    assert!(told[1].contains("\"one\""), "{told:?}");
    assert_eq!(count(&aws, "ecr:GetAuthorizationToken"), 2);
}

#[test]
fn another_account_is_asked_by_its_number_and_checked() {
    let aws = simulator();
    let other = [("ACCOUNT", "999988887777")];
    let told = ask_with(&aws, &other, "digests x;prepare");
    assert_eq!(told[0], "[None]");
    assert!(
        told[1].starts_with("NotFound|") || told[1].starts_with("Denied|"),
        "{told:?}"
    );
    for call in aws.calls_of("ecr:*") {
        assert_eq!(call.input["registryId"], "999988887777");
    }
    // As an answer for another account would be seen.
    let own = [("ACCOUNT", ACCOUNT)];
    assert_eq!(ask_with(&aws, &own, "prepare"), ["()"]);
}

#[test]
fn a_throttled_question_is_asked_again() {
    let aws = simulator();
    aws.inject(Fault::new("ecr:BatchGetImage", What::Throttle).once());
    assert_eq!(ask(&aws, "digests x"), ["[None]"]);
    assert_eq!(count(&aws, "ecr:BatchGetImage"), 2);
}
