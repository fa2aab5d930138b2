//! Connecting to AWS with what the environment holds, against a listener on loopback that answers as STS
//! would. Each case is a process of its own, because the SDK reads the process's environment.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use forge::aws::{Aws, AwsError, AwsErrorKind, Place};

const IDENTITY: &str = "<GetCallerIdentityResponse><GetCallerIdentityResult>\
    <Arn>arn:aws:iam::111122223333:user/ann</Arn><UserId>U</UserId><Account>111122223333</Account>\
    </GetCallerIdentityResult></GetCallerIdentityResponse>";
const ROLE: &str = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ROLEKEY</AccessKeyId>\
    <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
    </Credentials><AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/r/s</Arn>\
    <AssumedRoleId>R:s</AssumedRoleId></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>";
const DENIED: &str = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
    <Message>ann may not</Message></Error></ErrorResponse>";

/// Runs in a process that [`probe`] started: connects, asks who it is, prints what came of it.
#[test]
#[ignore = "the other tests run it"]
fn child() {
    let of = |name: &str| std::env::var(name).ok();
    let place = Place {
        region: of("PLACE_REGION"),
        profile: of("PLACE_PROFILE"),
        assume_role: of("PLACE_ROLE"),
    };
    let asked = Aws::connect(&place).and_then(|aws| match of("PLACE_CANCEL") {
        Some(_) => cancelled(&aws),
        None => two_threads(&aws),
    });
    match asked {
        Ok(arn) => println!("\nanswer {arn}"),
        Err(error) => println!(
            "\nanswer {:?}|{}|{}",
            error.kind,
            error.message,
            error.help.unwrap_or_default()
        ),
    }
}

fn two_threads(aws: &Aws) -> Result<String, AwsError> {
    thread::scope(|scope| {
        let other = scope.spawn(|| aws.identity());
        let mine = aws.identity()?;
        assert_eq!(other.join().unwrap()?, mine);
        Ok(format!("{} {}", mine.account, aws.region()))
    })
}

fn cancelled(aws: &Aws) -> Result<String, AwsError> {
    let sts = aws_sdk_sts::Client::new(aws.config());
    let call = sts.get_caller_identity().send();
    aws.call_until("sts:GetCallerIdentity", call, &|| true)
        .map(|_| "an answer".to_owned())
}

/// Everything that a child says after `answer`, in an environment of these variables and no others.
fn probe(env: &[(&str, &str)]) -> String {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env_clear()
        .env("HOME", home.path())
        // There is no metadata service here, and what answers at its address on a CI machine isn't ours.
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("hidden"), "a secret is shown: {text}");
    let said = text.lines().find_map(|line| line.strip_prefix("answer "));
    said.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
        .to_owned()
}

const KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "ENVKEY"),
    ("AWS_SECRET_ACCESS_KEY", "hidden"),
    ("AWS_REGION", "eu-west-1"),
];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    KEYS.iter().chain(more).copied().collect()
}

/// An STS: answers by action, and tells which request came.
struct Sts {
    url: String,
    seen: Receiver<String>,
}

fn sts(answers: &'static [(&'static str, u16, &'static str)]) -> Sts {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, seen) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            thread::spawn(move || {
                let request = read(&stream);
                let (_, status, body) = answers
                    .iter()
                    .find(|(action, ..)| request.contains(&format!("Action={action}&")))
                    .expect("a known action");
                let _ = sender.send(request);
                let _ = write!(
                    &stream,
                    "HTTP/1.1 {status} S\r\nContent-Type: text/xml\r\nx-amzn-requestid: r-1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
            });
        }
    });
    Sts { url, seen }
}

fn read(stream: &TcpStream) -> String {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

#[test]
fn keys_of_the_environment_and_an_endpoint_are_used() {
    let sts = sts(&[("GetCallerIdentity", 200, IDENTITY)]);
    let said = probe(&with(&[("AWS_ENDPOINT_URL", &sts.url)]));
    assert_eq!(said, "111122223333 eu-west-1");
    assert!(sts.seen.recv().unwrap().contains("Credential=ENVKEY/"));
}

#[test]
fn nothing_at_all_says_what_is_missing() {
    let said = probe(&[("AWS_REGION", "eu-west-1")]);
    assert!(
        said.starts_with("NoCredentials|no AWS credentials were found|") && said.contains("OIDC"),
        "{said}"
    );
    let said = probe(&KEYS[..2]);
    assert!(
        said.starts_with("NoRegion|no AWS region is set|set AWS_REGION"),
        "{said}"
    );
}

#[test]
fn a_profile_goes_before_keys_of_the_environment() {
    let sts = sts(&[("GetCallerIdentity", 200, IDENTITY)]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    fs::write(
        &file,
        "[profile prod]\nregion = us-west-2\naws_access_key_id = PRODKEY\naws_secret_access_key = hidden\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let env: Vec<(&str, &str)> = with(&[
        ("AWS_CONFIG_FILE", file),
        ("AWS_ENDPOINT_URL", &sts.url),
        ("PLACE_PROFILE", "prod"),
    ])
    .into_iter()
    .filter(|(name, _)| *name != "AWS_REGION")
    .collect();
    assert_eq!(probe(&env), "111122223333 us-west-2");
    assert!(sts.seen.recv().unwrap().contains("Credential=PRODKEY/"));

    let said = probe(&with(&[
        ("AWS_CONFIG_FILE", file),
        ("PLACE_PROFILE", "stage"),
    ]));
    assert!(
        said.starts_with("NoCredentials|") && said.contains("stage"),
        "{said}"
    );
    assert!(said.contains("aws sso login --profile stage"), "{said}");
}

#[test]
fn a_credential_process_is_asked_once() {
    let sts = sts(&[("GetCallerIdentity", 200, IDENTITY)]);
    let dir = tempfile::tempdir().unwrap();
    let (file, asked) = (dir.path().join("config"), dir.path().join("asked"));
    let json = r#"{"Version":1,"AccessKeyId":"PROCKEY","SecretAccessKey":"hidden"}"#;
    fs::write(dir.path().join("json"), json).unwrap();
    let process = format!(
        "sh -c 'echo x >> {}; cat {}'",
        asked.display(),
        dir.path().join("json").display()
    );
    fs::write(
        &file,
        format!("[default]\ncredential_process = {process}\n"),
    )
    .unwrap();
    let said = probe(&[
        ("PATH", "/usr/bin:/bin"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_CONFIG_FILE", file.to_str().unwrap()),
        ("AWS_ENDPOINT_URL", &sts.url),
    ]);
    assert_eq!(said, "111122223333 eu-west-1");
    assert!(sts.seen.recv().unwrap().contains("Credential=PROCKEY/"));
    assert_eq!(fs::read_to_string(asked).unwrap(), "x\n");
}

#[test]
fn a_role_is_taken_on_and_its_keys_are_used() {
    let sts = sts(&[
        ("AssumeRole", 200, ROLE),
        ("GetCallerIdentity", 200, IDENTITY),
    ]);
    let role = "arn:aws:iam::111122223333:role/r";
    let env = with(&[
        ("AWS_ENDPOINT_URL_STS", &sts.url),
        ("PLACE_ROLE", role),
        ("GITHUB_ACTOR", "ann"),
    ]);
    assert_eq!(probe(&env), "111122223333 eu-west-1");
    let requests: BTreeMap<bool, String> = sts
        .seen
        .iter()
        .take(2)
        .map(|request| (request.contains("Action=AssumeRole&"), request))
        .collect();
    assert!(requests[&true].contains("Credential=ENVKEY/"));
    assert!(requests[&true].contains("RoleSessionName=forge-ann"));
    assert!(requests[&false].contains("Credential=ROLEKEY/"));
}

#[test]
fn a_role_that_is_refused_is_named() {
    let sts = sts(&[("AssumeRole", 403, DENIED)]);
    let said = probe(&with(&[
        ("AWS_ENDPOINT_URL", &sts.url),
        ("PLACE_ROLE", "arn:aws:iam::1:role/r"),
    ]));
    let expected = "Denied|can't take on arn:aws:iam::1:role/r: ann may not|";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn a_refused_call_names_itself_and_the_request() {
    let sts = sts(&[("GetCallerIdentity", 403, DENIED)]);
    let said = probe(&with(&[("AWS_ENDPOINT_URL", &sts.url)]));
    let expected = "Denied|sts:GetCallerIdentity was denied: ann may not (request id r-1)|";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn an_endpoint_that_is_gone_is_named() {
    let url = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let said = probe(&with(&[("AWS_ENDPOINT_URL", &url)]));
    assert!(
        said.starts_with("Unreachable|sts:GetCallerIdentity got no answer:") && said.contains(&url),
        "{said}"
    );
}

#[test]
fn a_call_ends_when_nobody_wants_its_answer() {
    // Accepts and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let said = probe(&with(&[("AWS_ENDPOINT_URL", &url), ("PLACE_CANCEL", "1")]));
    assert!(
        said.starts_with(&format!("{:?}|", AwsErrorKind::Cancelled)),
        "{said}"
    );
}
