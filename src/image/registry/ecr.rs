//! Amazon ECR. Tags are read and written through its own API, one call for many; only an image's configuration
//! comes through the distribution API, with the token that the engine pushes with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_ecr::types::{
    ImageFailureCode, ImageIdentifier, ImageScanningConfiguration, Repository,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Registry;
use super::client::{Client, Manifest};
use super::credentials::Credentials;
use super::error::{RegistryError, RegistryErrorKind as Kind};
use super::manifest::MEDIA_TYPES;
use super::reference::{Digest, check_repository};
use super::settings::TagRules;
use crate::aws::{Aws, AwsErrorKind, Place};

/// A token is asked for anew when it expires within this: a push takes its time.
const NEARLY_EXPIRED: Duration = Duration::from_secs(10 * 60);
/// For one question to the distribution API.
const PATIENCE: Duration = Duration::from_secs(60);
/// What BatchGetImage takes at once.
const MOST_IMAGES: usize = 100;

/// `[registry] ecr = { … }`.
pub struct Ecr {
    api: Arc<Api>,
    create_repository: bool,
    /// What AWS has told of repositories, by name.
    known: Mutex<HashMap<String, Known>>,
    http: OnceLock<Client>,
}

#[derive(Clone)]
struct Known {
    /// `repositoryUri`
    name: String,
    rules: TagRules,
}

/// ECR's own API, and the token that it gave.
struct Api {
    aws: Aws,
    ecr: aws_sdk_ecr::Client,
    /// `None`: the caller's.
    account: Option<String>,
    token: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    credentials: Credentials,
    host: String,
    expires: SystemTime,
}

impl Ecr {
    /// Finds credentials; asks nothing of ECR yet.
    pub fn connect(
        region: Option<String>,
        account: Option<String>,
        create_repository: bool,
    ) -> Result<Ecr, RegistryError> {
        let place = Place {
            region,
            ..Place::default()
        };
        let aws = Aws::connect(&place)?;
        let ecr = aws_sdk_ecr::Client::new(aws.config());
        Ok(Ecr {
            api: Arc::new(Api {
                aws,
                ecr,
                account,
                token: Mutex::new(None),
            }),
            create_repository,
            known: Mutex::new(HashMap::new()),
            http: OnceLock::new(),
        })
    }

    /// `Ok(None)`: the caller may not look, which who only pushes needn't.
    fn describe(&self, repository: &str) -> Result<Option<Repository>, RegistryError> {
        let api = &self.api;
        let asked = api
            .ecr
            .describe_repositories()
            .set_registry_id(api.account.clone())
            .repository_names(repository);
        match api.aws.call("ecr:DescribeRepositories", asked.send()) {
            Ok(answer) => Ok(answer.repositories.into_iter().flatten().next()),
            Err(error) if error.kind == AwsErrorKind::Denied => Ok(None),
            Err(error) if error.kind == AwsErrorKind::NotFound => {
                let region = api.aws.region();
                let message = format!("there is no repository \"{repository}\" in ECR in {region}");
                let help = format!(
                    "set `create-repository = true` in `ecr` under [registry], or: \
                     aws ecr create-repository --repository-name {repository} --region {region}"
                );
                Err(RegistryError::new(Kind::NotFound, message).with_help(help))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Scanned on push; its tags name one image for good, except for those that are meant to move. One that somebody
    /// else has made meanwhile is as good.
    fn create(
        &self,
        repository: &str,
        moving: &[String],
    ) -> Result<Option<Repository>, RegistryError> {
        let api = &self.api;
        let rules = TagRules::for_moving(moving);
        let asked = api
            .ecr
            .create_repository()
            .set_registry_id(api.account.clone())
            .repository_name(repository)
            .image_scanning_configuration(
                ImageScanningConfiguration::builder()
                    .scan_on_push(true)
                    .build(),
            )
            .image_tag_mutability(rules.mutability())
            .set_image_tag_mutability_exclusion_filters(Some(rules.filters()?));
        match api.aws.call("ecr:CreateRepository", asked.send()) {
            Ok(answer) => Ok(answer.repository),
            Err(error) if error.kind == AwsErrorKind::Conflict => self.describe(repository),
            Err(error) => Err(error.into()),
        }
    }

    fn known(&self, repository: &str) -> Option<Known> {
        let known = self.known.lock().ok()?;
        known.get(repository).cloned()
    }

    /// Remembers what it is, once it is in the account that the pipeline file says.
    fn keep(&self, name: &str, repository: Repository) -> Result<(), RegistryError> {
        check_account(
            self.api.account.as_deref(),
            repository.registry_id.as_deref(),
        )?;
        let rules = TagRules::of(&repository);
        if let (Some(uri), Ok(mut known)) = (repository.repository_uri, self.known.lock()) {
            known.insert(name.to_owned(), Known { name: uri, rules });
        }
        Ok(())
    }

    fn http(&self) -> Result<&Client, RegistryError> {
        if let Some(client) = self.http.get() {
            return Ok(client);
        }
        let host = self.host()?;
        let api = Arc::clone(&self.api);
        let lookup = move || Ok(Some(api.token()?.credentials));
        let client = Client::new(&host, PATIENCE, Box::new(lookup));
        Ok(self.http.get_or_init(|| client))
    }
}

impl Api {
    /// The one that was given last, or another where that nearly expires.
    fn token(&self) -> Result<Token, RegistryError> {
        let kept = self.token.lock().ok().and_then(|token| token.clone());
        let fresh = |token: &Token| token.expires > SystemTime::now() + NEARLY_EXPIRED;
        if let Some(token) = kept.filter(fresh) {
            return Ok(token);
        }
        let asked = self.ecr.get_authorization_token().send();
        let answer = self.aws.call("ecr:GetAuthorizationToken", asked)?;
        let given = answer.authorization_data.into_iter().flatten().next();
        let token = given.and_then(|data| {
            let expires = u64::try_from(data.expires_at?.secs()).ok()?;
            Some(Token {
                credentials: credentials(&data.authorization_token?)?,
                host: host(&data.proxy_endpoint?, self.account.as_deref()),
                expires: UNIX_EPOCH + Duration::from_secs(expires),
            })
        });
        let token = token.ok_or_else(|| {
            RegistryError::other("ecr:GetAuthorizationToken gave nothing that can be used")
        })?;
        if let Ok(mut kept) = self.token.lock() {
            *kept = Some(token.clone());
        }
        Ok(token)
    }

    /// The images that are there of those asked for, at most [`MOST_IMAGES`].
    fn images(
        &self,
        repository: &str,
        wanted: Vec<ImageIdentifier>,
    ) -> Result<Vec<aws_sdk_ecr::types::Image>, RegistryError> {
        let asked = self
            .ecr
            .batch_get_image()
            .set_registry_id(self.account.clone())
            .repository_name(repository)
            .set_image_ids(Some(wanted))
            .set_accepted_media_types(Some(MEDIA_TYPES.map(str::to_owned).to_vec()));
        let answer = match self.aws.call("ecr:BatchGetImage", asked.send()) {
            Ok(answer) => answer,
            // No repository, no images.
            Err(error) if error.kind == AwsErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut failures = answer.failures.into_iter().flatten();
        let bad =
            failures.find(|failure| failure.failure_code != Some(ImageFailureCode::ImageNotFound));
        match bad {
            None => Ok(answer.images.unwrap_or_default()),
            Some(failure) => {
                let why = failure
                    .failure_reason
                    .unwrap_or_else(|| format!("{:?}", failure.failure_code));
                Err(RegistryError::other(format!(
                    "ecr:BatchGetImage failed for {repository}: {why}"
                )))
            }
        }
    }
}

impl Registry for Ecr {
    fn host(&self) -> Result<String, RegistryError> {
        Ok(self.api.token()?.host)
    }

    fn name(&self, repository: &str) -> Result<String, RegistryError> {
        match self.known(repository) {
            Some(known) => Ok(known.name),
            None => Ok(format!("{}/{repository}", self.host()?)),
        }
    }

    fn login(&self) -> Result<Option<Credentials>, RegistryError> {
        Ok(Some(self.api.token()?.credentials))
    }

    fn renew(&self) {
        if let Ok(mut token) = self.api.token.lock() {
            *token = None;
        }
    }

    fn prepare(&self, repository: &str, moving: &[String]) -> Result<(), RegistryError> {
        check_repository(repository)?;
        let found = match self.describe(repository) {
            Err(error) if error.kind == Kind::NotFound && self.create_repository => {
                self.create(repository, moving)?
            }
            found => found?,
        };
        found.map_or(Ok(()), |found| self.keep(repository, found))
    }

    fn moves(&self, repository: &str, tag: &str) -> bool {
        let known = self.known(repository);
        known.is_none_or(|known| known.rules.moves(tag))
    }

    fn digests(
        &self,
        repository: &str,
        tags: &[&str],
    ) -> Result<Vec<Option<Digest>>, RegistryError> {
        let mut known = HashMap::new();
        for tags in tags.chunks(MOST_IMAGES) {
            let wanted = tags
                .iter()
                .map(|tag| ImageIdentifier::builder().image_tag(*tag).build());
            for image in self.api.images(repository, wanted.collect())? {
                let id = image
                    .image_id
                    .unwrap_or_else(|| ImageIdentifier::builder().build());
                if let (Some(tag), Some(digest)) = (id.image_tag, id.image_digest) {
                    known.insert(tag, digest.parse()?);
                }
            }
        }
        Ok(tags.iter().map(|tag| known.get(*tag).cloned()).collect())
    }

    fn manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Manifest>, RegistryError> {
        let wanted = ImageIdentifier::builder()
            .image_digest(digest.as_str())
            .build();
        let found = self
            .api
            .images(repository, vec![wanted])?
            .into_iter()
            .next();
        let Some(bytes) = found
            .as_ref()
            .and_then(|image| image.image_manifest.clone())
        else {
            return Ok(None);
        };
        let bytes = bytes.into_bytes();
        if Digest::of(&bytes) != *digest {
            let message = format!("ecr:BatchGetImage sent another manifest than that of {digest}");
            return Err(RegistryError::other(message));
        }
        let media_type = found.and_then(|image| image.image_manifest_media_type);
        Ok(Some(Manifest {
            media_type: media_type.unwrap_or_default(),
            bytes,
            digest: digest.clone(),
        }))
    }

    fn put(&self, repository: &str, tag: &str, manifest: &Manifest) -> Result<(), RegistryError> {
        let api = &self.api;
        let text = String::from_utf8(manifest.bytes.clone()).map_err(|_| {
            RegistryError::other(format!("the manifest {} isn't text", manifest.digest))
        })?;
        let asked = api
            .ecr
            .put_image()
            .set_registry_id(api.account.clone())
            .repository_name(repository)
            .image_manifest(text)
            .image_manifest_media_type(&manifest.media_type)
            .image_digest(manifest.digest.as_str())
            .image_tag(tag);
        let Err(error) = api.aws.call("ecr:PutImage", asked.send()) else {
            return Ok(());
        };
        match error.code.as_deref() {
            // It names this image already.
            Some("ImageAlreadyExistsException") => Ok(()),
            Some("ImageTagAlreadyExistsException") => {
                Err(RegistryError::new(Kind::Immutable, error.message))
            }
            _ => Err(error.into()),
        }
    }

    fn blob(&self, repository: &str, digest: &Digest) -> Result<Vec<u8>, RegistryError> {
        let client = self.http()?;
        match client.blob(repository, digest) {
            Err(error) if error.kind == Kind::Denied => {
                self.renew();
                client.blob(repository, digest)
            }
            answer => answer,
        }
    }
}

/// An image that went to the wrong account is found by nobody.
fn check_account(wanted: Option<&str>, answered: Option<&str>) -> Result<(), RegistryError> {
    match (wanted, answered) {
        (Some(wanted), Some(other)) if wanted != other => {
            let message = format!("ECR answered for account {other}, where {wanted} is wanted");
            Err(RegistryError::new(Kind::Denied, message)
                .with_help("check `account` of `ecr` under [registry], and who is calling"))
        }
        _ => Ok(()),
    }
}

/// `user:password` in base64.
fn credentials(token: &str) -> Option<Credentials> {
    let pair = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
    let (username, password) = pair.split_once(':')?;
    Some(Credentials {
        username: username.to_owned(),
        password: password.to_owned(),
        identity_token: None,
    })
}

/// Host and port of the endpoint, which is that of the caller's account; another account's has its own number.
fn host(endpoint: &str, account: Option<&str>) -> String {
    let host = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    match (account, host.split_once('.')) {
        (Some(account), Some((caller, rest)))
            if rest.starts_with("dkr.ecr") && caller.len() == 12 =>
        {
            format!("{account}.{rest}")
        }
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_that_of_the_account() {
        let own = "https://111122223333.dkr.ecr.eu-west-1.amazonaws.com";
        let host_of = |account| host(own, account);
        assert_eq!(
            host_of(None),
            "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
        );
        let other = host_of(Some("444455556666"));
        assert_eq!(other, "444455556666.dkr.ecr.eu-west-1.amazonaws.com");
        assert_eq!(
            host("http://127.0.0.1:5000/", Some("444455556666")),
            "127.0.0.1:5000"
        );
    }

    #[test]
    fn another_account_than_the_wanted_is_refused() {
        let (one, other) = (Some("111122223333"), Some("444455556666"));
        assert!(check_account(None, one).is_ok() && check_account(one, one).is_ok());
        let error = check_account(one, other).unwrap_err();
        assert_eq!(error.kind, Kind::Denied);
        assert!(error.message.contains("444455556666, where 111122223333"));
    }

    #[test]
    fn a_token_is_a_name_and_a_password() {
        let given = credentials(&STANDARD.encode("AWS:a:b")).unwrap();
        assert_eq!((&*given.username, &*given.password), ("AWS", "a:b"));
        assert!(credentials("?").is_none() && credentials(&STANDARD.encode("AWS")).is_none());
    }
}
