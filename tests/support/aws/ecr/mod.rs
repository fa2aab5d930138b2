//! Elastic Container Registry: repositories, images and their tags, tokens. What is pushed lies in the real registry;
//! which tag means what is known here. Knows nothing of how Docker pushes.

mod images;
mod repositories;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::clock::Time;
use super::faults::glob;
use super::ids;
use super::wire::{Call, Done, Failure, Input};
use super::world::{Place, World};

/// A password of the registry.
#[derive(Clone, Debug)]
pub struct Token {
    pub place: Place,
    pub expires: Time,
}

pub struct Ecr {
    place: Place,
    host: String,
    pub repositories: BTreeMap<String, Repository>,
}

pub struct Repository {
    pub name: String,
    pub created: Time,
    /// `MUTABLE`, `IMMUTABLE`, or either `…_WITH_EXCLUSION`.
    pub mutability: String,
    /// Patterns of tags that are the exception.
    pub exclusions: Vec<String>,
    pub scan_on_push: bool,
    pub encryption: Value,
    pub lifecycle: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// By digest.
    pub images: BTreeMap<String, Image>,
}

#[derive(Clone, Debug)]
pub struct Image {
    pub digest: String,
    pub media_type: String,
    /// Bytes of its layers and configuration.
    pub size: u64,
    pub pushed: Time,
    pub tags: BTreeSet<String>,
}

impl Ecr {
    pub fn new(place: Place, host: &str) -> Self {
        Self {
            place,
            host: host.into(),
            repositories: BTreeMap::new(),
        }
    }

    /// Creates a repository as CreateRepository would with nothing else said.
    pub fn create(&mut self, name: &str) -> &mut Repository {
        let repository = Repository::new(name, 0.0);
        self.repositories.entry(name.into()).or_insert(repository)
    }

    /// The digest that an image's name in this registry stands for.
    ///
    /// # Errors
    /// What the puller of such an image would read.
    pub fn resolve(&self, image: &str) -> Result<String, String> {
        let path = image.split_once('/').map_or(image, |(_, path)| path);
        let (path, digest) = match path.split_once('@') {
            Some((path, digest)) => (path, Some(digest)),
            None => (path, None),
        };
        let (name, tag) = path.split_once(':').unwrap_or((path, "latest"));
        let missing = || format!("{image}: not found");
        let repository = self.repositories.get(name).ok_or_else(missing)?;
        let found = match digest {
            Some(digest) => repository.images.get(digest),
            None => repository.tagged(tag),
        };
        found.map(|image| image.digest.clone()).ok_or_else(missing)
    }

    /// Whether an image's name leads here, under this host or as the real registry is called.
    pub fn is_ours(&self, image: &str) -> bool {
        let host = image.split('/').next().unwrap_or_default();
        host == self.host || host.contains(".dkr.ecr.")
    }

    /// What an image's name stands for now. Images of other registries are always there.
    pub fn digest_of(&self, image: &str) -> Option<String> {
        if self.is_ours(image) {
            return self.resolve(image).ok();
        }
        let said = image.split_once('@').map(|(_, digest)| digest.to_owned());
        Some(said.unwrap_or_else(|| digest(image.as_bytes())))
    }

    /// Whether an image that was resolved once is there still.
    pub fn holds(&self, image: &str, digest: &str) -> bool {
        let name = image.split_once('/').map_or(image, |(_, name)| name);
        let name = name.split(['@', ':']).next().unwrap_or_default();
        let repository = self.repositories.get(name);
        repository.is_some_and(|repository| repository.images.contains_key(digest))
    }

    /// # Errors
    /// There is no such repository.
    pub fn repository(&mut self, name: &str) -> Result<&mut Repository, Failure> {
        let failure = no_repository(name, &self.place.account);
        self.repositories.get_mut(name).ok_or(failure)
    }
}

pub fn no_repository(name: &str, account: &str) -> Failure {
    let message = format!(
        "The repository with name '{name}' does not exist in the registry with id '{account}'"
    );
    Failure::new("RepositoryNotFoundException", message)
}

/// Why a tag can't be given.
pub enum Refused {
    /// The tag is there, and stays where it is.
    Immutable,
    /// There is nothing to change.
    Same,
}

impl Repository {
    pub fn new(name: &str, created: Time) -> Self {
        Self {
            name: name.into(),
            created,
            mutability: "MUTABLE".into(),
            exclusions: Vec::new(),
            scan_on_push: false,
            encryption: json!({"encryptionType": "AES256"}),
            lifecycle: None,
            tags: BTreeMap::new(),
            images: BTreeMap::new(),
        }
    }

    pub fn tagged(&self, tag: &str) -> Option<&Image> {
        self.images.values().find(|image| image.tags.contains(tag))
    }

    /// Whether a tag, once given, stays.
    fn keeps(&self, tag: &str) -> bool {
        let excluded = self.exclusions.iter().any(|pattern| glob(pattern, tag));
        match &*self.mutability {
            "IMMUTABLE" => true,
            "IMMUTABLE_WITH_EXCLUSION" => !excluded,
            "MUTABLE_WITH_EXCLUSION" => excluded,
            _ => false,
        }
    }

    /// # Errors
    /// The image can't be given this tag, or has it already.
    pub fn may_tag(&self, tag: Option<&str>, digest: &str) -> Result<(), Refused> {
        let there = tag.map_or(self.images.get(digest), |tag| self.tagged(tag));
        match there {
            Some(image) if image.digest == digest => Err(Refused::Same),
            Some(_) if tag.is_some_and(|tag| self.keeps(tag)) => Err(Refused::Immutable),
            _ => Ok(()),
        }
    }

    /// Whether a push through Docker's protocol with this tag is refused: even with the same image.
    pub fn refuses_push(&self, tag: &str) -> bool {
        self.keeps(tag) && self.tagged(tag).is_some()
    }

    /// Takes an image in and moves the tag to it.
    pub fn store(&mut self, manifest: &[u8], media_type: &str, tag: Option<&str>, now: Time) {
        let digest = digest(manifest);
        if let Some(tag) = tag {
            self.images.values_mut().for_each(|image| {
                image.tags.remove(tag);
            });
        }
        let new = Image {
            digest: digest.clone(),
            media_type: media_type.into(),
            size: size(manifest),
            pushed: now,
            tags: BTreeSet::new(),
        };
        let image = self.images.entry(digest).or_insert(new);
        image.tags.extend(tag.map(str::to_owned));
    }
}

pub fn digest(manifest: &[u8]) -> String {
    format!("sha256:{}", ids::sha256(manifest))
}

fn size(manifest: &[u8]) -> u64 {
    let manifest: Value = serde_json::from_slice(manifest).unwrap_or_default();
    let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
    let sizes = layers.iter().chain([&manifest["config"]]);
    sizes.filter_map(|part| part["size"].as_u64()).sum()
}

/// The type that a manifest says it is of.
pub fn media_type(manifest: &[u8]) -> Option<String> {
    let manifest: Value = serde_json::from_slice(manifest).ok()?;
    manifest["mediaType"].as_str().map(str::to_owned)
}

pub fn answer(world: &mut World, place: &Place, call: &Call) -> Done {
    let now = world.now();
    let input = &call.input;
    match &*call.operation {
        "GetAuthorizationToken" => authorize(world, place, input),
        "BatchGetImage" => images::get(world, place, input),
        "PutImage" => images::put(world, place, input),
        other => {
            let ecr = &mut world.region(place).ecr;
            let done = repositories::answer(ecr, other, input, now);
            done.or_else(|| images::answer(ecr, other, input))
                .unwrap_or_else(|| {
                    Err(Failure::new(
                        "UnknownOperationException",
                        format!("{other} isn't simulated"),
                    ))
                })
        }
    }
}

/// A password that looks like ECR's: Base64 of JSON, longer than a terminal's line.
fn password(expires: Time) -> String {
    let payload: String = (0..12).map(|_| ids::hex(64)).collect();
    let text = json!({
        "payload": STANDARD.encode(payload), "datakey": ids::hex(64), "version": "2", "type": "DATA_KEY",
        "expiration": expires as i64,
    });
    STANDARD.encode(text.to_string())
}

fn authorize(world: &mut World, place: &Place, input: &Value) -> Done {
    Input::new(input, &[], &["registryIds"])?;
    let expires = world.now() + world.token_life;
    let password = password(expires);
    let answer = json!({"authorizationData": [{
        "authorizationToken": STANDARD.encode(format!("AWS:{password}")),
        "expiresAt": expires,
        "proxyEndpoint": format!("http://{}", world.host),
    }]});
    let token = Token {
        place: place.clone(),
        expires,
    };
    world.tokens.insert(password, token);
    Ok(answer)
}
