//! Who to be at a registry, as the docker command's configuration says: `auths`, `credHelpers` and
//! `credsStore` of `config.json`.
//!
//! Knows nothing of the registry's answers.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::RegistryError;
use super::reference::DOCKER_HUB;

/// For a credential helper's answer.
const HELPER_TIMEOUT: Duration = Duration::from_secs(10);
/// The name by which the configuration knows docker.io.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// A user name and a password, or a token in their place.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
    /// What some registries give instead of a password, to be exchanged for shorter tokens.
    pub identity_token: Option<String>,
}

/// Nothing of it is ever shown.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// A directory like `~/.docker`.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    dir: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    auths: BTreeMap<String, Auth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// A credential helper's answer.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

impl DockerConfig {
    /// `DOCKER_CONFIG`, or `~/.docker`.
    pub fn of_user() -> DockerConfig {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let dir = match (set("DOCKER_CONFIG"), set("HOME")) {
            (Some(dir), _) => dir.into(),
            (None, Some(home)) => Path::new(&home).join(".docker"),
            (None, None) => PathBuf::new(),
        };
        DockerConfig { dir }
    }

    pub fn at(dir: &Path) -> DockerConfig {
        DockerConfig { dir: dir.into() }
    }

    /// Who to be at `host`; `None` where nothing is known, which isn't an error: much is public.
    pub fn credentials(&self, host: &str) -> Result<Option<Credentials>, RegistryError> {
        let path = self.dir.join("config.json");
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&path, &error)),
            Ok(text) => text,
        };
        let file: File =
            serde_json::from_slice(&text).map_err(|error| unreadable(&path, &shape(&error)))?;
        let key = if host == DOCKER_HUB {
            DOCKER_HUB_KEY
        } else {
            host
        };
        match file.helper(key) {
            Some(helper) => ask(&format!("docker-credential-{helper}"), key, HELPER_TIMEOUT),
            None => file.auth(key).map_or(Ok(None), |auth| {
                auth.credentials().ok_or_else(|| {
                    unreadable(
                        &path,
                        &format!("`auth` of {key} isn't base64 of name:password"),
                    )
                })
            }),
        }
    }
}

impl File {
    fn helper(&self, key: &str) -> Option<&str> {
        let own = self.cred_helpers.get(key).or_else(|| {
            let hub = (key == DOCKER_HUB_KEY).then_some("docker.io")?;
            self.cred_helpers.get(hub)
        });
        let helper = own.map_or(self.creds_store.as_str(), String::as_str);
        (!helper.is_empty()).then_some(helper)
    }

    /// Under the key itself, or under a URL of that host.
    fn auth(&self, key: &str) -> Option<&Auth> {
        let same_host = || {
            let mut auths = self.auths.iter();
            auths.find(|(name, _)| host_of(name) == host_of(key))
        };
        self.auths
            .get(key)
            .or_else(|| same_host().map(|(_, auth)| auth))
    }
}

impl Auth {
    /// `Some(None)` where the entry is there and says nothing, as when a helper keeps the secret.
    fn credentials(&self) -> Option<Option<Credentials>> {
        let token = Some(self.identitytoken.clone()).filter(|token| !token.is_empty());
        let (username, password) = if self.auth.is_empty() {
            (self.username.clone(), self.password.clone())
        } else {
            let decoded = String::from_utf8(STANDARD.decode(&self.auth).ok()?).ok()?;
            let (name, password) = decoded.split_once(':')?;
            (name.to_owned(), password.trim_end_matches('\0').to_owned())
        };
        Some(
            (!username.is_empty() || token.is_some()).then_some(Credentials {
                username,
                password,
                identity_token: token,
            }),
        )
    }
}

fn host_of(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    key.split('/').next().unwrap_or_default()
}

/// Where in the file something is wrong, without a word of what stands there.
fn shape(error: &serde_json::Error) -> String {
    format!(
        "not what is expected at line {}, column {}",
        error.line(),
        error.column()
    )
}

fn unreadable(path: &Path, why: &dyn fmt::Display) -> RegistryError {
    RegistryError::other(format!("can't use {}: {why}", path.display()))
        .with_help("mend the file, or move it away and `docker login` again")
}

/// Runs a credential helper: the registry's name on its standard input, JSON on its output.
fn ask(program: &str, key: &str, limit: Duration) -> Result<Option<Credentials>, RegistryError> {
    let failed =
        |why: &str| RegistryError::other(format!("{program} gave no credentials for {key}: {why}"));
    let child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| {
        failed(&error.to_string()).with_help(format!(
            "install {program}, or take it out of Docker's config.json and `docker login` again"
        ))
    })?;
    let printed = converse(&mut child, key, limit);
    // It has ended, or has had its time.
    let _ = child.kill();
    let status = child.wait().map_err(|error| failed(&error.to_string()))?;
    let printed =
        printed.ok_or_else(|| failed(&format!("no answer within {} s", limit.as_secs())))?;
    if !status.success() {
        // The helpers' protocol: the reason stands on standard output.
        let why = String::from_utf8_lossy(&printed);
        return match why.contains("credentials not found") {
            true => Ok(None),
            false => Err(failed(if why.trim().is_empty() {
                "it failed"
            } else {
                &why
            })),
        };
    }
    let answer: Answer =
        serde_json::from_slice(&printed).map_err(|error| failed(&shape(&error)))?;
    Ok(Some(answer.credentials()))
}

/// All that the child prints; `None` where it takes too long. Reads in a thread of its own: a grandchild may
/// hold the pipe open.
fn converse(child: &mut Child, key: &str, limit: Duration) -> Option<Vec<u8>> {
    let (mut input, mut output) = (child.stdin.take()?, child.stdout.take()?);
    let key = key.to_owned();
    let (sender, printed) = mpsc::channel();
    thread::spawn(move || {
        // A helper that doesn't read may have ended already: what it printed says more.
        let _ = input.write_all(key.as_bytes());
        drop(input);
        let mut text = Vec::new();
        let _ = output.read_to_end(&mut text);
        let _ = sender.send(text);
    });
    printed.recv_timeout(limit).ok()
}

impl Answer {
    fn credentials(self) -> Credentials {
        // The helpers' protocol: this name says that the secret is an identity token.
        let is_token = self.username == "<token>";
        Credentials {
            identity_token: is_token.then(|| self.secret.clone()),
            password: if is_token { String::new() } else { self.secret },
            username: if is_token {
                String::new()
            } else {
                self.username
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), text).unwrap();
        dir
    }

    fn found(text: &str, host: &str) -> Option<(String, String, Option<String>)> {
        let dir = file(text);
        let found = DockerConfig::at(dir.path()).credentials(host).unwrap();
        found.map(|found| (found.username, found.password, found.identity_token))
    }

    fn user(name: &str, password: &str) -> Option<(String, String, Option<String>)> {
        Some((name.into(), password.into(), None))
    }

    #[test]
    fn an_entry_is_found_by_its_host() {
        // ann:pa:ss
        let auth = r#"{"auth":"YW5uOnBhOnNz"}"#;
        let both = |key: &str| format!(r#"{{"auths":{{"other:1":{{}},"{key}":{auth}}}}}"#);
        for (key, host) in [
            ("h:5000", "h:5000"),
            ("https://h:5000/v2/", "h:5000"),
            ("http://h:5000", "h:5000"),
            ("https://index.docker.io/v1/", DOCKER_HUB),
        ] {
            assert_eq!(found(&both(key), host), user("ann", "pa:ss"), "{key}");
        }
        assert_eq!(found(&both("h:5000"), "h:5001"), None);
        assert_eq!(found(&both("h:5000"), "other:1"), None);
        assert_eq!(found("{}", "h"), None);
    }

    #[test]
    fn a_token_stands_beside_the_name() {
        let text = r#"{"auths":{"h":{"auth":"YW5uOg==","identitytoken":"tok"}}}"#;
        let expected = Some(("ann".into(), String::new(), Some("tok".into())));
        assert_eq!(found(text, "h"), expected);
    }

    #[test]
    fn a_helper_of_the_host_goes_before_the_store() {
        let file: File = serde_json::from_str(
            r#"{"credsStore":"all","credHelpers":{"h":"own","docker.io":"hub"},"auths":{"h":{}}}"#,
        )
        .unwrap();
        assert_eq!(file.helper("h"), Some("own"));
        assert_eq!(file.helper(DOCKER_HUB_KEY), Some("hub"));
        assert_eq!(file.helper("other"), Some("all"));
        assert_eq!(File::default().helper("h"), None);
    }

    #[test]
    fn nothing_shows_a_secret() {
        let credentials = Answer {
            username: "ann".into(),
            secret: "hidden".into(),
        };
        assert!(!format!("{:?}", credentials.credentials()).contains("hidden"));
        let dir = file(r#"{"auths":{"h":{"auth":"hidden"}}}"#);
        let error = DockerConfig::at(dir.path()).credentials("h").unwrap_err();
        assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
        let dir = file(r#"{"auths":"hidden"}"#);
        let error = DockerConfig::at(dir.path()).credentials("h").unwrap_err();
        assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
    }

    #[test]
    fn no_configuration_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(DockerConfig::at(dir.path()).credentials("h").unwrap(), None);
    }

    /// Written by another process: one that this process forks meanwhile would keep the file busy.
    fn script(dir: &Path, name: &str, text: &str) -> String {
        let path = dir.join(name).to_string_lossy().into_owned();
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" >"$0" && chmod +x "$0""#;
        let status = Command::new("sh").args(["-c", write, &path, text]).status();
        assert!(status.unwrap().success());
        path
    }

    #[test]
    fn a_helper_is_asked_by_its_protocol() {
        let dir = tempfile::tempdir().unwrap();
        let ask = |text: &str| ask(&script(dir.path(), "helper", text), "h:1", HELPER_TIMEOUT);
        let answer = r#"test "$1" = get || exit 9; printf '{"ServerURL":"%s","Username":"u","Secret":"s-%s"}' x "$(cat)""#;
        let credentials = ask(answer).unwrap().unwrap();
        assert_eq!(
            (&*credentials.username, &*credentials.password),
            ("u", "s-h:1")
        );
        let token = ask(r#"echo '{"Username":"<token>","Secret":"t"}'"#)
            .unwrap()
            .unwrap();
        assert_eq!(token.identity_token.as_deref(), Some("t"));
        assert_eq!(
            ask("echo credentials not found in native keychain; exit 1").unwrap(),
            None
        );
        let error = ask("echo the keychain is locked; exit 1").unwrap_err();
        assert!(
            error.message.contains("h:1: the keychain is locked"),
            "{error}"
        );
        assert!(ask("echo nothing").is_err());
        assert!(
            super::ask("docker-credential-none-such", "h", HELPER_TIMEOUT)
                .unwrap_err()
                .help
                .is_some()
        );
    }

    #[test]
    fn a_helper_that_hangs_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let helper = script(dir.path(), "helper", "exec sleep 600");
        let error = ask(&helper, "h", Duration::from_millis(200)).unwrap_err();
        assert!(error.message.contains("no answer within"), "{error}");
    }
}
