//! The images that all tests deploy: built and pushed once, then lent to each test's own simulator, in which forge finds
//! them by their keys.

use std::process::Command;
use std::sync::OnceLock;

use crate::aws::Aws;
use crate::aws::backing::Backing;
use crate::aws::ecr::Image;
use crate::run::{Workspace, output};

pub const REPOSITORY: &str = "forge-deployments";

/// As in every test's `Pipeline.toml`: what is in an image's key has to be the same.
pub const IMAGE: &str = "[target.image]\nkind = \"image\"\nrepository = \"forge-deployments\"\ntags = [\"${git.sha}\"]\n";

/// What `file` says in each image, the oldest first.
const CONTENTS: [&str; 4] = ["zero", "one", "two", "three"];

struct Mould {
    /// Where their bytes are.
    backing: Option<Backing>,
    /// As ECR knows them, in the order of [`CONTENTS`].
    images: Vec<Image>,
}

/// What an image is made of, `text` being in its file.
pub fn write_sources(ws: &Workspace, text: &str) {
    ws.write("Dockerfile", "FROM scratch\nCOPY file /file\n");
    ws.write(".dockerignore", "*\n!file\n");
    ws.write(".gitignore", ".forge\n");
    ws.write("file", &format!("{text}\n"));
}

/// Puts the images into a simulator's registry.
pub fn lend(aws: &Aws) {
    let mould = mould();
    aws.world(|world| world.backing = mould.backing.clone());
    aws.ecr(|ecr| {
        let repository = ecr.create(REPOSITORY);
        for image in &mould.images {
            let there = repository.images.entry(image.digest.clone());
            there.or_insert_with(|| image.clone());
        }
    });
}

/// The digest of the image whose file says `text`.
pub fn digest(text: &str) -> String {
    let number = CONTENTS.iter().position(|one| *one == text);
    mould().images[number.expect("an image of that text")]
        .digest
        .clone()
}

fn mould() -> &'static Mould {
    static MOULD: OnceLock<Mould> = OnceLock::new();
    MOULD.get_or_init(cast)
}

fn cast() -> Mould {
    let aws = Aws::start();
    let backed = aws.world(|world| world.backing.is_some());
    assert!(backed, "no registry: run tests/setup.sh registry");
    aws.ecr(|ecr| ecr.create(REPOSITORY).name.clone());
    let ws = Workspace::new(&format!(
        "[pipeline]\nname = \"app\"\n[registry]\necr = {{}}\n{IMAGE}"
    ));
    let digests = CONTENTS.map(|text| {
        write_sources(&ws, text);
        ws.commit();
        let mut command = ws.command(&["--json", "image"]);
        command.envs(aws.env());
        let ran = ws.run(command);
        let end = ran.code(0).end_of("image");
        end["image"]["digest"]
            .as_str()
            .expect("a digest")
            .to_owned()
    });
    forget_in_engine(&format!("{}/{REPOSITORY}", aws.host()));
    let images = digests.map(|digest| {
        aws.ecr(|ecr| {
            let repository = ecr.repository(REPOSITORY).expect("it is there");
            let mut image = repository.images.remove(&digest).expect("it was pushed");
            image.tags.retain(|tag| tag.starts_with("forge-"));
            image
        })
    });
    Mould {
        backing: aws.world(|world| world.backing.clone()),
        images: images.into(),
    }
}

/// Removes what was built, by its names: an image of the same content may be somebody else's as well.
fn forget_in_engine(name: &str) {
    let format = "{{.Repository}}:{{.Tag}}";
    let names = output("docker", &["image", "ls", "--format", format, name]);
    for name in names.lines().filter(|name| !name.contains('<')) {
        let _ = Command::new("docker").args(["image", "rm", name]).output();
    }
}
