//! Where the Docker engine's socket is, by the rules of the `docker` command: `DOCKER_HOST`, then
//! `DOCKER_CONTEXT`, then the current context of its configuration, then the usual places.
//!
//! Reads the environment and small files; connects to nothing.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::EngineError;

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The socket that the caller's environment asks for. Only `unix://` endpoints are supported.
pub fn find(env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, EngineError> {
    let text = |name: &str| {
        env(name)
            .and_then(|value| value.into_string().ok())
            .filter(|value| !value.is_empty())
    };
    if let Some(host) = text("DOCKER_HOST") {
        return socket(&host, "DOCKER_HOST");
    }
    let config = text("DOCKER_CONFIG").map(PathBuf::from).or_else(|| {
        let home = text("HOME")?;
        Some(Path::new(&home).join(".docker"))
    });
    let context = text("DOCKER_CONTEXT").or_else(|| current_context(config.as_deref()?));
    match context.filter(|name| name != "default") {
        Some(name) => from_context(config.as_deref(), &name),
        None => Ok(usual_place(text("XDG_RUNTIME_DIR"), text("HOME"))),
    }
}

/// The first socket that exists; the default one where none does, for the message.
fn usual_place(runtime_dir: Option<String>, home: Option<String>) -> PathBuf {
    let rootless = runtime_dir.map(|dir| Path::new(&dir).join("docker.sock"));
    let desktop = home.map(|dir| Path::new(&dir).join(".docker/run/docker.sock"));
    [Some(PathBuf::from(DEFAULT_SOCKET)), rootless, desktop]
        .into_iter()
        .flatten()
        .find(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET))
}

fn socket(host: &str, source: &str) -> Result<PathBuf, EngineError> {
    match host.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err(EngineError::absent(
            format!("{source} is `{host}`, and only engines on a unix:// socket are supported"),
            "set DOCKER_HOST=unix:///path/to/docker.sock, or unset it for the local engine",
        )),
    }
}

fn current_context(config: &Path) -> Option<String> {
    let config = read_json(&config.join("config.json"))?;
    Some(config.get("currentContext")?.as_str()?.to_owned())
}

/// Contexts lie in directories named by a hash of their name: they are found by looking into each.
fn from_context(config: Option<&Path>, name: &str) -> Result<PathBuf, EngineError> {
    let unknown = || {
        EngineError::absent(
            format!("the Docker context `{name}` doesn't exist"),
            "`docker context ls` lists them, `docker context use default` goes back to the local engine",
        )
    };
    let metas = config.ok_or_else(unknown)?.join("contexts/meta");
    let host = fs::read_dir(metas)
        .map_err(|_| unknown())?
        .flatten()
        .filter_map(|entry| read_json(&entry.path().join("meta.json")))
        .filter(|meta| meta.get("Name").and_then(Value::as_str) == Some(name))
        .find_map(|meta| {
            let host = meta.pointer("/Endpoints/docker/Host")?;
            Some(host.as_str()?.to_owned())
        })
        .ok_or_else(unknown)?;
    socket(&host, &format!("the Docker context `{name}`"))
}

fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(env: &[(&str, &str)]) -> Result<PathBuf, EngineError> {
        find(|name| {
            let value = env.iter().find(|(key, _)| *key == name)?.1;
            Some(OsString::from(value))
        })
    }

    #[test]
    fn docker_host_wins_and_must_be_a_unix_socket() {
        let found = find_in(&[
            ("DOCKER_HOST", "unix:///tmp/x.sock"),
            ("DOCKER_CONTEXT", "no"),
        ]);
        assert_eq!(found.ok(), Some(PathBuf::from("/tmp/x.sock")));
        let refused = find_in(&[("DOCKER_HOST", "tcp://10.0.0.1:2375")]).unwrap_err();
        assert!(refused.is_absent());
        assert!(refused.message.contains("tcp://10.0.0.1:2375"), "{refused}");
    }

    #[test]
    fn a_context_is_found_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let meta = dir.path().join("contexts/meta/abc");
        fs::create_dir_all(&meta).unwrap();
        fs::write(
            meta.join("meta.json"),
            r#"{"Name":"lab","Endpoints":{"docker":{"Host":"unix:///lab.sock"}}}"#,
        )
        .unwrap();
        fs::write(
            dir.path().join("config.json"),
            r#"{"currentContext":"lab"}"#,
        )
        .unwrap();
        let config = dir.path().to_str().unwrap();

        let current = find_in(&[("DOCKER_CONFIG", config)]);
        assert_eq!(current.ok(), Some(PathBuf::from("/lab.sock")));
        let other = find_in(&[("DOCKER_CONFIG", config), ("DOCKER_CONTEXT", "nowhere")]);
        assert!(other.unwrap_err().message.contains("`nowhere`"));
    }
}
