//! Images in Amazon ECR: the simulator in front of the real registry.

use serde_json::{Value, json};

use crate::aws::ecr::Repository;
use crate::aws::faults::{Fault, What};
use crate::aws::{ACCOUNT, Aws};
use crate::bed::{Bed, printed};
use crate::run::output;

const BY_COMMIT: &str = "tags = [\"${git.sha}\", \"latest\"]";

/// A bed in ECR, in a commit, with its repository there unless forge is to make it.
pub fn bed(aws: &Aws, ecr: &str, keys: &str) -> Bed {
    let bed = Bed::in_ecr(aws, ecr, keys);
    bed.ws.write(".dockerignore", "*\n!file\n");
    bed.ws.commit();
    if !ecr.contains("create-repository") {
        aws.ecr(|ecr| ecr.create(&bed.repository).name.clone());
    }
    bed
}

/// Looks at the bed's repository, or changes it.
pub fn repository<T>(aws: &Aws, bed: &Bed, act: impl FnOnce(&mut Repository) -> T) -> T {
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

pub fn head(bed: &Bed) -> String {
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

    // Whoever reads the cache can't push.
    let token = token(&aws);
    let forge = bed.ws.path(".forge");
    let kept = output("grep", &["-rl", &token, forge.to_str().expect("UTF-8")]);
    assert_eq!(kept, "");

    let reference = end["image"]["ref"].as_str().expect("a name");
    assert_eq!(reference, format!("{}@{digest}", bed.full()));
    assert_eq!(bed.image(&[]).0, "fresh");
    bed.forget_in_engine();
    bed.log_in("AWS", &token);
    bed.docker(&["pull", "-q", reference]);
    assert_eq!(printed(reference), "one\n");
}

/// The password that forge got.
fn token(aws: &Aws) -> String {
    let token = aws.world(|world| world.tokens.keys().next().cloned());
    token.expect("forge got one")
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
    bed.forget_in_engine();
    let elsewhere = bed.elsewhere();
    elsewhere.ws.commit();
    // The first commit of both may be of the same second, and one and the same then.
    for (other, message) in [(&bed, "nothing"), (&elsewhere, "elsewhere")] {
        other
            .ws
            .git(&["commit", "-q", "--allow-empty", "-m", message]);
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

#[test]
fn two_machines_that_build_the_same_end_with_one_image() {
    let aws = Aws::start();
    let one = bed(&aws, "create-repository = true", BY_COMMIT);
    let two = one.elsewhere();
    let git = |bed: &Bed| bed.ws.path(".git").to_str().expect("UTF-8").to_owned();
    output("cp", &["-r", &git(&one), &git(&two)]);
    // Each with its own builder, so that whoever is second has another image.
    let started = [(&one, "0"), (&two, "1")].map(|(bed, builder)| {
        let mut command = bed.command(&["image", "--json"]);
        command.env("DOCKER_BUILDKIT", builder);
        bed.ws.start(command)
    });
    let ends = started.map(|forge| {
        let ran = forge.wait();
        ran.code(0).end_of("image")["image"]["digest"].clone()
    });
    assert_eq!(ends[0], ends[1]);
    for tag in [head(&one), "latest".into()] {
        assert_eq!(tagged(&aws, &one, &tag).as_deref(), ends[0].as_str());
    }
}

#[test]
fn what_ecr_has_needs_no_engine() {
    let aws = Aws::start();
    let bed = bed(&aws, "", BY_COMMIT);
    bed.ws
        .write("Dockerfile", "FROM scratch\nCOPY file /file\n");
    bed.ws.commit();
    bed.image(&[]);
    let elsewhere = bed.elsewhere();
    elsewhere.ws.commit();
    let without = [("DOCKER_HOST", "unix:///nowhere/docker.sock")];
    let ran = elsewhere.forge_with(&without, &["image", "--json"]);
    assert_eq!(ran.code(0).end_of("image")["outcome"], "restored");
    elsewhere.ws.write("file", "two\n");
    elsewhere
        .forge_with(&without, &["image"])
        .code(3)
        .says("no Docker engine answers")
        .says("docker.io");
}
