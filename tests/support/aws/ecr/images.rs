//! Calls about images: what is there, more tags without moving a byte, and taking away.

use std::io;

use serde_json::{Value, json};

use super::super::wire::{Done, Failure, Input};
use super::super::world::{Place, World};
use super::{Ecr, Image, Refused, Repository, digest, media_type};

/// None for calls about something else.
pub fn answer(ecr: &mut Ecr, operation: &str, input: &Value) -> Option<Done> {
    Some(match operation {
        "DescribeImages" => describe(ecr, input),
        "ListImages" => list(ecr, input),
        "BatchDeleteImage" => delete(ecr, input),
        _ => return None,
    })
}

/// Which images a call means.
fn find<'a>(repository: &'a Repository, id: &Value) -> Result<&'a Image, Value> {
    let (digest, tag) = (id["imageDigest"].as_str(), id["imageTag"].as_str());
    let failure = |code: &str, reason: &str| {
        Err(json!({"imageId": id, "failureCode": code, "failureReason": reason}))
    };
    let by_digest = |digest| repository.images.get(digest);
    let found = match (digest, tag) {
        (Some(digest), Some(tag)) => match (by_digest(digest), repository.tagged(tag)) {
            (Some(one), Some(other)) if one.digest != other.digest => {
                let reason = "The provided image tag does not match the provided image digest";
                return failure("ImageTagDoesNotMatchDigest", reason);
            }
            (one, other) => one.and(other),
        },
        (Some(digest), None) => by_digest(digest),
        (None, Some(tag)) => repository.tagged(tag),
        (None, None) => {
            return failure(
                "MissingDigestAndTag",
                "Invalid request parameters: both tag and digest cannot be null",
            );
        }
    };
    found.map_or_else(|| failure("ImageNotFound", "Requested image not found"), Ok)
}

fn unreachable(error: &io::Error) -> Failure {
    Failure::with_status(
        500,
        "ServerException",
        format!("the registry behind: {error}"),
    )
}

/// BatchGetImage, which reads manifests from the real registry.
pub fn get(world: &mut World, place: &Place, input: &Value) -> Done {
    let required = ["repositoryName", "imageIds"];
    let input = Input::new(input, &required, &["registryId", "acceptedMediaTypes"])?;
    let name = input.needed("repositoryName")?;
    let backing = world.backing.clone();
    let repository = world.region(place).ecr.repository(name)?;
    let (mut images, mut failures) = (Vec::new(), Vec::new());
    for id in input.list("imageIds")? {
        let image = match find(repository, id) {
            Ok(image) => image,
            Err(failure) => {
                failures.push(failure);
                continue;
            }
        };
        let backing = backing.as_ref().ok_or_else(no_backing)?;
        let path = backing.repository(place, name);
        let manifest = backing.manifest(&path, &image.digest, &image.media_type);
        let manifest = manifest.map_err(|error| unreachable(&error))?;
        let mut image_id = json!({"imageDigest": image.digest});
        let tag = id["imageTag"]
            .as_str()
            .or(image.tags.iter().next().map(String::as_str));
        if let Some(tag) = tag {
            image_id["imageTag"] = tag.into();
        }
        images.push(json!({
            "registryId": place.account, "repositoryName": name, "imageId": image_id,
            "imageManifest": String::from_utf8_lossy(&manifest),
            "imageManifestMediaType": image.media_type,
        }));
    }
    Ok(json!({"images": images, "failures": failures}))
}

fn no_backing() -> Failure {
    let message = "there is no registry behind; tests/setup.sh registry starts one";
    Failure::with_status(500, "ServerException", message)
}

/// PutImage, which stores the manifest in the real registry.
pub fn put(world: &mut World, place: &Place, input: &Value) -> Done {
    let required = ["repositoryName", "imageManifest"];
    let optional = [
        "registryId",
        "imageManifestMediaType",
        "imageTag",
        "imageDigest",
    ];
    let input = Input::new(input, &required, &optional)?;
    let (name, manifest) = (
        input.needed("repositoryName")?,
        input.needed("imageManifest")?,
    );
    let (tag, digest) = (input.text("imageTag")?, digest(manifest.as_bytes()));
    let (now, backing) = (world.now(), world.backing.clone());
    let repository = world.region(place).ecr.repository(name)?;
    if input
        .text("imageDigest")?
        .is_some_and(|wanted| wanted != digest)
    {
        let message = "The specified image digest does not match the digest that Amazon ECR calculated for the image.";
        return Err(Failure::new("ImageDigestDoesNotMatchException", message));
    }
    may_put(repository, tag, &digest, place)?;
    let said = media_type(manifest.as_bytes());
    let media_type = input
        .text("imageManifestMediaType")?
        .map(str::to_owned)
        .or(said);
    let media_type = media_type.ok_or_else(|| {
        Failure::invalid("Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'")
    })?;
    let backing = backing.ok_or_else(no_backing)?;
    let path = backing.repository(place, name);
    let put = backing.put_manifest(&path, &digest, &media_type, manifest.as_bytes());
    let (head, _) = put.map_err(|error| unreachable(&error))?;
    if head.word(1) != "201" {
        let message = "The specified layers could not be found, or the specified layer is not valid for this repository.";
        return Err(Failure::new("LayersNotFoundException", message));
    }
    repository.store(manifest.as_bytes(), &media_type, tag, now);
    let mut image_id = json!({"imageDigest": digest});
    if let Some(tag) = tag {
        image_id["imageTag"] = tag.into();
    }
    Ok(json!({"image": {
        "registryId": place.account, "repositoryName": name, "imageId": image_id,
        "imageManifest": manifest, "imageManifestMediaType": media_type,
    }}))
}

fn may_put(
    repository: &Repository,
    tag: Option<&str>,
    digest: &str,
    place: &Place,
) -> Result<(), Failure> {
    let name = &repository.name;
    match repository.may_tag(tag, digest) {
        Ok(()) => Ok(()),
        Err(Refused::Immutable) => {
            let tag = tag.unwrap_or_default();
            let message = format!(
                "The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten because \
                 the tag is immutable."
            );
            Err(Failure::new("ImageTagAlreadyExistsException", message))
        }
        Err(Refused::Same) => {
            let tag = tag.map_or("null".to_owned(), |tag| format!("'{tag}'"));
            let message = format!(
                "Image with digest '{digest}' and tag {tag} already exists in the repository with name '{name}' in \
                 registry with id '{}'",
                place.account
            );
            Err(Failure::new("ImageAlreadyExistsException", message))
        }
    }
}

/// Those that a filter of `{"tagStatus": "TAGGED"}` leaves.
fn passes(filter: Option<&Value>, image: &Image) -> bool {
    match filter.and_then(|filter| filter["tagStatus"].as_str()) {
        Some("TAGGED") => !image.tags.is_empty(),
        Some("UNTAGGED") => image.tags.is_empty(),
        _ => true,
    }
}

fn describe(ecr: &mut Ecr, input: &Value) -> Done {
    let optional = [
        "registryId",
        "imageIds",
        "nextToken",
        "maxResults",
        "filter",
    ];
    let input = Input::new(input, &["repositoryName"], &optional)?;
    let account = ecr.place.account.clone();
    let repository = ecr.repository(input.needed("repositoryName")?)?;
    let ids = input.list("imageIds")?;
    let mut found: Vec<&Image> = Vec::new();
    for id in ids {
        let image = find(repository, id).map_err(|_| {
            let text = |name: &str| id[name].as_str().unwrap_or("null");
            let (digest, tag) = (text("imageDigest"), text("imageTag"));
            let message = format!(
                "The image with imageId {{imageDigest:'{digest}', imageTag:'{tag}'}} does not exist within the repository with name '{}' in the registry \
                 with id '{account}'",
                repository.name
            );
            Failure::new("ImageNotFoundException", message)
        })?;
        found.push(image);
    }
    if ids.is_empty() {
        found.extend(repository.images.values());
    }
    let filter = input.value("filter");
    let shown = found.into_iter().filter(|image| passes(filter, image));
    let shown = shown.map(|image| {
        let mut shown = json!({
            "registryId": account, "repositoryName": repository.name, "imageDigest": image.digest,
            "imageSizeInBytes": image.size, "imagePushedAt": image.pushed,
            "imageManifestMediaType": image.media_type,
        });
        if !image.tags.is_empty() {
            shown["imageTags"] = image.tags.iter().cloned().collect();
        }
        shown
    });
    input.page("imageDetails", shown.collect(), 100)
}

fn list(ecr: &mut Ecr, input: &Value) -> Done {
    let optional = ["registryId", "nextToken", "maxResults", "filter"];
    let input = Input::new(input, &["repositoryName"], &optional)?;
    let repository = ecr.repository(input.needed("repositoryName")?)?;
    let filter = input.value("filter");
    let mut ids: Vec<Value> = Vec::new();
    for image in repository
        .images
        .values()
        .filter(|image| passes(filter, image))
    {
        let digest = &image.digest;
        let tagged = image.tags.iter();
        ids.extend(tagged.map(|tag| json!({"imageDigest": digest, "imageTag": tag})));
        if image.tags.is_empty() {
            ids.push(json!({"imageDigest": digest}));
        }
    }
    input.page("imageIds", ids, 100)
}

/// By digest the image goes; by tag the tag goes, and with its last tag the image.
fn delete(ecr: &mut Ecr, input: &Value) -> Done {
    let input = Input::new(input, &["repositoryName", "imageIds"], &["registryId"])?;
    let repository = ecr.repository(input.needed("repositoryName")?)?;
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for id in input.list("imageIds")? {
        let digest = match find(repository, id) {
            Ok(image) => image.digest.clone(),
            Err(failure) => {
                failures.push(failure);
                continue;
            }
        };
        let tag = id["imageTag"].as_str();
        let left = repository.images.get_mut(&digest).is_some_and(|image| {
            let removed = tag.is_some_and(|tag| image.tags.remove(tag));
            removed && !image.tags.is_empty()
        });
        if !left {
            repository.images.remove(&digest);
        }
        let mut gone = json!({"imageDigest": digest});
        if let Some(tag) = tag {
            gone["imageTag"] = tag.into();
        }
        deleted.push(gone);
    }
    Ok(json!({"imageIds": deleted, "failures": failures}))
}
