//! Registries behind servers of tokens, and registries that answer as none should.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use forge::image::registry::{
    Digest, DockerConfig, Plain, Registry, RegistryError, RegistryErrorKind as Kind,
};

use crate::responder::{Responder, Told};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

/// As `ann` with the password `hidden`.
fn as_ann<T>(host: &str, ask: impl FnOnce(&Plain) -> T) -> T {
    let dir = tempfile::tempdir().unwrap();
    let auth = STANDARD.encode("ann:hidden");
    let text = format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#);
    fs::write(dir.path().join("config.json"), text).unwrap();
    ask(&Plain::new(host, DockerConfig::at(dir.path())).unwrap())
}

fn digests(registry: &Plain) -> Result<Vec<Option<Digest>>, RegistryError> {
    registry.digests("a/b", &["x"])
}

fn told(status: u16, body: &str) -> Told {
    Some((status, Vec::new(), body.into()))
}

fn manifest(body: &str) -> Told {
    let headers = vec![
        ("Content-Type", OCI.to_owned()),
        (
            "Docker-Content-Digest",
            Digest::of(body.as_bytes()).to_string(),
        ),
    ];
    Some((200, headers, body.into()))
}

/// Gives tokens of some life in seconds; a token is good until another was given.
fn with_tokens(life: u32) -> Responder {
    let given = std::sync::atomic::AtomicUsize::new(0);
    let count = move |add| given.fetch_add(add, std::sync::atomic::Ordering::SeqCst);
    Responder::start(move |request, _, own| {
        if request.starts_with("GET /token?") {
            let token = format!("t{}", count(1));
            return told(
                200,
                &format!(r#"{{"token":"{token}","expires_in":{life}}}"#),
            );
        }
        let good = count(0)
            .checked_sub(1)
            .map(|last| format!("bearer t{last}\r\n"));
        if good.is_some_and(|good| request.to_lowercase().contains(&good)) {
            return manifest("{}");
        }
        let challenge = format!(
            r#"Bearer realm="http://{own}/token",service="reg",scope="repository:a/b:pull""#
        );
        Some((401, vec![("WWW-Authenticate", challenge)], "{}".into()))
    })
}

fn tokens(responder: &Responder) -> Vec<String> {
    let asked = responder.asked().into_iter();
    asked
        .filter(|request| request.starts_with("GET /token"))
        .collect()
}

#[test]
fn a_token_is_asked_for_once_and_kept() {
    let responder = with_tokens(3600);
    as_ann(&responder.host, |registry| {
        let expected = vec![Some(Digest::of(b"{}"))];
        assert_eq!(digests(registry).unwrap(), expected);
        assert_eq!(digests(registry).unwrap(), expected);
    });
    let tokens = tokens(&responder);
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    assert!(tokens[0].contains("scope=repository%3Aa%2Fb%3Apull&service=reg"));
    let login = format!("basic {}", STANDARD.encode("ann:hidden")).to_lowercase();
    assert!(tokens[0].to_lowercase().contains(&login));
}

#[test]
fn a_token_that_expires_is_renewed() {
    let responder = with_tokens(1);
    as_ann(&responder.host, |registry| {
        digests(registry).unwrap();
        digests(registry).unwrap();
    });
    assert_eq!(tokens(&responder).len(), 2);
}

#[test]
fn a_token_that_is_refused_is_renewed() {
    let responder = with_tokens(3600);
    as_ann(&responder.host, |first| {
        as_ann(&responder.host, |second| {
            digests(first).unwrap();
            // Makes the first one's token a bad one.
            digests(second).unwrap();
            digests(first).unwrap();
        });
    });
    assert_eq!(tokens(&responder).len(), 3);
}

#[test]
fn a_token_that_is_never_given_is_an_error() {
    let responder = Responder::start(|request, _, own| {
        if request.starts_with("GET /token") {
            return told(401, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#);
        }
        let challenge = format!(r#"Bearer realm="http://{own}/token""#);
        Some((401, vec![("WWW-Authenticate", challenge)], String::new()))
    });
    let error = as_ann(&responder.host, digests).unwrap_err();
    assert_eq!(error.kind, Kind::Denied);
    assert!(
        error.message.contains("refused the user name or password"),
        "{error}"
    );
}

#[test]
fn a_page_is_not_a_manifest() {
    let page = "<html>\n<h1>Log in</h1>";
    let responder = Responder::start(move |_, _, _| {
        Some((
            200,
            vec![("Content-Type", "text/html; charset=utf-8".into())],
            page.into(),
        ))
    });
    let error = as_ann(&responder.host, digests).unwrap_err();
    assert_eq!(error.kind, Kind::Other);
    let expected = format!(
        "{} answered with text/html where the manifest of a/b:x should be",
        responder.host
    );
    assert_eq!(error.message, expected);

    let error = as_ann(&responder.host, |registry| registry.prepare("a/b", &[])).unwrap_err();
    assert!(error.message.contains("answered with a page"), "{error}");
    assert!(responder.asked()[0].contains("forge/"));

    let responder = Responder::start(move |_, _, _| told(404, page));
    assert_eq!(as_ann(&responder.host, digests).unwrap(), [None]);
    let responder = Responder::start(move |_, _, _| told(302, page));
    assert!(as_ann(&responder.host, digests).is_err());
}

#[test]
fn a_server_that_stumbles_is_asked_again() {
    let responder = Responder::start(|_, before, _| match before {
        0 => told(503, "<html>busy"),
        1 => None,
        2 => Some((429, vec![("Retry-After", "0".into())], String::new())),
        _ => manifest("{}"),
    });
    let found = as_ann(&responder.host, digests).unwrap();
    assert_eq!(found, [Some(Digest::of(b"{}"))]);
    assert_eq!(responder.asked().len(), 4);
}

#[test]
fn a_server_that_has_fallen_is_not_asked_for_ever() {
    let responder = Responder::start(|_, _, _| {
        Some((
            502,
            vec![("Retry-After", "0".into())],
            "<html>\nBad Gateway".into(),
        ))
    });
    let error = as_ann(&responder.host, digests).unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    assert_eq!(
        error.message,
        format!("{} answered with status 502", responder.host)
    );
    assert_eq!(responder.asked().len(), 4);
}

#[test]
fn other_bytes_than_the_announced_are_refused() {
    let wanted = Digest::of(b"wanted");
    let responder = Responder::start(|_, _, _| manifest("other"));
    let error = as_ann(&responder.host, |registry| {
        registry.manifest("a/b", &wanted).map(drop)
    });
    assert!(error.unwrap_err().message.contains(wanted.as_str()));
    let responder = Responder::start(|_, _, _| told(200, "other"));
    let error = as_ann(&responder.host, |registry| {
        registry.blob("a/b", &wanted).map(drop)
    });
    assert!(error.unwrap_err().message.contains(wanted.as_str()));
}

#[test]
fn a_password_does_not_follow_a_redirect() {
    let elsewhere = Responder::start(|_, _, _| told(200, "blob"));
    let there = format!(
        "http://{}/blob",
        elsewhere.host.replace("127.0.0.1", "localhost")
    );
    let responder = Responder::start(move |request, _, _| {
        if request.to_lowercase().contains("authorization: basic") {
            return Some((307, vec![("Location", there.clone())], String::new()));
        }
        let challenge = r#"Basic realm="r""#.to_owned();
        Some((401, vec![("WWW-Authenticate", challenge)], String::new()))
    });
    let digest = Digest::of(b"blob");
    let blob = as_ann(&responder.host, |registry| registry.blob("a/b", &digest));
    assert_eq!(blob.unwrap(), b"blob");
    let asked = elsewhere.asked();
    assert_eq!(asked.len(), 1);
    assert!(
        !asked[0].to_lowercase().contains("authorization"),
        "{asked:?}"
    );
}

#[test]
fn an_immutable_tag_names_both_images() {
    let (old, new) = ("{\"a\":1}", "{\"b\":2}");
    let responder = Responder::start(move |request, _, _| {
        if request.starts_with("PUT ") {
            let body =
                r#"{"errors":[{"code":"TAG_INVALID","message":"The image tag 'x' is immutable"}]}"#;
            return told(400, body);
        }
        manifest(if request.contains("/manifests/x ") {
            old
        } else {
            new
        })
    });
    let new = Digest::of(new.as_bytes());
    let error = as_ann(&responder.host, |registry| registry.tag("a/b", &new, "x")).unwrap_err();
    assert_eq!(error.kind, Kind::Immutable);
    let expected = format!(
        "{}/a/b:x names {} and may not be moved to {new}",
        responder.host,
        Digest::of(old.as_bytes())
    );
    assert_eq!(error.message, expected);
}

#[test]
fn a_certificate_that_nobody_knows_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let openssl = |args: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(args).current_dir(dir.path());
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    };
    let request =
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key -out cert";
    let words: Vec<_> = request.split(' ').collect();
    assert!(openssl(&words).status().unwrap().success());
    let serve = [
        "s_server",
        "-www",
        "-accept",
        "127.0.0.1:0",
        "-cert",
        "cert",
        "-key",
        "key",
    ];
    let mut server = openssl(&serve).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
    let host = said.find_map(|line| Some(line.ok()?.strip_prefix("ACCEPT ")?.to_owned()));
    let error = as_ann(&host.unwrap(), digests).unwrap_err();
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(
        error
            .message
            .contains("certificate that this machine doesn't trust"),
        "{error}"
    );
    assert!(error.help.unwrap().contains("SSL_CERT_FILE"));
}
