//! `forge check` on Dockerfiles: advice with its line, which stops nothing.

use std::fs;
use std::process::Command;

#[test]
fn advice_points_into_the_dockerfile_and_changes_no_exit_code() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
    write(
        "Pipeline.toml",
        "[pipeline]\nname = \"x\"\n\n[target.image]\nkind = \"image\"\nrepository = \"x\"\n",
    );
    write(
        "Dockerfile",
        "FROM python:3.11\nUSER app\nHEALTHCHECK CMD true\nARG API_TOKEN\n",
    );
    write(".dockerignore", ".env\n");
    write(".env", "A=b\n");
    let check = || {
        let output = Command::new(env!("CARGO_BIN_EXE_forge"))
            .arg("check")
            .current_dir(dir.path())
            .output()
            .expect("runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, text) = check();
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("ARG API_TOKEN keeps a secret") && text.contains("[Dockerfile:4:1]"),
        "{text}"
    );
    assert!(!text.contains(".env"), "{text}");
    write(".dockerignore", "*.log\n");
    assert!(check().1.contains(".env isn't in .dockerignore"));
    fs::remove_file(dir.path().join("Dockerfile")).expect("removed");
    assert!(check().1.contains("Dockerfile can't be read"));
}

#[test]
fn an_unset_variable_is_an_error_and_a_commit_without_a_tag_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = |run: &str| {
        let text = format!("[target.t]\nrun = \"echo {run}\"\n");
        fs::write(dir.path().join("Pipeline.toml"), text).expect("written");
        let mut forge = Command::new(env!("CARGO_BIN_EXE_forge"));
        let output = forge
            .arg("check")
            .current_dir(dir.path())
            .output()
            .expect("runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, text) = check("${env.FORGE_NOT_SET_HERE}");
    assert!(code == Some(2) && text.contains("forge::unset"), "{text}");
    assert_eq!(check("${git.tag} ${git.sha}").0, Some(0));
}
