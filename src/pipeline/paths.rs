//! Paths as the pipeline file writes them, made relative to the workspace: text only, with `/`.
//!
//! Knows nothing of the file system.

/// Why a path can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    Absolute,
    /// Goes above the workspace.
    Leaves,
    Empty,
}

/// `path` in `dir` (both with `/`), with `.` and `..` resolved. `dir` itself is the empty string at the root.
pub fn join(dir: &str, path: &str) -> Result<String, PathError> {
    if path.trim().is_empty() {
        return Err(PathError::Empty);
    }
    if path.starts_with('/') {
        return Err(PathError::Absolute);
    }
    normal(&[dir, path])
}

/// [`join`], where a leading `/` is the workspace's root.
pub fn join_rooted(dir: &str, path: &str) -> Result<String, PathError> {
    match path.strip_prefix('/') {
        Some("") => Ok(String::new()),
        Some(rooted) => join("", rooted),
        None => join(dir, path),
    }
}

fn normal(paths: &[&str]) -> Result<String, PathError> {
    let mut parts: Vec<&str> = Vec::new();
    for part in paths.iter().flat_map(|path| path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or(PathError::Leaves)?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Whether `path` is `dir` or lies below it.
pub fn is_within(path: &str, dir: &str) -> bool {
    let below = || {
        path.strip_prefix(dir)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    dir.is_empty() || path == dir || below()
}

/// The directories of a glob that hold no glob characters: `src/gen` of `src/gen/**/*.py`.
pub fn literal_prefix(pattern: &str) -> &str {
    let Some(first) = pattern.find(['*', '?', '[', '{', '\\']) else {
        return pattern;
    };
    pattern[..first]
        .rfind('/')
        .map_or("", |slash| &pattern[..slash])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved_inside_the_workspace() {
        assert_eq!(join("a", "./b//c/../d/"), Ok("a/b/d".into()));
        assert_eq!(join("a/b", "../../c"), Ok("c".into()));
        assert_eq!(join("a", "."), Ok("a".into()));
        assert_eq!(join("", "."), Ok(String::new()));
        assert_eq!(join("a", "../../c"), Err(PathError::Leaves));
        assert_eq!(join("a", "/c"), Err(PathError::Absolute));
        assert_eq!(join("a", " "), Err(PathError::Empty));
        assert_eq!(join_rooted("a", "/c/*.py"), Ok("c/*.py".into()));
        assert_eq!(join_rooted("a", "/../c"), Err(PathError::Leaves));
        assert_eq!(join_rooted("a", "c"), Ok("a/c".into()));
    }

    #[test]
    fn within_and_prefix() {
        assert!(is_within("a/b", "a") && is_within("a", "a") && is_within("a", ""));
        assert!(!is_within("ab", "a"));
        assert_eq!(literal_prefix("src/gen/**/*.py"), "src/gen");
        assert_eq!(literal_prefix("*.py"), "");
        assert_eq!(literal_prefix("src/a.py"), "src/a.py");
    }
}
