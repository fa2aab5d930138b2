//! Images that go to a registry.

use crate::bed::{Bed, printed, registry};
use crate::run::output;

const PUSHED: &str = "tags = [\"v1\", \"latest\"]";

fn text(value: &serde_json::Value) -> &str {
    value.as_str().expect("text")
}

#[test]
fn an_image_is_pushed_once_and_pulled_back_by_its_digest() {
    let bed = Bed::new(PUSHED);
    let (outcome, end) = bed.image(&[]);
    assert_eq!(outcome, "ran");
    let digest = text(&end["image"]["digest"]).to_owned();
    assert_eq!(bed.digest_of("v1").as_deref(), Some(&*digest));
    assert_eq!(bed.digest_of("latest").as_deref(), Some(&*digest));
    assert_eq!(end["image"]["ref"], format!("{}@{digest}", bed.full()));
    assert_eq!(bed.image(&[]).0, "fresh");

    bed.forget_in_engine();
    assert_eq!(
        bed.image(&[]).0,
        "fresh",
        "the engine's copy doesn't matter"
    );
    bed.docker(&["pull", "-q", text(&end["image"]["ref"])]);
    assert_eq!(printed(text(&end["image"]["ref"])), "one\n");
}

#[test]
fn what_the_registry_has_is_never_built_again() {
    let bed = Bed::new("tags = [\"${git.sha}\", \"latest\"]");
    bed.ws.write(".dockerignore", "*\n!file\n");
    bed.ws.commit();
    let (_, built) = bed.image(&[]);
    bed.forget_in_engine();
    // Another machine that has never built it, at another commit.
    let other = bed.elsewhere();
    other.ws.commit();
    other
        .ws
        .git(&["commit", "-q", "--allow-empty", "-m", "another"]);
    let commit = other.ws.git(&["rev-parse", "HEAD"]);
    assert_eq!(other.digest_of(&commit), None);
    let ran = other.forge(&["image", "--json"]);
    let end = ran.code(0).end_of("image");
    assert_eq!(
        (&end["outcome"], &end["reason"]),
        (&"restored".into(), &"the registry has it already".into())
    );
    assert_eq!(end["image"]["digest"], built["image"]["digest"]);
    assert_eq!(
        other.digest_of(&commit).as_deref(),
        built["image"]["digest"].as_str()
    );
    assert_eq!(
        output("docker", &["image", "ls", "-q", &bed.full()]),
        "",
        "nothing was pulled or built"
    );
}

#[test]
fn a_tag_that_others_moved_is_put_back() {
    let bed = Bed::new(PUSHED);
    let (_, first) = bed.image(&[]);
    bed.ws.write("file", "two\n");
    let (_, second) = bed.image(&[]);
    assert_ne!(first["image"]["digest"], second["image"]["digest"]);
    bed.ws.write("file", "one\n");
    let (outcome, back) = bed.image(&[]);
    assert_eq!(
        (outcome.as_str(), &back["image"]["digest"]),
        ("restored", &first["image"]["digest"])
    );
    assert_eq!(
        bed.digest_of("latest").as_deref(),
        first["image"]["digest"].as_str()
    );
}

#[test]
fn an_image_removed_from_the_registry_is_built_again() {
    let bed = Bed::new(PUSHED);
    let (_, end) = bed.image(&[]);
    let digest = text(&end["image"]["digest"]);
    bed.delete_in_registry(digest);
    assert_eq!(bed.digest_of("v1"), None);
    let (outcome, _) = bed.image(&[]);
    assert_eq!(
        outcome, "restored",
        "the engine still has it: it is only pushed"
    );
    assert!(bed.digest_of("v1").is_some());
}

#[test]
fn a_wrong_password_is_said_and_kept_out_of_sight() {
    let bed = Bed::new(PUSHED);
    bed.log_in("AWS", "not-the-password");
    let ran = bed.forge(&["image"]);
    ran.code(3).says(&registry()).says_not("not-the-password");
    assert_eq!(bed.digest_of("v1"), None);
}

#[test]
fn no_push_keeps_it_here() {
    let bed = Bed::new(PUSHED);
    let (outcome, end) = bed.image(&["--no-push"]);
    assert_eq!(
        (outcome.as_str(), &end["image"]["pushed"]),
        ("ran", &false.into())
    );
    assert_eq!(bed.digest_of("v1"), None);
    assert_eq!(printed(&format!("{}:v1", bed.repository)), "one\n");
    assert_eq!(bed.image(&["--no-push"]).0, "fresh");
    let (outcome, end) = bed.image(&[]);
    assert_ne!(outcome, "fresh", "it isn't in the registry yet");
    assert_eq!(
        bed.digest_of("v1").as_deref(),
        end["image"]["digest"].as_str()
    );
}

#[test]
fn several_platforms_are_one_image() {
    let bed = Bed::new("tags = [\"v1\"]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]");
    bed.ws
        .write("Dockerfile", "FROM scratch\nCOPY file /file\n");
    let (outcome, end) = bed.image(&[]);
    assert_eq!(outcome, "ran");
    assert_eq!(
        bed.digest_of("v1").as_deref(),
        end["image"]["digest"].as_str()
    );
    let (list, _) = bed.manifest("v1").expect("it is there");
    let platforms: Vec<&str> = list["manifests"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|part| text(&part["platform"]["architecture"]))
        .collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
    assert_eq!(bed.image(&[]).0, "fresh");
}

#[test]
fn a_monorepo_builds_what_changed_and_says_which() {
    let bed = Bed::new("push = false");
    let repository = &bed.repository;
    bed.ws.write(
        "Pipeline.toml",
        &format!(
            "[pipeline]\nname = \"mono\"\n[workspace]\nmembers = [\"services/*\"]\n[registry]\nhost = \"{}\"\n\
             [template.service.target.image]\nkind = \"image\"\nrepository = \"{repository}/${{project.name}}\"\ntags = [\"v1\"]\n",
            registry()
        ),
    );
    for name in ["api", "web"] {
        bed.ws.write(
            &format!("services/{name}/Pipeline.toml"),
            &format!("[project]\nname = \"{name}\"\ntemplate = \"service\"\n"),
        );
        bed.ws.write(
            &format!("services/{name}/Dockerfile"),
            crate::bed::DOCKERFILE,
        );
        bed.ws.write(&format!("services/{name}/file"), name);
    }
    bed.forge(&["image"])
        .code(0)
        .says("built api:image, web:image");
    bed.ws.write("services/web/file", "changed\n");
    let ran = bed.forge(&["image"]);
    ran.code(0)
        .says("1 ran, 1 fresh")
        .says("built web:image")
        .says_not("api:image");
    for name in ["api", "web"] {
        let ids = output(
            "docker",
            &["image", "ls", "-q", &format!("{}/{name}", bed.full())],
        );
        ids.lines()
            .for_each(|id| drop(output("docker", &["image", "rm", "-f", id])));
    }
}
