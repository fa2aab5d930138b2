//! Images: pushed by a real engine, tagged and looked at through ECR. Without the engine and the registry of
//! `tests/setup.sh registry` these tests fail.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use aws_sdk_ecr::types::{ImageIdentifier, ImageTagMutability, ImageTagMutabilityExclusionFilter};
use aws_sdk_ecr::types::{ImageScanningConfiguration, ImageTagMutabilityExclusionFilterType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::aws::Aws;
use crate::aws::faults::{Fault, What};
use crate::clients::{code, ecr, wait};

const IMAGE: &str = "busybox:1";

/// Docker's command line with a configuration of its own, and the names that it gave images.
struct Docker {
    home: tempfile::TempDir,
    names: Vec<String>,
}

impl Docker {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self {
            home,
            names: Vec::new(),
        }
    }

    fn run(&self, args: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new("timeout");
        command
            .args(["100", "docker", "--config"])
            .arg(self.home.path())
            .args(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    fn login(&self, aws: &Aws) {
        let password = password(aws);
        let host = aws.host();
        self.run(
            &["login", "-u", "AWS", "--password-stdin", &host],
            &password,
        )
        .unwrap();
    }

    fn push(&mut self, image: &str, name: &str) -> Result<String, String> {
        self.run(&["tag", image, name], "").unwrap();
        self.names.push(name.into());
        self.run(&["push", name], "")
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        for name in std::mem::take(&mut self.names) {
            let _ = self.run(&["rmi", &name], "");
        }
    }
}

fn password(aws: &Aws) -> String {
    let answer = wait(ecr(aws).get_authorization_token().send()).unwrap();
    let data = &answer.authorization_data()[0];
    assert_eq!(
        data.proxy_endpoint(),
        Some(&*format!("http://{}", aws.host()))
    );
    let token = STANDARD
        .decode(data.authorization_token().unwrap())
        .unwrap();
    let token = String::from_utf8(token).unwrap();
    token.strip_prefix("AWS:").unwrap().to_owned()
}

fn id(tag: &str) -> ImageIdentifier {
    ImageIdentifier::builder().image_tag(tag).build()
}

fn create(aws: &Aws, name: &str, mutability: ImageTagMutability, except: &[&str]) {
    let kind = ImageTagMutabilityExclusionFilterType::Wildcard;
    let filters = except.iter().map(|filter| {
        let filter = ImageTagMutabilityExclusionFilter::builder().filter(*filter);
        filter.filter_type(kind.clone()).build().unwrap()
    });
    let filters: Vec<_> = filters.collect();
    let scanning = ImageScanningConfiguration::builder().scan_on_push(true);
    let request = ecr(aws)
        .create_repository()
        .repository_name(name)
        .image_tag_mutability(mutability)
        .set_image_tag_mutability_exclusion_filters((!filters.is_empty()).then_some(filters))
        .image_scanning_configuration(scanning.build());
    wait(request.send()).unwrap();
}

#[test]
fn repositories_keep_their_settings() {
    let aws = Aws::start();
    create(
        &aws,
        "team/app",
        ImageTagMutability::ImmutableWithExclusion,
        &["latest", "dev-*"],
    );
    let all = wait(ecr(&aws).describe_repositories().send()).unwrap();
    let app = &all.repositories()[0];
    assert_eq!(
        app.repository_uri(),
        Some(&*format!("{}/team/app", aws.host()))
    );
    assert!(app.image_scanning_configuration().unwrap().scan_on_push());
    let filters = app.image_tag_mutability_exclusion_filters();
    assert_eq!(filters[1].filter(), "dev-*");
    let again = ecr(&aws).create_repository().repository_name("team/app");
    assert_eq!(code(wait(again.send())), "RepositoryAlreadyExistsException");
    let bad = ecr(&aws).create_repository().repository_name("Not/Right");
    assert_eq!(code(wait(bad.send())), "InvalidParameterException");
    let missing = ecr(&aws).describe_repositories().repository_names("other");
    assert_eq!(code(wait(missing.send())), "RepositoryNotFoundException");
}

#[test]
fn settings_are_changed() {
    let aws = Aws::start();
    create(&aws, "app", ImageTagMutability::Mutable, &[]);
    let ecr = ecr(&aws);
    let get = || ecr.get_lifecycle_policy().repository_name("app").send();
    assert_eq!(code(wait(get())), "LifecyclePolicyNotFoundException");
    let put = ecr.put_lifecycle_policy().repository_name("app");
    wait(put.lifecycle_policy_text(r#"{"rules": []}"#).send()).unwrap();
    assert_eq!(
        wait(get()).unwrap().lifecycle_policy_text(),
        Some(r#"{"rules": []}"#)
    );
    let put = ecr.put_image_tag_mutability().repository_name("app");
    wait(
        put.image_tag_mutability(ImageTagMutability::Immutable)
            .send(),
    )
    .unwrap();
    assert_eq!(
        aws.ecr(|ecr| ecr.repositories["app"].mutability.clone()),
        "IMMUTABLE"
    );
    wait(ecr.delete_repository().repository_name("app").send()).unwrap();
    assert_eq!(code(wait(get())), "RepositoryNotFoundException");
}

#[test]
fn an_image_is_pushed_and_pulled_and_tagged_again() {
    let (aws, mut docker) = (Aws::start(), Docker::new());
    create(&aws, "app", ImageTagMutability::Mutable, &[]);
    docker.login(&aws);
    let name = format!("{}/app:v1", aws.host());
    let pushed = docker.push(IMAGE, &name).unwrap();
    let digest = aws.ecr(|ecr| ecr.resolve(&name)).unwrap();
    assert!(pushed.contains(&digest), "{pushed} has no {digest}");

    let ecr = ecr(&aws);
    let got = ecr
        .batch_get_image()
        .repository_name("app")
        .image_ids(id("v1"))
        .image_ids(id("v2"));
    let got = wait(got.send()).unwrap();
    assert_eq!(
        got.failures()[0].failure_code().unwrap().as_str(),
        "ImageNotFound"
    );
    let image = &got.images()[0];
    assert_eq!(image.image_id().unwrap().image_digest(), Some(&*digest));
    let put = ecr.put_image().repository_name("app").image_tag("v2");
    let put = put.image_manifest(image.image_manifest().unwrap());
    let put = put.image_manifest_media_type(image.image_manifest_media_type().unwrap());
    wait(put.clone().send()).unwrap();
    assert_eq!(code(wait(put.send())), "ImageAlreadyExistsException");

    let detail = ecr
        .describe_images()
        .repository_name("app")
        .image_ids(id("v2"));
    let detail = wait(detail.send()).unwrap();
    assert_eq!(detail.image_details()[0].image_tags(), ["v1", "v2"]);
    let again = format!("{}/app:v2", aws.host());
    docker.names.push(again.clone());
    let pulled = docker.run(&["pull", &again], "").unwrap();
    assert!(pulled.contains(&digest), "{pulled}");

    let gone = ecr
        .batch_delete_image()
        .repository_name("app")
        .image_ids(id("v2"));
    wait(gone.send()).unwrap();
    let left = wait(ecr.list_images().repository_name("app").send()).unwrap();
    assert_eq!(
        left.image_ids(),
        [ImageIdentifier::builder()
            .image_tag("v1")
            .image_digest(digest)
            .build()]
    );
    assert!(
        docker
            .run(&["pull", &again], "")
            .unwrap_err()
            .contains("not found")
    );

    // With its last tag the image goes.
    let last = ecr
        .batch_delete_image()
        .repository_name("app")
        .image_ids(id("v1"));
    wait(last.send()).unwrap();
    assert!(aws.ecr(|ecr| ecr.repositories["app"].images.is_empty()));
}

#[test]
fn pushes_need_a_token_and_a_repository() {
    let (aws, mut docker) = (Aws::start(), Docker::new());
    create(&aws, "app", ImageTagMutability::Mutable, &[]);
    let name = format!("{}/app:v1", aws.host());
    let refused = docker.push(IMAGE, &name).unwrap_err();
    assert!(refused.contains("no basic auth credentials"), "{refused}");
    let wrong = docker.run(
        &["login", "-u", "AWS", "--password-stdin", &aws.host()],
        "guessed",
    );
    assert!(wrong.unwrap_err().contains("401"));
    docker.login(&aws);
    let refused = docker
        .push(IMAGE, &format!("{}/other:v1", aws.host()))
        .unwrap_err();
    assert!(
        refused.contains("The repository with name 'other' does not exist"),
        "{refused}"
    );
    docker.push(IMAGE, &name).unwrap();
}

#[test]
fn tokens_expire() {
    let (aws, mut docker) = (Aws::start(), Docker::new());
    aws.speed(0.0);
    create(&aws, "app", ImageTagMutability::Mutable, &[]);
    let name = format!("{}/app:v1", aws.host());
    docker.login(&aws);
    aws.pass(Duration::from_secs(13 * 3600));
    let refused = docker.push(IMAGE, &name).unwrap_err();
    assert!(
        refused.contains("Your authorization token has expired"),
        "{refused}"
    );
    docker.login(&aws);
    docker.push(IMAGE, &name).unwrap();
    aws.expire_tokens();
    assert!(docker.push(IMAGE, &name).is_err());
}

#[test]
fn immutable_tags_stay() {
    let (aws, mut docker) = (Aws::start(), Docker::new());
    create(
        &aws,
        "app",
        ImageTagMutability::ImmutableWithExclusion,
        &["latest"],
    );
    docker.login(&aws);
    let name = |tag: &str| format!("{}/app:{tag}", aws.host());
    for tag in ["v1", "latest"] {
        docker.push(IMAGE, &name(tag)).unwrap();
    }
    // Even the same image is refused, as ECR does.
    let refused = docker.push(IMAGE, &name("v1")).unwrap_err();
    assert!(
        refused.contains("cannot be overwritten because the tag is immutable"),
        "{refused}"
    );
    docker.push("forge-test/crash:1", &name("latest")).unwrap();

    let ecr = ecr(&aws);
    let got = ecr
        .batch_get_image()
        .repository_name("app")
        .image_ids(id("latest"));
    let got = wait(got.send()).unwrap();
    let manifest = got.images()[0].image_manifest().unwrap();
    let put = |tag: &str| {
        let put = ecr
            .put_image()
            .repository_name("app")
            .image_manifest(manifest);
        put.image_tag(tag).send()
    };
    assert_eq!(code(wait(put("v1"))), "ImageTagAlreadyExistsException");
    wait(put("v2")).unwrap();
}

#[test]
fn the_registry_fails_in_the_middle() {
    let (aws, mut docker) = (Aws::start(), Docker::new());
    create(&aws, "app", ImageTagMutability::Mutable, &[]);
    docker.login(&aws);
    let name = format!("{}/app:v1", aws.host());
    // The engine goes on by itself after one cut.
    let cut = What::CutAfterBytes(1000);
    aws.inject(Fault::new("registry:PATCH blobs", cut).once());
    docker.push(IMAGE, &name).unwrap();
    aws.inject(Fault::new("registry:PUT manifests", What::ServerError));
    assert!(docker.push(IMAGE, &name).is_err());
    aws.heal();
    aws.registry_gone(true);
    assert!(docker.push(IMAGE, &name).is_err());
    aws.registry_gone(false);
    docker.push(IMAGE, &name).unwrap();
}

/// An upload as Docker does it, where it can be seen that it breaks off.
#[test]
fn an_upload_breaks_off() {
    let aws = Aws::start();
    create(&aws, "app", ImageTagMutability::Mutable, &[]);
    let token = STANDARD.encode(format!("AWS:{}", password(&aws)));
    let authorization = format!("Basic {token}");
    let begin = ureq::post(format!("http://{}/v2/app/blobs/uploads/", aws.host()));
    let answer = begin
        .header("authorization", &authorization)
        .send_empty()
        .unwrap();
    let place = answer.headers()["location"].to_str().unwrap().to_owned();
    assert!(place.starts_with(&format!("http://{}/v2/app/blobs/uploads/", aws.host())));
    let send = || {
        let patch = ureq::patch(&place).header("authorization", &authorization);
        patch
            .send(&[7; 5000][..])
            .map(|answer| answer.status().as_u16())
            .ok()
    };
    aws.inject(Fault::new("registry:PATCH blobs", What::CutAfterBytes(1000)).once());
    assert_eq!(
        (send(), aws.calls_of("registry:PATCH blobs").len()),
        (None, 1)
    );
}

/// Two simulators share the real registry, and don't see each other's images.
#[test]
fn simulators_do_not_meet() {
    let (one, other, mut docker) = (Aws::start(), Aws::start(), Docker::new());
    for aws in [&one, &other] {
        create(aws, "app", ImageTagMutability::Mutable, &[]);
        docker.login(aws);
    }
    docker
        .push(IMAGE, &format!("{}/app:v1", one.host()))
        .unwrap();
    let name = format!("{}/app:v1", other.host());
    assert!(docker.run(&["pull", &name], "").is_err());
    docker.push(IMAGE, &name).unwrap();
    assert!(
        !other.calls_of("registry:PATCH blobs").is_empty(),
        "its layers were there"
    );
}
