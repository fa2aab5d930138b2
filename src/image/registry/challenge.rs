//! How a registry says what it wants to know: the `WWW-Authenticate` header of a 401.

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    /// A token from `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// The first challenge that can be answered; a token goes before a password.
pub fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut known: Vec<Challenge> = headers.filter_map(one).collect();
    known.sort_by_key(|challenge| *challenge == Challenge::Basic);
    known.into_iter().next()
}

fn one(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameters = parameters(rest);
    let value = |name: &str| {
        let mut named = parameters.iter();
        let found = named.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(found.1.clone()).filter(|value| !value.is_empty())
    };
    Some(Challenge::Bearer {
        realm: value("realm")?,
        service: value("service"),
        scope: value("scope"),
    })
}

/// `name="value", name=value`; a quoted value may hold commas, and `\` before any character.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']).to_owned();
        let (value, after) = value(after.trim_start());
        found.push((name, value));
        rest = after;
    }
    found
}

/// A value, and what follows it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_once(',').unwrap_or((text, ""));
        return (value.trim().to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
        })
    }

    #[test]
    fn challenges_are_read() {
        for (header, challenge) in [
            (r#"Basic realm="x""#, Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                r#"Bearer realm="https://a/t?x=1",service="s",scope="repository:a/b:pull,push""#,
                bearer(
                    "https://a/t?x=1",
                    Some("s"),
                    Some("repository:a/b:pull,push"),
                ),
            ),
            (
                r#"bearer scope="a,b" , error="x", Realm=https://a/t"#,
                bearer("https://a/t", None, Some("a,b")),
            ),
            (
                r#"Bearer realm="a\"b",service="""#,
                bearer("a\"b", None, None),
            ),
            (r#"Bearer realm="open"#, bearer("open", None, None)),
            (r#"Bearer service="s""#, None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(parse([header].into_iter()), challenge, "{header}");
        }
        let both = ["Basic", r#"Bearer realm="r""#];
        assert_eq!(parse(both.into_iter()), bearer("r", None, None));
    }
}
