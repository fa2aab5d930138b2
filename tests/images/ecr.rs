//! Images in Amazon ECR: the simulator in front of the real registry.

use serde_json::{Value, json};

use crate::aws::ecr::Repository;
use crate::aws::faults::{Fault, What};
use crate::aws::{ACCOUNT, Aws};
use crate::bed::{Bed, printed};
use crate::run::output;

const BY_COMMIT: &str = "tags = [\"${git.sha}\", \"latest\"]";

/// A bed in ECR, in a commit, with its repository there unless forge is to make it.
fn bed(aws: &Aws, ecr: &str, keys: &str) -> Bed {
    let bed = Bed::in_ecr(aws, ecr, keys);
    bed.ws.write(".dockerignore", "*\n!file\n");
    bed.ws.commit();
    if !ecr.contains("create-repository") {
        aws.ecr(|ecr| ecr.create(&bed.repository).name.clone());
    }
    bed
}

/// Looks at the bed's repository, or changes it.
fn repository<T>(aws: &Aws, bed: &Bed, act: impl FnOnce(&mut Repository) -> T) -> T {
    aws.ecr(|ecr| act(ecr.repository(&bed.repository).expect("it is there")))
}

/// The digest that a tag names.
fn tagged(aws: &Aws, bed: &Bed, tag: &str) -> Option<String> {
    repository(aws, bed, |found| {
        found.tagged(tag).map(|image| image.digest.clone())
    })
}

fn immutable(aws: &Aws, bed: &Bed) {
    repository(aws, bed, |found| found.mutability = "IMMUTABLE".into());
}

/// Names of the calls that came in, those of the registry's own API left out.
fn calls(aws: &Aws) -> Vec<String> {
    let calls = aws.calls().into_iter();
    let calls = calls.filter(|call| call.service != "registry");
    calls
        .map(|call| format!("{}:{}", call.service, call.operation))
        .collect()
}

fn head(bed: &Bed) -> String {
    bed.ws.git(&["rev-parse", "HEAD"])
}

#[track_caller]
fn restored(bed: &Bed) -> Value {
    let ran = bed.forge(&["image", "--json"]);
    let end = ran.code(0).end_of("image");
    assert_eq!(
        (&end["outcome"], &end["reason"]),
        (&json!("restored"), &json!("the registry has it already"))
    );
    end
}

#[test]
fn the_first_push_makes_the_repository() {
    let aws = Aws::start();
    let bed = bed(&aws, "create-repository = true", BY_COMMIT);
    let (outcome, end) = bed.image(&[]);
    assert_eq!(outcome, "ran");
    let digest = end["image"]["digest"].as_str().expect("a digest");
    for tag in [head(&bed), "latest".into()] {
        assert_eq!(tagged(&aws, &bed, &tag).as_deref(), Some(digest), "{tag}");
    }
    let settings = repository(&aws, &bed, |found| {
        (
            found.scan_on_push,
            found.mutability.clone(),
            found.exclusions.clone(),
        )
    });
    let expected = (
        true,
        "IMMUTABLE_WITH_EXCLUSION".into(),
        vec!["latest".into()],
    );
    assert_eq!(settings, expected);
    let made = aws.calls_of("ecr:CreateRepository");
    assert_eq!(made.len(), 1);

    let reference = end["image"]["ref"].as_str().expect("a name");
    assert_eq!(reference, format!("{}@{digest}", bed.full()));
    assert_eq!(bed.image(&[]).0, "fresh");
    bed.forget_in_engine();
    log_in(&aws, &bed);
    bed.docker(&["pull", "-q", reference]);
    assert_eq!(printed(reference), "one\n");
}

/// Lets the docker command in.
fn log_in(aws: &Aws, bed: &Bed) {
    let token = aws.world(|world| world.tokens.keys().next().cloned());
    bed.log_in("AWS", &token.expect("forge got one"));
}

#[test]
fn without_the_repository_it_says_how_to_make_one() {
    let aws = Aws::start();
    let bed = bed(&aws, "", BY_COMMIT);
    aws.ecr(|ecr| ecr.repositories.clear());
    bed.forge(&["image"])
        .code(1)
        .says(&bed.repository)
        .says("create-repository = true");
}

#[test]
fn another_commit_and_another_machine_only_tag() {
    let aws = Aws::start();
    let bed = bed(&aws, "create-repository = true", BY_COMMIT);
    let (_, built) = bed.image(&[]);
    let first = head(&bed);
    bed.ws
        .git(&["commit", "-q", "--allow-empty", "-m", "nothing"]);
    bed.forget_in_engine();
    let elsewhere = bed.elsewhere();
    elsewhere.ws.commit();
    for other in [&bed, &elsewhere] {
        aws.forget_calls();
        let again = restored(other);
        assert_eq!(again["image"]["digest"], built["image"]["digest"]);
        for tag in [head(other), first.clone(), "latest".into()] {
            let found = tagged(&aws, &bed, &tag);
            assert_eq!(found.as_deref(), built["image"]["digest"].as_str(), "{tag}");
        }
        let writes: Vec<String> = calls(&aws)
            .into_iter()
            .filter(|call| {
                !matches!(
                    &**call,
                    "ecr:GetAuthorizationToken" | "ecr:DescribeRepositories" | "ecr:BatchGetImage"
                )
            })
            .collect();
        assert_eq!(writes, ["ecr:PutImage"], "only the new tag is written");
        let moved = aws.calls_of("registry:*");
        assert!(moved.is_empty(), "nothing is pulled or pushed: {moved:?}");
        assert_eq!(
            output("docker", &["image", "ls", "-q", &bed.full()]),
            "",
            "nothing is built"
        );
    }
}

#[test]
fn a_token_that_expires_in_a_push_is_renewed() {
    let aws = Aws::start();
    let bed = bed(&aws, "", BY_COMMIT);
    aws.inject(
        Fault::happens("registry:PUT manifests", |world| {
            let now = world.now();
            let tokens = world.tokens.values_mut();
            tokens.for_each(|token| token.expires = now);
        })
        .once(),
    );
    let (outcome, end) = bed.image(&[]);
    assert_eq!(outcome, "ran");
    assert_eq!(
        tagged(&aws, &bed, "latest").as_deref(),
        end["image"]["digest"].as_str()
    );
    assert_eq!(aws.calls_of("ecr:GetAuthorizationToken").len(), 2);
}

#[test]
fn a_registry_that_goes_away_in_a_push_leaves_no_half_image() {
    let aws = Aws::start();
    let bed = bed(&aws, "", BY_COMMIT);
    // With its layers there and its manifest on the way: the engine tries anew for a layer, and for long.
    aws.inject(Fault::new("registry:PUT manifests", What::CutBefore));
    bed.forge(&["image"]).code(1).says(&aws.host());
    assert_eq!(tagged(&aws, &bed, "latest"), None);
    aws.heal();
    let ran = bed.forge(&["image", "--json"]);
    let end = ran.code(0).end_of("image");
    assert_eq!(
        end["outcome"], "restored",
        "the engine has it: it is only pushed"
    );
    assert_eq!(
        tagged(&aws, &bed, &head(&bed)).as_deref(),
        end["image"]["digest"].as_str()
    );
    assert_eq!(bed.image(&[]).0, "fresh");
}

#[test]
fn a_push_that_is_cut_again_and_again_goes_on() {
    let aws = Aws::start();
    let bed = bed(&aws, "", BY_COMMIT);
    aws.inject(Fault::new("registry:PATCH blobs", What::CutAfterBytes(1)).once());
    let (outcome, end) = bed.image(&[]);
    assert_eq!(outcome, "ran");
    assert_eq!(
        tagged(&aws, &bed, "latest").as_deref(),
        end["image"]["digest"].as_str()
    );
}

#[test]
fn a_tag_that_may_not_move_is_refused_with_both_images() {
    let aws = Aws::start();
    let bed = bed(&aws, "create-repository = true", BY_COMMIT);
    let (_, first) = bed.image(&[]);
    // The same commit, and something in the image that isn't committed.
    bed.ws.write("file", "two\n");
    let ran = bed.forge(&["image"]);
    ran.code(1)
        .says(&head(&bed))
        .says(first["image"]["digest"].as_str().expect("a digest"))
        .says("may not be moved");
    assert_eq!(
        tagged(&aws, &bed, &head(&bed)).as_deref(),
        first["image"]["digest"].as_str()
    );
}

#[test]
fn a_push_whose_answer_was_lost_is_found_under_its_immutable_tag() {
    let aws = Aws::start();
    let bed = bed(&aws, "", BY_COMMIT);
    immutable(&aws, &bed);
    aws.inject(Fault::new("registry:PUT manifests", What::CutAfter).once());
    let (_, end) = bed.image(&[]);
    assert_eq!(
        tagged(&aws, &bed, &head(&bed)).as_deref(),
        end["image"]["digest"].as_str()
    );
}

#[test]
fn platforms_that_were_pushed_before_an_interruption_are_kept() {
    let aws = Aws::start();
    let keys = "tags = [\"${git.sha}\"]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]";
    let bed = bed(&aws, "create-repository = true", keys);
    bed.ws
        .write("Dockerfile", "FROM scratch\nCOPY file /file\n");
    aws.inject(Fault::happens("registry:PUT manifests", |world| {
        world.registry_gone = true
    }));
    bed.forge(&["image"]).code(1);
    aws.registry_gone(false);
    aws.heal();
    let (_, end) = bed.image(&[]);
    assert_eq!(
        tagged(&aws, &bed, &head(&bed)).as_deref(),
        end["image"]["digest"].as_str()
    );
    assert_eq!(bed.image(&[]).0, "fresh");
}

#[test]
fn what_is_gone_from_ecr_is_not_fresh() {
    let aws = Aws::start();
    let bed = bed(&aws, "", BY_COMMIT);
    let (_, end) = bed.image(&[]);
    repository(&aws, &bed, |found| found.images.clear());
    let ran = bed.forge(&["image", "--json"]);
    let again = ran.code(0).end_of("image");
    assert_ne!(again["outcome"], "fresh");
    assert_eq!(again["image"]["digest"], end["image"]["digest"]);
    assert!(tagged(&aws, &bed, "latest").is_some());
    bed.forget_in_engine();
    repository(&aws, &bed, |found| found.images.clear());
    assert_eq!(bed.image(&[]).0, "ran");
}

#[test]
fn a_forced_build_never_leaves_a_tag_that_may_not_move_behind() {
    let aws = Aws::start();
    let bed = bed(&aws, "create-repository = true", "tags = [\"latest\"]");
    bed.image(&[]);
    let before = tagged(&aws, &bed, "latest");
    let ran = bed.forge(&["image", "--force"]);
    ran.code(1)
        .says("--force can't replace")
        .says("batch-delete-image")
        .says_not("build 127");
    assert_eq!(tagged(&aws, &bed, "latest"), before);
    assert_eq!(bed.image(&[]).0, "fresh");
    // In a repository whose tags move, all of them do.
    repository(&aws, &bed, |found| found.mutability = "MUTABLE".into());
    let (outcome, end) = bed.image(&["--force"]);
    let now = tagged(&aws, &bed, "latest");
    assert_eq!(
        (&*outcome, now.as_deref()),
        ("ran", end["image"]["digest"].as_str())
    );
    assert_ne!(now, before);
    assert_eq!(bed.image(&[]).0, "fresh");
}

#[test]
fn what_is_always_built_needs_no_tag_to_move() {
    let aws = Aws::start();
    let keys = "tags = [\"latest\"]\ncache = false";
    let bed = bed(&aws, "create-repository = true", keys);
    for text in ["one", "two", "two"] {
        bed.ws.write("file", text);
        let (_, end) = bed.image(&[]);
        assert_eq!(
            tagged(&aws, &bed, "latest").as_deref(),
            end["image"]["digest"].as_str()
        );
        assert_eq!(printed(&format!("{}:latest", bed.full())), text);
    }
    let by_hand = bed.image(&["--no-cache"]).1;
    assert_eq!(
        tagged(&aws, &bed, "latest").as_deref(),
        by_hand["image"]["digest"].as_str()
    );
}

#[test]
fn tags_that_are_meant_to_move_do() {
    let aws = Aws::start();
    let keys = "tags = [\"${git.sha}\", \"branch-${git.branch}\", \"dev\"]";
    let bed = bed(&aws, "create-repository = true", keys);
    bed.ws.git(&["switch", "-q", "-c", "feature/x"]);
    for text in ["one\n", "two\n"] {
        bed.ws.write("file", text);
        bed.ws
            .git(&["commit", "-q", "--allow-empty", "-a", "-m", text]);
        let (_, end) = bed.image(&[]);
        for tag in [&*head(&bed), "branch-feature-x", "dev"] {
            let found = tagged(&aws, &bed, tag);
            assert_eq!(found.as_deref(), end["image"]["digest"].as_str(), "{tag}");
        }
    }
    let exceptions = repository(&aws, &bed, |found| found.exclusions.clone());
    assert_eq!(exceptions, ["latest", "branch-*", "dev"]);
}

#[test]
fn credentials_that_are_missing_are_the_first_thing_said() {
    let aws = Aws::start();
    let bed = bed(&aws, "", BY_COMMIT);
    let none = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    bed.forge_with(&none, &["image"])
        .code(3)
        .says("no AWS credentials")
        .says("aws sso login")
        .says_not("ran in");
    assert_eq!(aws.calls_of("*").len(), 0);
    aws.expire_credentials();
    bed.forge(&["image"]).code(3).says("expired");
}

#[test]
fn another_account_than_the_one_that_is_wanted_is_refused() {
    let aws = Aws::start();
    let bed = bed(&aws, "account = \"999999999999\"", BY_COMMIT);
    let ran = bed.forge(&["image"]);
    ran.code(3).says(ACCOUNT).says("999999999999");
    assert!(aws.calls_of("registry:*").is_empty());
}

#[test]
fn throttled_and_failing_calls_are_tried_again() {
    let aws = Aws::start();
    let bed = bed(&aws, "", BY_COMMIT);
    aws.inject(Fault::new("ecr:*", What::Throttle).every(2));
    aws.inject(Fault::new("registry:* blobs", What::ServerError).times(2));
    let (outcome, _) = bed.image(&[]);
    assert_eq!(outcome, "ran");
    aws.heal();
    aws.inject(Fault::new("ecr:PutImage", What::Denied));
    bed.ws
        .git(&["commit", "-q", "--allow-empty", "-m", "nothing"]);
    bed.forge(&["image"])
        .code(3)
        .says("ecr:PutImage was denied")
        .says("not authorized");
}

/// What `-n` would do with the image, and why.
#[track_caller]
fn planned(bed: &Bed) -> (String, String) {
    let ran = bed.forge(&["image", "-n", "--json"]);
    let events = ran.code(0).events();
    let plan = events
        .iter()
        .find(|event| event["event"] == "target-planned" && event["target"] == "image");
    let text = |key: &str| {
        plan.expect("a plan")[key]
            .as_str()
            .expect("text")
            .to_owned()
    };
    (text("action"), text("reason"))
}

#[test]
fn what_would_happen_is_said_and_nothing_does() {
    let aws = Aws::start();
    let keys = "tags = [\"${git.sha}\"]\nneeds = [\"check\", \"made\"]";
    let bed = bed(&aws, "create-repository = true", keys);
    let more = "[target.check]\ninputs = []\ncache = false\nrun = \"true\"\n\
                [target.made]\ninputs = [\"input\"]\noutputs = [\"made\"]\nrun = \"cp input made\"\n";
    bed.ws.write(
        "Pipeline.toml",
        &format!("{}{more}", bed.ws.read("Pipeline.toml")),
    );
    bed.ws.write("input", "one\n");
    bed.ws.commit();
    let never = planned(&bed);
    assert_eq!(never, ("run".into(), "never ran here".into()));
    assert!(
        aws.ecr(|ecr| ecr.repositories.is_empty()),
        "nothing is made"
    );
    bed.image(&[]);
    // What runs every time makes nothing that could be in the image.
    assert_eq!(planned(&bed).0, "fresh");
    bed.forge(&["why", "image"]).code(0).says("is fresh");

    let found = "the registry has it already, and it would get the tags ";
    bed.ws
        .git(&["commit", "-q", "--allow-empty", "-m", "nothing"]);
    let elsewhere = bed.elsewhere();
    elsewhere.ws.write("input", "one\n");
    elsewhere.ws.commit();
    for other in [&bed, &elsewhere] {
        aws.forget_calls();
        let (action, reason) = planned(other);
        assert_eq!(
            (&*action, reason),
            ("restore", format!("{found}{}", head(other)))
        );
        other
            .forge(&["why", "image"])
            .code(0)
            .says("needs no build")
            .says(found);
        assert!(aws.calls_of("ecr:PutImage").is_empty() && aws.calls_of("registry:*").is_empty());
    }
    // It isn't in ECR any more, but in the engine.
    repository(&aws, &bed, |found| found.images.clear());
    let (action, reason) = planned(&bed);
    assert_eq!(
        (&*action, &*reason),
        ("run", "the engine has it already, and it would be pushed")
    );
    bed.forget_in_engine();
    assert_eq!(planned(&bed).1, "the registry doesn't have it");
    bed.ws.write(".dockerignore", "");
    bed.ws.write("input", "two\n");
    assert_eq!(planned(&bed).1, "needs made, which runs");
    bed.forge(&["why", "image"])
        .code(0)
        .says("would be built")
        .says("input");
}

#[test]
fn the_doctor_says_who_is_let_in() {
    let aws = Aws::start();
    let bed = bed(&aws, "", BY_COMMIT);
    let environment = |name: &str, account: &str| {
        format!("[environment.{name}]\naccount = \"{account}\"\ncluster = \"c\"\nservice = \"s\"\n")
    };
    let pipeline = bed.ws.read("Pipeline.toml");
    let dev = environment("dev", ACCOUNT);
    bed.ws.write("Pipeline.toml", &format!("{pipeline}{dev}"));
    bed.forge(&["doctor"])
        .code(0)
        .says(&format!(
            "account {ACCOUNT} as arn:aws:iam::{ACCOUNT}:user/forge"
        ))
        .says("(images)")
        .says("(environment dev)");
    let prod = environment("prod", "999999999999");
    bed.ws
        .write("Pipeline.toml", &format!("{pipeline}{dev}{prod}"));
    bed.forge(&["doctor"])
        .code(3)
        .says("but account 999999999999 is wanted");
    aws.expire_credentials();
    bed.forge(&["doctor"]).code(3).says("expired");
    let none = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    bed.forge_with(&none, &["doctor"])
        .code(3)
        .says("no AWS credentials")
        .says("aws sso login");
    // Who has no use for them isn't asked.
    aws.forget_calls();
    let plain = Bed::new("tags = [\"v1\"]");
    let env = aws.env();
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    plain
        .forge_with(&env, &["doctor"])
        .code(0)
        .says("not checked");
    assert!(aws.calls_of("*").is_empty());
}
