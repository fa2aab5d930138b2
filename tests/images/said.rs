//! What is said of images before anything happens: dry runs, `why`, and the doctor.

use crate::aws::{ACCOUNT, Aws};
use crate::bed::Bed;
use crate::ecr::{bed, head, repository};

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

    let found = "the registry has it already, and would tag it ";
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
        ("run", "the engine has it already, and would push it")
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
    let bed = bed(&aws, "", "tags = [\"${git.sha}\"]");
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
