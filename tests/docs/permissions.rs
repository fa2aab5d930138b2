//! The page on deploys names every call that is made, in its policy and in its table: who gives forge a role should know.

use std::fs;
use std::path::Path;

use crate::page::{read, root};

const PAGE: &str = "docs/deploys.md";
const SERVICES: [&str; 7] = ["ecr", "ecs", "iam", "logs", "secretsmanager", "ssm", "sts"];

#[test]
fn every_call_is_named() {
    let text = read(PAGE.into()).text;
    let mut calls = Vec::new();
    walk(&root().join("src"), &mut calls);
    assert!(calls.len() > 20, "{calls:?}");
    calls.retain(|call| !text.contains(call.as_str()));
    assert!(calls.is_empty(), "{PAGE} has no word of {calls:?}");
}

fn walk(dir: &Path, calls: &mut Vec<String>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, calls);
        } else {
            let text = fs::read_to_string(&path).expect("a source file");
            calls.extend(text.split('"').filter(|word| is_call(word)).map(Into::into));
        }
    }
}

/// `ecs:UpdateService`
fn is_call(word: &str) -> bool {
    let Some((service, operation)) = word.split_once(':') else {
        return false;
    };
    let name = operation.bytes().all(|byte| byte.is_ascii_alphabetic());
    SERVICES.contains(&service) && name && operation.starts_with(|c: char| c.is_ascii_uppercase())
}
