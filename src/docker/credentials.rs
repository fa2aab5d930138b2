//! Who one is at a registry, and how the engine is told.

use std::collections::HashMap;
use std::fmt;

use bollard::BollardRequest;
use bollard::auth::DockerCredentials;

/// A registry's user. Debug output doesn't show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, ***)", self.user)
    }
}

/// The names that Docker Hub goes by: in references, in the engine's table, and where it is asked.
const HUB: [&str; 4] = [
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "https://index.docker.io/v1/",
];

/// The credentials for a host, by any of its names.
pub(super) fn of<'a>(
    table: &'a HashMap<String, Credentials>,
    host: &str,
) -> Option<&'a Credentials> {
    let named = table.get(host);
    let hub = || HUB.iter().find_map(|name| table.get(*name));
    named.or_else(|| HUB.contains(&host).then(hub).flatten())
}

/// As the engine's builder wants to have them, by host.
pub(super) fn table(table: &HashMap<String, Credentials>) -> HashMap<String, DockerCredentials> {
    let named = table.keys().map(String::as_str);
    let hub = of(table, HUB[3]).is_some().then_some(HUB[3]);
    let hosts = named.chain(hub);
    hosts
        .filter_map(|host| Some((host.to_owned(), one(of(table, host)?))))
        .collect()
}

pub(super) fn one(credentials: &Credentials) -> DockerCredentials {
    DockerCredentials {
        username: Some(credentials.user.clone()),
        password: Some(credentials.password.clone()),
        ..DockerCredentials::default()
    }
}

/// The engine reads credentials in base64's URL alphabet and bollard writes them in the standard one: the two differ in what
/// `~`, `?` and `>` in a password lead to.
pub(super) fn for_the_engine(mut request: BollardRequest) -> BollardRequest {
    for name in ["X-Registry-Auth", "X-Registry-Config"] {
        if let Some(value) = request.headers_mut().get_mut(name) {
            let standard = value.to_str().unwrap_or_default();
            if let Ok(url) = standard.replace('+', "-").replace('/', "_").parse() {
                *value = url;
            }
            value.set_sensitive(true);
        }
    }
    request
}
