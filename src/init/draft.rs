//! A pipeline file while it is being put together: only what `init` ever writes, as text that
//! already is what the file shall say (`$${` escapes included). Knows nothing of TOML.

/// The file.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub name: String,
    pub default: Vec<String>,
    /// Above `default`.
    pub default_comment: Option<String>,
    pub shell: Option<Vec<String>>,
    /// Above `shell`.
    pub shell_comment: Option<String>,
    pub dotenv: Vec<String>,
    pub inherit_env: Vec<String>,
    pub vars: Vec<(String, String)>,
    /// At the end of a variable's line.
    pub vars_comment: Option<String>,
    pub env: Vec<(String, String)>,
    pub targets: Vec<Target>,
    /// Written as comments at the end.
    pub suggestions: Vec<Target>,
    /// Comments below everything else.
    pub remarks: Vec<String>,
}

impl Draft {
    pub fn new(name: &str) -> Self {
        Draft {
            name: name.to_owned(),
            ..Draft::default()
        }
    }
}

/// One `[target.NAME]`.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    pub name: String,
    /// Lines above the header.
    pub comments: Vec<String>,
    pub description: Option<String>,
    pub image: Option<Image>,
    pub needs: Vec<String>,
    /// `None`: every file of the project.
    pub inputs: Option<Vec<String>>,
    pub outputs: Vec<String>,
    pub run: Vec<String>,
    pub tools: Vec<String>,
    pub env: Vec<(String, String)>,
    pub inherit_env: Vec<String>,
    pub secret_env: Vec<String>,
    /// Why it is never cached.
    pub uncached: Option<String>,
    pub incremental: bool,
    pub interactive: bool,
    pub locks: Vec<String>,
}

impl Target {
    pub fn new(name: &str) -> Self {
        Target {
            name: name.to_owned(),
            ..Target::default()
        }
    }
}

/// What an image target adds.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub repository: String,
    pub tags: Vec<String>,
}

/// A name for a target: what a TOML key and a command line take without quotes.
pub(super) fn slug(name: &str) -> String {
    let plain = |c: char| match c.is_ascii_alphanumeric() || c == '_' {
        true => c,
        false => '-',
    };
    let slug: String = name.chars().map(plain).collect();
    match slug.trim_matches('-') {
        "" => "target".to_owned(),
        slug => slug.to_owned(),
    }
}

/// The name, with a number after it where it is taken.
pub(super) fn free_name(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut free = name.to_owned();
    let mut number = 1;
    while taken(&free) {
        number += 1;
        free = format!("{name}-{number}");
    }
    free
}
