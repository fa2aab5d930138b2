//! What Python keeps beside its sources: a copy of a source in another form, made and thrown away as it likes.

const CACHE: &str = "__pycache__";

/// Whether a path is, or lies in, such a cache. Writing it changes nothing that anybody asked for.
pub fn is_bytecode(path: &str) -> bool {
    path.split('/').any(|name| name == CACHE)
}

/// The source that byte code stands for: who reads the one would read the other.
pub fn source(path: &str) -> Option<String> {
    let (directory, name) = path.rsplit_once('/')?;
    let module = name.strip_suffix(".pyc")?.split('.').next()?;
    match directory.strip_suffix(CACHE)? {
        "" => Some(format!("{module}.py")),
        beside if beside.ends_with('/') => Some(format!("{beside}{module}.py")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_code_stands_for_its_source() {
        for (path, expected) in [
            ("a/__pycache__/b.cpython-311.pyc", Some("a/b.py")),
            ("__pycache__/b.cpython-311.opt-1.pyc", Some("b.py")),
            ("a/b.pyc", None),
            ("a__pycache__/b.pyc", None),
            ("a/__pycache__/b.cpython-311.pyc.1234", None),
        ] {
            assert_eq!(source(path).as_deref(), expected, "{path}");
        }
        assert!(is_bytecode("a/__pycache__") && !is_bytecode("a/b.py"));
    }
}
