//! What nobody may see: keys and tokens, in what is printed, kept, or handed on.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::bed::Bed;

/// Every text under a directory that holds one of these.
fn holders(dir: &Path, secrets: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            if secrets.iter().any(|secret| text.contains(secret.as_str())) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn tokens_are_nowhere_to_be_seen() {
    // The check sees what any child of forge's would, and every command line on the machine.
    let look = "env > environment; cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\\\000' ' ' > lines || true";
    let bed = Bed::new(&format!("smoke = [{{ run = \"{look}\" }}]"));
    let printed: Vec<String> = [
        &["-v", "deploy"] as &[&str],
        &["-v", "rollback", "production", "--yes"],
        &["-v", "--json", "deploy"],
    ]
    .iter()
    .map(|args| {
        let ran = bed.forge(args);
        ran.code(0);
        bed.settle("app");
        ran.stdout + &ran.stderr
    })
    .collect();
    let mut secrets: Vec<String> = bed
        .aws
        .world(|world| world.tokens.keys().cloned().collect());
    assert!(!secrets.is_empty(), "it got a token");
    let encoded: Vec<String> = secrets
        .iter()
        .map(|token| STANDARD.encode(format!("AWS:{token}")))
        .collect();
    secrets.extend(encoded);
    let key = bed
        .env
        .iter()
        .find(|(name, _)| name == "AWS_SECRET_ACCESS_KEY");
    secrets.push(key.expect("a key").1.clone());
    for text in &printed {
        assert!(
            !secrets.iter().any(|secret| text.contains(secret.as_str())),
            "{text}"
        );
    }
    assert!(
        bed.ws.read("lines").contains("forge"),
        "the command lines were seen"
    );
    assert!(bed.ws.read("environment").contains("PATH="));
    assert_eq!(holders(&bed.ws.path(""), &secrets), [""; 0]);
    assert_eq!(holders(bed.ws.home(), &secrets), [""; 0]);
    let kept = bed
        .aws
        .ecs(|ecs| format!("{:?} {:?}", ecs.families, ecs.tags));
    assert!(!secrets.iter().any(|secret| kept.contains(secret.as_str())));
}
