//! What a `[notify.NAME]` says, with its `${…}` filled in, and where that leads. Keeps secrets out of every word
//! that is said of it.

use std::collections::BTreeMap;

use ureq::http::Uri;

use crate::pipeline::interpolate::Lookup;
use crate::pipeline::model::{Notifier, NotifierKind};

use super::Failure;

/// Settings whose values nobody may see.
const SECRET: &[&str] = &["url", "token", "key", "password"];

/// A notifier that can be sent to.
#[derive(Clone)]
pub struct Settings {
    pub name: String,
    pub kind: NotifierKind,
    /// What it listens to: decides whether a rollback opens or closes an incident.
    pub on: Vec<String>,
    values: BTreeMap<String, String>,
}

impl Settings {
    /// # Errors
    /// A variable is unset or empty.
    pub fn read(notifier: &Notifier, lookup: &dyn Lookup) -> Result<Settings, Failure> {
        let mut values = BTreeMap::new();
        for (key, text) in &notifier.settings {
            let value = text.render(lookup).map_err(|unresolved| {
                let message = format!("`{key}`: {}: {}", unresolved.reference, unresolved.reason);
                Failure::missing(message, help_for_missing(&unresolved.reference))
            })?;
            let value = value.trim().to_owned();
            // What a CI service makes of a secret that nobody has entered.
            if value.is_empty() {
                let message = format!("`{key}` is empty: {}", text.raw);
                return Err(Failure::missing(message, help_for_missing(&text.raw)));
            }
            values.insert(key.clone(), value);
        }
        Ok(Settings {
            name: notifier.name.clone(),
            kind: notifier.kind,
            on: notifier.on.clone(),
            values,
        })
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// A setting that the pipeline file can't be without.
    ///
    /// # Errors
    /// It is, all the same.
    pub fn required(&self, key: &str) -> Result<&str, Failure> {
        self.get(key)
            .ok_or_else(|| Failure::missing(format!("`{key}` is missing"), format!("set `{key}`")))
    }

    /// The setting as an address, else a default.
    ///
    /// # Errors
    /// It is no address of the web.
    pub fn url(&self, default: Option<&str>) -> Result<Uri, Failure> {
        let text = match (self.get("url"), default) {
            (Some(url), _) => url,
            (None, Some(default)) => default,
            (None, None) => self.required("url")?,
        };
        let uri: Option<Uri> = text.parse().ok();
        let web = |uri: &Uri| matches!(uri.scheme_str(), Some("https" | "http"));
        uri.filter(|uri| web(uri) && uri.host().is_some_and(|host| !host.is_empty()))
            .ok_or_else(|| {
                Failure::undelivered(
                    "`url` is no address of the web",
                    "it begins with https:// and a host's name",
                )
            })
    }

    /// Where messages go: a host, or what stands for it.
    pub fn place(&self) -> String {
        let url = self.url(None).ok().map(|uri| place(&uri));
        let server = self.get("server").map(str::to_owned);
        url.or(server).unwrap_or_else(|| "its receiver".to_owned())
    }

    /// A text in which no secret of this notifier is left.
    pub fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (key, value) in &self.values {
            if SECRET.contains(&key.as_str()) {
                text = text.replace(value.as_str(), "***");
                // Parts of an address, as errors quote them.
                let path = value
                    .split_once("://")
                    .and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
                if let Some(path) = path.filter(|path| path.len() > 1) {
                    text = text.replace(path, "/***");
                }
            }
        }
        text
    }
}

/// The host of an address, and its port where it has one; never its path or its user.
pub fn place(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    match uri.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn help_for_missing(written: &str) -> String {
    match written
        .split_once("${env.")
        .and_then(|(_, rest)| rest.split_once('}'))
    {
        Some((name, _)) => {
            format!("set {name}; in GitHub Actions: env: {{ {name}: ${{{{ secrets.{name} }}}} }}")
        }
        None => "give it a value".to_owned(),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::pipeline::interpolate::Unresolved;
    use crate::pipeline::model::Reference;
    use crate::pipeline::{LoadOptions, load_texts};

    struct Env;

    impl Lookup for Env {
        fn get(&self, reference: &Reference) -> Result<String, Unresolved> {
            match reference {
                Reference::Env(name) if name == "URL" => {
                    Ok("https://user:pw@hooks.example.com:8443/T0/B0/hunter2\n".into())
                }
                Reference::Env(name) if name == "EMPTY" => Ok(String::new()),
                reference => Err(Unresolved::new(reference, "the variable is not set")),
            }
        }
    }

    /// The settings of a `[notify.x]` with these lines.
    pub fn settings(lines: &str) -> Result<Settings, Failure> {
        let text =
            format!("[target.t]\nrun = \"true\"\n[notify.x]\non = \"run-failed\"\n{lines}\n");
        let loaded = load_texts(&[("", &text)], &LoadOptions::default());
        let ws = loaded
            .unwrap_or_else(|problems| panic!("{problems:?}"))
            .workspace;
        Settings::read(&ws.notifiers[0], &Env)
    }

    #[test]
    fn an_unset_and_an_empty_variable_are_missing() {
        for variable in ["NOTHING", "EMPTY"] {
            let lines = format!("kind = \"webhook\"\nurl = \"${{env.{variable}}}\"");
            let failure = settings(&lines).err().expect("a failure");
            assert_eq!(failure.kind, crate::notify::FailureKind::Missing);
            assert!(failure.message.contains(variable), "{failure:?}");
            assert!(
                failure.help.starts_with(&format!("set {variable};")),
                "{failure:?}"
            );
        }
    }

    #[test]
    fn only_the_host_is_ever_said() {
        let hook = settings("kind = \"webhook\"\nurl = \"${env.URL}\"").unwrap();
        let uri = hook.url(None).unwrap();
        assert_eq!(place(&uri), "hooks.example.com:8443");
        let said = hook.hide(&format!("no such thing at {} or {uri}", uri.path()));
        assert!(!said.contains("hunter2") && !said.contains("T0"), "{said}");
    }

    #[test]
    fn only_the_web_has_addresses() {
        for url in [
            "hooks.example.com/x",
            "ftp://x/y",
            "https://",
            "file:///etc/passwd",
            "a b",
        ] {
            let hook = settings(&format!("kind = \"webhook\"\nurl = \"{url}\"")).unwrap();
            assert!(hook.url(None).is_err(), "{url}");
        }
    }
}
