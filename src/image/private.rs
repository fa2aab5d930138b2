//! Files that hold what must not be in an image, by their usual names.
//!
//! They don't leave the machine with a build context unless somebody says so with a `!` in the ignore file.

use super::dockerignore::Dockerignore;

/// Names of files and directories, anywhere in the context.
const NAMES: &[&str] = &[
    ".git",
    ".env",
    ".aws",
    ".ssh",
    "id_rsa",
    "id_ed25519",
    ".netrc",
    ".pypirc",
];

/// Where `docker login` writes; what else is in its directory is often a project's own.
const DOCKER_LOGIN: &str = ".docker/config.json";

/// Endings of `.env.…` that hold no secrets by custom: they show which variables there are.
const EXAMPLES: &[&str] = &["example", "sample", "template", "dist", "defaults"];

/// Whether a path of the context (relative, with `/`) is private and nobody took it back.
pub fn is_held_back(path: &str, ignore: &Dockerignore) -> bool {
    let is_login = path == DOCKER_LOGIN || path.ends_with(&format!("/{DOCKER_LOGIN}"));
    (is_login || path.split('/').any(is_private)) && !ignore.names(path)
}

/// Whether the name of a file or a directory is one of a secret's.
pub fn is_private(name: &str) -> bool {
    let example = |rest: &str| EXAMPLES.contains(&rest);
    NAMES.contains(&name)
        || name
            .strip_prefix(".env.")
            .is_some_and(|rest| !example(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_unless_they_are_named() {
        let ignore = Dockerignore::new("!config/.env\n");
        let held = |path| is_held_back(path, &ignore);
        assert!(
            held(".git/config") && held("a/.env") && held(".env.production") && held("x/.ssh/key")
        );
        assert!(held(".docker/config.json") && held("a/.docker/config.json"));
        assert!(!held(".docker/nginx.conf") && !held("a.docker/config.json"));
        assert!(
            !held("config/.env")
                && !held(".env.example")
                && !held("environment")
                && !held(".github/x")
        );
    }
}
