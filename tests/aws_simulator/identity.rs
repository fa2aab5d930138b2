//! Who asks, and what goes wrong with any call.

use aws_sdk_sts::config::Credentials;

use crate::aws::faults::{Fault, What};
use crate::aws::{ACCOUNT, Aws};
use crate::clients::{code, credentials, ecr_as, sts, sts_as, wait};

#[test]
fn the_caller_is_known() {
    let aws = Aws::start();
    let caller = wait(sts(&aws).get_caller_identity().send()).unwrap();
    assert_eq!(caller.account(), Some(ACCOUNT));
    assert_eq!(caller.arn(), Some("arn:aws:iam::123456789012:user/forge"));
    let calls = aws.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (&*calls[0].service, &*calls[0].operation),
        ("sts", "GetCallerIdentity")
    );
}

#[test]
fn strangers_are_refused() {
    let aws = Aws::start();
    let stranger = Credentials::new("AKIASTRANGER", "secret", None, None, "test");
    let refused = wait(sts_as(&aws, stranger.clone()).get_caller_identity().send());
    assert_eq!(code(refused), "InvalidClientTokenId");
    let refused = wait(ecr_as(&aws, stranger).describe_repositories().send());
    assert_eq!(code(refused), "UnrecognizedClientException");
}

/// Another account has its own resources.
#[test]
fn a_role_leads_to_another_account() {
    let aws = Aws::start();
    aws.ecr(|ecr| {
        ecr.create("app");
    });
    let role = "arn:aws:iam::999999999999:role/team/deployer";
    let assumed = sts(&aws)
        .assume_role()
        .role_arn(role)
        .role_session_name("ci");
    let given = wait(assumed.send()).unwrap().credentials.unwrap();
    let token = Some(given.session_token);
    let role = Credentials::new(
        given.access_key_id,
        given.secret_access_key,
        token,
        None,
        "test",
    );
    let caller = wait(sts_as(&aws, role.clone()).get_caller_identity().send()).unwrap();
    assert_eq!(
        caller.arn(),
        Some("arn:aws:sts::999999999999:assumed-role/deployer/ci")
    );
    let count = |credentials| {
        let repositories = wait(ecr_as(&aws, credentials).describe_repositories().send()).unwrap();
        repositories.repositories().len()
    };
    assert_eq!((count(role), count(credentials(&aws))), (0, 1));
}

/// Whoever has only a token of another provider signs nothing.
#[test]
fn a_token_leads_to_a_role() {
    let aws = Aws::start();
    let nobody = Credentials::new("", "", None, None, "test");
    let role = "arn:aws:iam::123456789012:role/ci";
    let request = sts_as(&aws, nobody)
        .assume_role_with_web_identity()
        .role_arn(role);
    let request = request
        .role_session_name("run-1")
        .web_identity_token("a.b.c");
    let given = wait(request.send()).unwrap().credentials.unwrap();
    let token = Some(given.session_token);
    let role = Credentials::new(
        given.access_key_id,
        given.secret_access_key,
        token,
        None,
        "test",
    );
    let caller = wait(sts_as(&aws, role.clone()).get_caller_identity().send()).unwrap();
    assert!(caller.arn().unwrap().ends_with("assumed-role/ci/run-1"));
    aws.pass(std::time::Duration::from_secs(3601));
    assert_eq!(
        code(wait(sts_as(&aws, role).get_caller_identity().send())),
        "ExpiredToken"
    );
}

#[test]
fn credentials_expire() {
    let aws = Aws::start();
    aws.expire_credentials();
    assert_eq!(
        code(wait(sts(&aws).get_caller_identity().send())),
        "ExpiredToken"
    );
    let ecr = ecr_as(&aws, credentials(&aws));
    assert_eq!(
        code(wait(ecr.describe_repositories().send())),
        "ExpiredTokenException"
    );
}

#[test]
fn throttling_is_retried_by_the_sdk() {
    let aws = Aws::start();
    aws.inject(Fault::new("ecr:DescribeRepositories", What::Throttle).times(2));
    let ecr = ecr_as(&aws, credentials(&aws));
    wait(ecr.describe_repositories().send()).unwrap();
    assert_eq!(aws.calls_of("ecr:*").len(), 3);
    aws.inject(Fault::new("ecr:*", What::Throttle));
    assert_eq!(
        code(wait(ecr.describe_repositories().send())),
        "ThrottlingException"
    );
}

/// Before the effect, or after it.
#[test]
fn connections_are_cut_and_answers_lost() {
    let aws = Aws::start();
    let create = |name| {
        let retries = aws_sdk_ecr::config::retry::RetryConfig::disabled();
        let once = aws_sdk_ecr::config::Config::builder().retry_config(retries);
        let ecr = ecr_as(&aws, credentials(&aws));
        let request = ecr.create_repository().repository_name(name);
        code(wait(request.customize().config_override(once).send()))
    };
    let exists = |name: &str| aws.ecr(|ecr| ecr.repositories.contains_key(name));
    aws.inject(Fault::new("ecr:CreateRepository", What::CutBefore).once());
    assert_eq!((create("one"), exists("one")), ("cut".into(), false));
    aws.inject(Fault::new("ecr:CreateRepository", What::CutAfter).once());
    assert_eq!((create("two"), exists("two")), ("cut".into(), true));
    aws.inject(Fault::new("ecr:CreateRepository", What::ServerErrorAfter).once());
    assert_eq!(
        (create("three"), exists("three")),
        ("ServerException".into(), true)
    );
    aws.inject(Fault::new("ecr:CreateRepository", What::Denied).once());
    assert_eq!(
        (create("four"), exists("four")),
        ("AccessDeniedException".into(), false)
    );
}

#[test]
fn every_nth_call_fails_and_others_act_in_between() {
    let aws = Aws::start();
    aws.inject(Fault::new("sts:*", What::Denied).skip(1).every(2));
    let ask = || wait(sts(&aws).get_caller_identity().send()).is_ok();
    assert_eq!(
        [ask(), ask(), ask(), ask(), ask()],
        [true, true, false, true, false]
    );
    aws.inject(Fault::happens("sts:*", |world| world.identities.clear()).once());
    assert!(!ask());
}
