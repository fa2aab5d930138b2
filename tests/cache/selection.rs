//! `--since` and `--affected` (hazard 18): never nothing for what can't be told.

use super::support::Bed;

/// A workspace of three projects: `app` depends on `lib`, `other` on nobody.
fn workspace() -> Bed {
    let bed = Bed::new(
        "[workspace]\nmembers = [\"lib\", \"app\", \"other\"]\n\
         [template.part.target.build]\ninputs = [\"*.txt\"]\noutputs = [\"out\"]\n\
         run = 'echo ${project.name} >> ../../ran; cat *.txt > out'\n\
         [target.top]\ninputs = [\"top.txt\"]\nrun = 'echo top >> ../ran'\n",
    );
    for (name, more) in [("lib", ""), ("app", "depends = [\"lib\"]\n"), ("other", "")] {
        bed.write(
            format!("{name}/Pipeline.toml"),
            format!("[project]\nname = \"{name}\"\ntemplate = \"part\"\n{more}"),
        );
        bed.write(format!("{name}/a.txt"), name);
    }
    bed.write("top.txt", "");
    bed.write(".gitignore", "out\n.forge\n");
    bed.commit();
    bed
}

fn ran(bed: &Bed, args: &[&str]) -> Vec<String> {
    let done = bed.forge(args);
    assert_eq!(done.code, 0, "{done:?}");
    bed.ran()
}

#[test]
fn since_keeps_projects_with_changes_and_those_that_depend_on_them() {
    let bed = workspace();
    assert_eq!(
        ran(&bed, &["build", "--since", "HEAD"]),
        Vec::<String>::new()
    );
    bed.write("lib/a.txt", "changed");
    assert_eq!(ran(&bed, &["build", "--since", "HEAD"]), ["app", "lib"]);
    bed.commit();
    bed.write("other/new.txt", "untracked");
    assert_eq!(
        ran(&bed, &["build", "--since", "HEAD", "--force"]),
        ["other"]
    );
    assert_eq!(
        ran(&bed, &["build", "--since", "HEAD~1", "--force"]),
        ["app", "lib", "other"]
    );
    bed.remove("other/new.txt");
    bed.remove("app/a.txt");
    bed.write("app/b.txt", "");
    assert_eq!(ran(&bed, &["build", "--since", "HEAD", "--force"]), ["app"]);
}

/// All that is about targets is about the same ones.
#[test]
fn since_chooses_for_every_command_that_takes_targets() {
    let bed = workspace();
    ran(&bed, &["build"]);
    bed.write("app/a.txt", "changed");
    for command in ["list", "graph", "why", "audit", "clean"] {
        let targets: &[&str] = match command {
            "list" | "graph" | "clean" => &[],
            _ => &["build"],
        };
        let line = [&[command, "--since", "HEAD"], targets].concat();
        let said = bed.plain(&line);
        assert_eq!(said.code, 0, "{said:?}");
        let names = |name: &str| said.stdout.contains(&format!("{name}:build"));
        assert!(names("app") || command == "clean", "{said:?}");
        assert!(!names("other"), "{said:?}");
    }
    assert!(!bed.exists("app/out") && bed.exists("other/out") && bed.exists("lib/out"));
}

#[test]
fn affected_compares_with_the_default_branch() {
    let bed = workspace();
    bed.git(&["checkout", "-q", "-b", "feature"]);
    bed.write("app/a.txt", "changed");
    bed.commit();
    bed.git(&["checkout", "-q", "main"]);
    bed.write("other/a.txt", "changed");
    bed.commit();
    bed.git(&["checkout", "-q", "feature"]);
    assert_eq!(ran(&bed, &["build", "--affected"]), ["app"]);
}

#[test]
fn hazard_18_a_revision_that_is_not_there_is_an_error() {
    let bed = workspace();
    bed.write("lib/a.txt", "changed");
    bed.commit();
    let first = bed.git(&["rev-parse", "HEAD~1"]);
    let clone = bed.base().join("shallow");
    let from = format!("file://{}", bed.root.display());
    bed.git(&[
        "clone",
        "-q",
        "--depth",
        "1",
        &from,
        clone.to_str().expect("UTF-8"),
    ]);
    let directory = clone.to_str().expect("UTF-8");
    for revision in [first.trim(), "HEAD~1", "origin/nowhere", "--help"] {
        let done = bed.plain(&["-C", directory, "build", &format!("--since={revision}")]);
        assert_eq!((done.code, bed.ran()), (2, vec![]), "{revision}: {done:?}");
        assert!(done.stderr.contains("shallow"), "{revision}: {done:?}");
    }
    // A branch made elsewhere has no common commit with what is here.
    let no_git = Bed::new("[target.t]\nrun = 'echo t >> ../ran'\n");
    for args in [["t", "--since=HEAD"], ["t", "--affected"]] {
        let done = no_git.plain(&args);
        assert_eq!((done.code, no_git.ran()), (2, vec![]), "{done:?}");
    }
}

#[test]
fn hazard_18_affected_in_a_shallow_clone_is_an_error() {
    let bed = workspace();
    bed.git(&["checkout", "-q", "-b", "feature"]);
    bed.write("app/a.txt", "changed");
    bed.commit();
    bed.git(&["checkout", "-q", "main"]);
    bed.write("other/a.txt", "changed");
    bed.commit();
    let clone = bed.base().join("shallow");
    let from = format!("file://{}", bed.root.display());
    let directory = clone.to_str().expect("UTF-8");
    bed.git(&[
        "clone",
        "-q",
        "--depth",
        "1",
        "--no-single-branch",
        "-b",
        "feature",
        &from,
        directory,
    ]);
    let done = bed.plain(&["-C", directory, "build", "--affected"]);
    assert_eq!((done.code, bed.ran()), (2, vec![]), "{done:?}");
    assert!(done.stderr.contains("no common commit"), "{done:?}");
}
