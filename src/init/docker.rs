//! An image target for a Dockerfile. Knows nothing of engines and registries.

use super::Found;
use super::draft::{Image, Target};

/// The image of a project that has a Dockerfile; it waits for the checks named in `needs`.
pub(super) fn target(found: &Found, needs: Vec<String>, others: &[Target]) -> Option<Target> {
    found.text("Dockerfile")?;
    let free = |name: &&str| !others.iter().any(|t| t.name == **name);
    let name = ["image", "docker-image"].iter().find(|n| free(n))?;
    Some(Target {
        description: Some("Builds the image and pushes it".into()),
        needs,
        image: Some(Image {
            repository: repository(&found.name),
            tags: vec!["${git.sha}".into(), "latest".into()],
        }),
        ..Target::new(name)
    })
}

/// A directory's name as a repository may be called: lower case, separated by single marks.
fn repository(name: &str) -> String {
    let mut out = String::new();
    for c in name.to_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            '.' | '_' | '-' if !out.ends_with(['.', '_', '-']) => out.push(c),
            _ if !out.ends_with(['.', '_', '-']) => out.push('-'),
            _ => {}
        }
    }
    match out.trim_matches(['.', '_', '-']) {
        "" => "app".to_owned(),
        name => name.to_owned(),
    }
}
