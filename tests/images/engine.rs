//! Images that stay in the engine.

use crate::bed::{Bed, printed};
use crate::run::output;

const LOCAL: &str = "push = false\ntags = [\"v1\"]";

#[test]
fn an_image_is_built_once_and_found_where_it_is() {
    let bed = Bed::new(LOCAL);
    let (outcome, end) = bed.image(&[]);
    assert_eq!(outcome, "ran");
    assert_eq!(printed(&format!("{}:v1", bed.repository)), "one\n");
    let id = output(
        "docker",
        &[
            "image",
            "inspect",
            "-f",
            "{{.Id}}",
            &format!("{}:v1", bed.repository),
        ],
    );
    assert_eq!(end["image"]["digest"], id.trim());
    assert_eq!(end["image"]["pushed"], false);
    assert_eq!(
        printed(end["image"]["ref"].as_str().expect("a name")),
        "one\n"
    );

    assert_eq!(bed.image(&[]).0, "fresh");
    output(
        "docker",
        &["image", "rm", &format!("{}:v1", bed.repository)],
    );
    let (outcome, end) = bed.image(&[]);
    assert_eq!(
        (outcome.as_str(), &end["reason"]),
        ("restored", &"the engine has it already".into())
    );
    assert_eq!(bed.image(&[]).0, "fresh");

    bed.forget_in_engine();
    assert_eq!(bed.image(&[]).0, "ran", "an image that is gone isn't fresh");
    assert_eq!(printed(&format!("{}:v1", bed.repository)), "one\n");
}

#[test]
fn what_is_in_the_context_is_in_the_key_and_nothing_else() {
    let bed = Bed::new(LOCAL);
    bed.ws.write(".dockerignore", "*.log\n");
    assert_eq!(bed.image(&[]).0, "ran");
    bed.ws.write("noise.log", "left out\n");
    bed.ws.write(
        "Pipeline.toml",
        &format!("{}\n# a remark\n", bed.ws.read("Pipeline.toml")),
    );
    assert_eq!(bed.image(&[]).0, "fresh");
    bed.ws.write("file", "two\n");
    let (outcome, end) = bed.image(&[]);
    assert_eq!(
        (outcome.as_str(), &end["reason"]),
        ("ran", &"file changed".into())
    );
    assert_eq!(printed(&format!("{}:v1", bed.repository)), "two\n");
    // Back to what it was: the engine still has that.
    bed.ws.write("file", "one\n");
    assert_eq!(bed.image(&[]).0, "restored");
    assert_eq!(printed(&format!("{}:v1", bed.repository)), "one\n");
    bed.ws.write(
        "Dockerfile",
        "FROM busybox:1\nCOPY file /file\nCMD [\"echo\", \"other\"]\n",
    );
    assert_eq!(bed.image(&[]).0, "ran");
    assert_eq!(printed(&format!("{}:v1", bed.repository)), "other\n");
}

#[test]
fn build_arguments_stages_and_labels_are_in_the_image() {
    let bed = Bed::new(
        "push = false\ntags = [\"v1\"]\nbuild-args = { WHAT = \"an argument\" }\nbuild-target = \"first\"\nlabels = { team = \"a\" }",
    );
    bed.ws.write(
        "Dockerfile",
        "FROM busybox:1 AS first\nARG WHAT\nENV WHAT=$WHAT\nCMD [\"sh\", \"-c\", \"echo $WHAT\"]\nFROM first AS second\nCMD [\"false\"]\n",
    );
    assert_eq!(bed.image(&[]).0, "ran");
    let name = format!("{}:v1", bed.repository);
    assert_eq!(printed(&name), "an argument\n");
    let label = output(
        "docker",
        &[
            "image",
            "inspect",
            "-f",
            "{{index .Config.Labels \"team\"}}",
            &name,
        ],
    );
    assert_eq!(label, "a\n");
    for (from, to) in [
        ("an argument", "another"),
        ("team = \"a\"", "team = \"b\""),
        ("\"first\"", "\"second\""),
    ] {
        bed.ws.write(
            "Pipeline.toml",
            &bed.ws.read("Pipeline.toml").replace(from, to),
        );
        assert_eq!(bed.image(&[]).0, "ran", "{to} makes another image");
    }
}

#[test]
fn a_commit_alone_makes_no_other_image() {
    let bed =
        Bed::new("push = false\ntags = [\"${git.sha}\"]\nlabels = { revision = \"${git.sha}\" }");
    bed.ws.write(".dockerignore", "*\n!file\n");
    bed.ws.commit();
    let first = bed.ws.git(&["rev-parse", "HEAD"]);
    let (_, built) = bed.image(&[]);
    bed.ws
        .git(&["commit", "-q", "--allow-empty", "-m", "nothing"]);
    let second = bed.ws.git(&["rev-parse", "HEAD"]);
    let (outcome, tagged) = bed.image(&[]);
    assert_eq!(outcome, "restored");
    assert_eq!(built["image"]["digest"], tagged["image"]["digest"]);
    for commit in [first, second] {
        assert_eq!(printed(&format!("{}:{commit}", bed.repository)), "one\n");
    }
}

#[test]
fn a_tag_that_cannot_be_is_refused_before_the_work() {
    let bed = Bed::new("push = false\ntags = [\".${git.branch}\"]");
    bed.ws.commit();
    bed.forge(&["image"])
        .code(1)
        .says("\".main\" can't be a tag of an image")
        .says_not("build ");
}

#[test]
fn a_step_that_fails_is_shown_with_its_line() {
    let bed = Bed::new(LOCAL);
    bed.ws.write(
        "Dockerfile",
        "FROM busybox:1\n# why\nRUN echo before && \\\n    echo wrong >&2 && exit 7\n",
    );
    let ran = bed.forge(&["image"]);
    ran.code(1).says("Dockerfile:3").says("wrong").says("7");
    assert_eq!(
        output("docker", &["image", "ls", "-q", &bed.repository]),
        "",
        "nothing is tagged"
    );
}

#[test]
fn private_files_stay_on_the_machine() {
    let bed = Bed::new(LOCAL);
    bed.ws.write(
        "Dockerfile",
        "FROM busybox:1\nCOPY . /all\nCMD [\"find\", \"/all\"]\n",
    );
    bed.ws.write(".env", "PASSWORD=hunter2\n");
    bed.ws.write("sub/.env.local", "PASSWORD=hunter2\n");
    bed.ws.write("sub/.env.example", "PASSWORD=\n");
    bed.ws.commit();
    bed.image(&[]);
    let files = printed(&format!("{}:v1", bed.repository));
    assert!(
        files.contains("/all/sub/.env.example") && files.contains("/all/file"),
        "{files}"
    );
    assert!(
        !files.contains(".env\n") && !files.contains("local") && !files.contains(".git/"),
        "{files}"
    );
    assert!(
        !files.contains(".forge") && !files.contains("Pipeline.toml"),
        "{files}"
    );
    // Who says so gets it.
    bed.ws.write(".dockerignore", "!.env\n");
    bed.image(&[]);
    let files = printed(&format!("{}:v1", bed.repository));
    assert!(files.contains("/all/.env\n"), "{files}");
}

#[test]
fn a_private_file_that_is_wanted_is_explained() {
    let bed = Bed::new(LOCAL);
    bed.ws
        .write("Dockerfile", "FROM busybox:1\nCOPY .env /env\n");
    bed.ws.write(".env", "PASSWORD=hunter2\n");
    for builder in ["0", "1"] {
        bed.forge_with(&[("DOCKER_BUILDKIT", builder)], &["image"])
            .code(1)
            .says("Dockerfile:2")
            .says("unless a `!` in the ignore file takes them back");
    }
}

#[test]
fn only_what_the_image_needs_of_other_targets_is_in_it() {
    let bed = Bed::new("push = false\ntags = [\"v1\"]\nneeds = [\"made\"]");
    bed.ws.write(
        "Pipeline.toml",
        &format!(
            "{}[target.made]\ninputs = [\"file\"]\noutputs = [\"dist\"]\nrun = \"mkdir dist; cp file dist/made\"\n\
             [target.other]\ninputs = []\noutputs = [\"other\"]\nrun = \"date +%N > other\"\n",
            bed.ws.read("Pipeline.toml")
        ),
    );
    bed.ws.write(
        "Dockerfile",
        "FROM busybox:1\nCOPY . /all\nCMD [\"find\", \"/all\", \"-type\", \"f\"]\n",
    );
    bed.forge(&["other"]).code(0);
    bed.image(&[]);
    let files = printed(&format!("{}:v1", bed.repository));
    assert!(
        files.contains("/all/dist/made") && !files.contains("/all/other"),
        "{files}"
    );
    bed.forge(&["other", "--force"]).code(0);
    assert_eq!(bed.image(&[]).0, "fresh");
    bed.ws.write("file", "two\n");
    assert_eq!(bed.image(&[]).0, "ran");
}

#[test]
fn other_targets_get_the_image() {
    let bed = Bed::new(LOCAL);
    bed.ws.write(
        "Pipeline.toml",
        &format!(
            "{}[target.use]\nneeds = [\"image\"]\ninputs = []\nrun = \"docker run --rm ${{image.image.ref}} > ../used-$$; echo ${{image.image.digest}}\"\n",
            bed.ws.read("Pipeline.toml")
        ),
    );
    let ran = bed.forge(&["use", "-v"]);
    let (_, end) = bed.image(&[]);
    ran.code(0)
        .says(end["image"]["digest"].as_str().expect("a digest"));
    let unchanged = bed.forge(&["--json", "use"]);
    assert_eq!(unchanged.end_of("use")["outcome"], "fresh");
    bed.ws.write("file", "two\n");
    let again = bed.forge(&["--json", "use"]);
    assert_eq!(
        again.end_of("use")["outcome"],
        "ran",
        "another image is another input"
    );
    let listed: serde_json::Value =
        serde_json::from_str(&bed.forge(&["list", "--json"]).stdout).expect("JSON");
    let image = listed
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["target"] == "image");
    assert_ne!(
        image.expect("it")["image"]["digest"],
        end["image"]["digest"]
    );
}

#[test]
fn without_an_engine_it_says_how_to_get_one() {
    let bed = Bed::new(LOCAL);
    let ran = bed.forge_with(
        &[("DOCKER_HOST", "unix:///nowhere/docker.sock")],
        &["image"],
    );
    ran.code(3)
        .says("no Docker engine answers")
        .says("docker.io");
}

#[test]
fn a_base_that_moved_is_seen() {
    let bed = Bed::new(LOCAL);
    let base = format!("{}-base:1", bed.repository);
    let make = |text: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        let dockerfile = format!("FROM busybox:1\nRUN echo {text} > /base\n");
        std::fs::write(dir.path().join("Dockerfile"), dockerfile).expect("written");
        output(
            "docker",
            &[
                "build",
                "-q",
                "-t",
                &base,
                dir.path().to_str().expect("UTF-8"),
            ],
        );
    };
    make("old");
    bed.ws.write(
        "Dockerfile",
        &format!("FROM {base}\nCMD [\"cat\", \"/base\"]\n"),
    );
    assert_eq!(bed.image(&[]).0, "ran");
    assert_eq!(bed.image(&[]).0, "fresh");
    make("new");
    let (outcome, end) = bed.image(&[]);
    assert_eq!(outcome, "ran");
    assert!(
        end["reason"].as_str().expect("a reason").contains(&base),
        "{end}"
    );
    assert_eq!(printed(&format!("{}:v1", bed.repository)), "new\n");
    output("docker", &["image", "rm", "-f", &base]);
}

#[test]
fn secrets_are_nowhere_but_in_their_step() {
    let bed = Bed::new("push = false\ntags = [\"v1\"]\nsecrets = { token = \"env.TOKEN\" }");
    // A step of its own: one that the builder has in its cache prints nothing.
    let step = "test -s /run/secrets/token && cat /run/secrets/token";
    let dockerfile = format!(
        "FROM busybox:1\nRUN --mount=type=secret,id=token {step} && echo {}\n",
        bed.repository
    );
    bed.ws.write("Dockerfile", &dockerfile);
    let missing = bed.forge(&["image"]);
    missing.code(3).says("TOKEN is not set");
    let ran = bed.forge_with(&[("TOKEN", "s3cr3t")], &["image", "-v"]);
    ran.code(0).says_not("s3cr3t").says("***");
    let name = format!("{}:v1", bed.repository);
    let history = output("docker", &["history", "--no-trunc", &name]);
    let config = output("docker", &["image", "inspect", &name]);
    assert!(!history.contains("s3cr3t") && !config.contains("s3cr3t"));
    // It isn't in the key either: another value makes no other image.
    let again = bed.forge_with(&[("TOKEN", "another")], &["image", "--json"]);
    assert_eq!(again.end_of("image")["outcome"], "fresh");
    let found = output(
        "grep",
        &[
            "-rl",
            "s3cr3t",
            bed.ws.path(".forge").to_str().expect("UTF-8"),
        ],
    );
    assert_eq!(found, "");
}

#[test]
fn a_dockerfile_that_is_a_link_is_built_from_what_it_leads_to() {
    let bed = Bed::new("push = false\ntags = [\"v1\"]");
    let text = bed.ws.read("Dockerfile");
    bed.ws.write("docker/prod", &text);
    let link = bed.ws.path("Dockerfile");
    std::fs::remove_file(&link).expect("removed");
    std::os::unix::fs::symlink("docker/prod", &link).expect("linked");
    assert_eq!(bed.image(&[]).0, "ran");
    assert_eq!(bed.image(&[]).0, "fresh");
    bed.ws.write("docker/prod", &format!("{text}LABEL a=b\n"));
    assert_eq!(bed.image(&[]).0, "ran");
    // Out of the context, or ignored, it is sent all the same.
    bed.ws.write(".dockerignore", "docker\nDockerfile\n");
    assert_eq!(bed.image(&[]).0, "ran");
    // Nobody would see that it changes.
    std::fs::remove_file(&link).expect("removed");
    std::os::unix::fs::symlink("/etc/hostname", &link).expect("linked");
    bed.forge(&["image"]).code(1).says("out of the workspace");
}
