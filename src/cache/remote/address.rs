//! Where a remote cache is, and who asks there. Keeps what is secret of it out of every word.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::http::Uri;

/// The address of a remote cache.
pub struct Address {
    /// Without user and password, and without a `/` at its end.
    base: String,
    host: String,
    authorization: Option<String>,
}

impl Address {
    /// `https://USER:PASSWORD@HOST:PORT/PATH`; where it names no user, a token may say who asks.
    ///
    /// # Errors
    /// It is no such address. What is said of it holds nothing of it.
    pub fn new(text: &str, token: Option<&str>) -> Result<Self, String> {
        let not_one = || "it is no address: it begins with https:// (or http://) and a host's name";
        let uri: Uri = text.trim().parse().map_err(|_| not_one())?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) =
            (uri.scheme_str(), uri.authority())
        else {
            return Err(not_one().into());
        };
        if uri.query().is_some() {
            return Err("its address has a `?`: keys are appended to a path".into());
        }
        if uri.path().contains('@') {
            // The host would be a part of the password.
            return Err("in a user or password, `/` and `@` are written %2F and %40".into());
        }
        let (user, host) = match authority.as_str().rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority.as_str()),
        };
        if uri.host().is_none_or(str::is_empty) {
            return Err(not_one().into());
        }
        let path = uri.path().trim_end_matches('/');
        let basic = |user: &str| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let both = [decoded(name), b":".to_vec(), decoded(password)].concat();
            format!("Basic {}", STANDARD.encode(both))
        };
        let bearer = || token.map(|token| format!("Bearer {}", token.trim()));
        Ok(Self {
            base: format!("{scheme}://{host}{path}"),
            host: host.to_owned(),
            authorization: user.map(basic).or_else(bearer),
        })
    }

    /// The host, and its port where it has one: all of it that is ever said.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    pub(super) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}

/// With `%40` read as `@`.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_taken_out_of_the_address() {
        let address = Address::new("https://me:p%40ss@cache.example.com:8443/forge/\n", None);
        let address = address.expect("an address");
        assert_eq!(address.host(), "cache.example.com:8443");
        let url = address.url("ac/1");
        assert_eq!(url, "https://cache.example.com:8443/forge/ac/1");
        let basic = format!("Basic {}", STANDARD.encode("me:p@ss"));
        assert_eq!(address.authorization(), Some(basic.as_str()));
    }

    #[test]
    fn a_token_says_who_asks_where_no_user_does() {
        let of = |text| Address::new(text, Some("t0ken\n")).expect("an address");
        let plain = of("http://[::1]:8080");
        assert_eq!(plain.authorization(), Some("Bearer t0ken"));
        assert_eq!(plain.url("cas/2"), "http://[::1]:8080/cas/2");
        let named = of("http://me@localhost").authorization().map(str::to_owned);
        assert!(named.is_some_and(|text| text.starts_with("Basic ")));
    }

    #[test]
    fn what_is_no_address_is_not_repeated() {
        for text in [
            "cache.example.com",
            "ftp://me:hunter2@host",
            "https://",
            "https://me:hunter2@",
            "https://me:12/hunter2@host",
            "https://me:hunter2@host/?key=1",
            "/tmp/hunter2",
        ] {
            let why = Address::new(text, None).err();
            let why = why.unwrap_or_else(|| panic!("{text} is taken"));
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
