//! forge's globs over branches and tags in GitHub's two languages: filters of `on.push`, and expressions of `if`.
//!
//! Both know less than forge's globs, so they let through a little more; forge itself has the last word and refuses.

use crate::pipeline::glob::has_wildcard;

/// What `github.ref` begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ref {
    Branch,
    Tag,
}

impl Ref {
    fn prefix(self) -> &'static str {
        match self {
            Ref::Branch => "refs/heads/",
            Ref::Tag => "refs/tags/",
        }
    }
}

/// A glob as a filter of `on.push.branches` or `.tags`.
pub fn filter(glob: &str) -> String {
    let (prefix, suffix) = ends(glob);
    match suffix {
        None => escape(prefix),
        Some(suffix) => format!("{}**{}", escape(prefix), escape(suffix)),
    }
}

/// An expression that holds where one of the globs fits the ref that was pushed.
pub fn expression(globs: &[String], of: Ref) -> String {
    let each: Vec<String> = globs.iter().map(|glob| one(glob, of)).collect();
    match each.as_slice() {
        [one] => one.clone(),
        several => format!("({})", several.join(" || ")),
    }
}

fn one(glob: &str, of: Ref) -> String {
    let (prefix, suffix) = ends(glob);
    let begin = literal(&format!("{}{prefix}", of.prefix()));
    match suffix {
        None => format!("github.ref == {begin}"),
        Some("") => format!("startsWith(github.ref, {begin})"),
        Some(suffix) => format!(
            "startsWith(github.ref, {begin}) && endsWith(github.ref, {})",
            literal(suffix)
        ),
    }
}

/// What stands before the first wildcard and after the last; nothing after a name without any.
fn ends(glob: &str) -> (&str, Option<&str>) {
    if !has_wildcard(glob) {
        return (glob, None);
    }
    let first = glob.find(['*', '?', '[', '{']).unwrap_or(glob.len());
    let after = glob
        .rfind(['*', '?', ']', '}'])
        .map_or(glob.len(), |at| at + 1);
    (&glob[..first], Some(&glob[after.max(first)..]))
}

/// A text in an expression.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Characters that mean something in a filter.
fn escape(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if "*?+[]!\\".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_become_filters_and_expressions() {
        let cases = [
            ("main", "main", "github.ref == 'refs/heads/main'"),
            ("it's+1", "it's\\+1", "github.ref == 'refs/heads/it''s+1'"),
            (
                "release/*",
                "release/**",
                "startsWith(github.ref, 'refs/heads/release/')",
            ),
            ("*", "**", "startsWith(github.ref, 'refs/heads/')"),
            (
                "v{1,2}.x",
                "v**.x",
                "startsWith(github.ref, 'refs/heads/v') && endsWith(github.ref, '.x')",
            ),
            (
                "a[0-9]?/**/z",
                "a**/z",
                "startsWith(github.ref, 'refs/heads/a') && endsWith(github.ref, '/z')",
            ),
        ];
        for (glob, as_filter, as_expression) in cases {
            assert_eq!(filter(glob), as_filter);
            assert_eq!(expression(&[glob.to_owned()], Ref::Branch), as_expression);
        }
        let two = expression(&["a".into(), "v*".into()], Ref::Tag);
        assert_eq!(
            two,
            "(github.ref == 'refs/tags/a' || startsWith(github.ref, 'refs/tags/v'))"
        );
    }
}
