//! Calls about repositories and their settings.

use serde_json::{Value, json};

use super::super::clock::Time;
use super::super::wire::{self, Done, Failure, Input};
use super::{Ecr, Repository};

const MUTABILITIES: &[&str] = &[
    "MUTABLE",
    "IMMUTABLE",
    "IMMUTABLE_WITH_EXCLUSION",
    "MUTABLE_WITH_EXCLUSION",
];

/// None for calls about something else.
pub fn answer(ecr: &mut Ecr, operation: &str, input: &Value, now: Time) -> Option<Done> {
    Some(match operation {
        "CreateRepository" => create(ecr, input, now),
        "DescribeRepositories" => describe(ecr, input),
        "DeleteRepository" => delete(ecr, input),
        "PutImageTagMutability" => put_mutability(ecr, input),
        "PutImageScanningConfiguration" => put_scanning(ecr, input),
        "PutLifecyclePolicy" => put_lifecycle(ecr, input),
        "GetLifecyclePolicy" => get_lifecycle(ecr, input),
        "ListTagsForResource" => list_tags(ecr, input),
        "TagResource" => tag(ecr, input),
        _ => return None,
    })
}

impl Ecr {
    fn shown(&self, repository: &Repository) -> Value {
        let name = &repository.name;
        let filters = repository.exclusions.iter();
        let filters: Vec<Value> = filters
            .map(|filter| json!({"filterType": "WILDCARD", "filter": filter}))
            .collect();
        let mut shown = json!({
            "repositoryArn": self.place.arn("ecr", &format!("repository/{name}")),
            "registryId": self.place.account,
            "repositoryName": name,
            "repositoryUri": format!("{}/{name}", self.host),
            "createdAt": repository.created,
            "imageTagMutability": repository.mutability,
            "imageScanningConfiguration": {"scanOnPush": repository.scan_on_push},
            "encryptionConfiguration": repository.encryption,
        });
        if !filters.is_empty() {
            shown["imageTagMutabilityExclusionFilters"] = filters.into();
        }
        shown
    }

    fn by_arn(&mut self, arn: &str) -> Result<&mut Repository, Failure> {
        let name = arn.split_once(":repository/").map(|(_, name)| name);
        let invalid = || Failure::invalid(format!("Invalid parameter at 'resourceArn': {arn}"));
        self.repository(name.ok_or_else(invalid)?)
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let ends = part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric());
        ends && part
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
    };
    (2..=256).contains(&name.len()) && name.split('/').all(is_part)
}

fn set_mutability(repository: &mut Repository, input: &Input) -> Result<(), Failure> {
    let mutability = input.text("imageTagMutability")?.unwrap_or("MUTABLE");
    let filters = input.list("imageTagMutabilityExclusionFilters")?.iter();
    let pattern = |filter: &Value| filter["filter"].as_str().map(str::to_owned);
    let exclusions: Vec<String> = filters.filter_map(pattern).collect();
    let fits = exclusions.is_empty() != mutability.ends_with("_WITH_EXCLUSION");
    if !MUTABILITIES.contains(&mutability) || !fits || exclusions.len() > 5 {
        return Err(Failure::invalid(
            "Invalid parameter at 'imageTagMutability' or 'imageTagMutabilityExclusionFilters'",
        ));
    }
    repository.mutability = mutability.into();
    repository.exclusions = exclusions;
    Ok(())
}

fn create(ecr: &mut Ecr, input: &Value, now: Time) -> Done {
    let optional = [
        "registryId",
        "tags",
        "imageTagMutability",
        "imageTagMutabilityExclusionFilters",
        "imageScanningConfiguration",
        "encryptionConfiguration",
    ];
    let input = Input::new(input, &["repositoryName"], &optional)?;
    let name = input.needed("repositoryName")?;
    if !is_name(name) {
        return Err(Failure::invalid(format!(
            "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression': {name}"
        )));
    }
    if ecr.repositories.contains_key(name) {
        let account = &ecr.place.account;
        let message = format!(
            "The repository with name '{name}' already exists in the registry with id '{account}'"
        );
        return Err(Failure::new("RepositoryAlreadyExistsException", message));
    }
    let mut repository = Repository::new(name, now);
    set_mutability(&mut repository, &input)?;
    let scanning = input.value("imageScanningConfiguration");
    repository.scan_on_push = scanning.is_some_and(|value| value["scanOnPush"] == true);
    if let Some(encryption) = input.value("encryptionConfiguration") {
        repository.encryption = encryption.clone();
    }
    repository.tags.extend(wire::tags(input.list("tags")?));
    let shown = ecr.shown(&repository);
    ecr.repositories.insert(name.into(), repository);
    Ok(json!({"repository": shown}))
}

fn describe(ecr: &mut Ecr, input: &Value) -> Done {
    let optional = ["registryId", "repositoryNames", "nextToken", "maxResults"];
    let input = Input::new(input, &[], &optional)?;
    let names = input.texts("repositoryNames")?;
    for name in &names {
        ecr.repository(name)?;
    }
    let all = ecr.repositories.values();
    let wanted = all.filter(|have| names.is_empty() || names.contains(&have.name));
    let shown: Vec<Value> = wanted.map(|repository| ecr.shown(repository)).collect();
    input.page("repositories", shown, 100)
}

fn delete(ecr: &mut Ecr, input: &Value) -> Done {
    let input = Input::new(input, &["repositoryName"], &["registryId", "force"])?;
    let name = input.needed("repositoryName")?;
    if !ecr.repository(name)?.images.is_empty() && !input.flag("force")? {
        let account = &ecr.place.account;
        let message = format!(
            "The repository with name '{name}' in registry with id '{account}' cannot be deleted because it \
             still contains images"
        );
        return Err(Failure::new("RepositoryNotEmptyException", message));
    }
    let removed = ecr.repositories.remove(name);
    let shown = removed.map(|repository| ecr.shown(&repository));
    Ok(json!({"repository": shown}))
}

fn put_mutability(ecr: &mut Ecr, input: &Value) -> Done {
    let required = ["repositoryName", "imageTagMutability"];
    let optional = ["registryId", "imageTagMutabilityExclusionFilters"];
    let input = Input::new(input, &required, &optional)?;
    let account = ecr.place.account.clone();
    let repository = ecr.repository(input.needed("repositoryName")?)?;
    set_mutability(repository, &input)?;
    Ok(json!({
        "registryId": account, "repositoryName": repository.name,
        "imageTagMutability": repository.mutability,
    }))
}

fn put_scanning(ecr: &mut Ecr, input: &Value) -> Done {
    let required = ["repositoryName", "imageScanningConfiguration"];
    let input = Input::new(input, &required, &["registryId"])?;
    let account = ecr.place.account.clone();
    let repository = ecr.repository(input.needed("repositoryName")?)?;
    let scanning = input.value("imageScanningConfiguration");
    repository.scan_on_push = scanning.is_some_and(|value| value["scanOnPush"] == true);
    Ok(json!({
        "registryId": account, "repositoryName": repository.name,
        "imageScanningConfiguration": {"scanOnPush": repository.scan_on_push},
    }))
}

fn put_lifecycle(ecr: &mut Ecr, input: &Value) -> Done {
    let required = ["repositoryName", "lifecyclePolicyText"];
    let input = Input::new(input, &required, &["registryId"])?;
    let text = input.needed("lifecyclePolicyText")?;
    let policy: Result<Value, _> = serde_json::from_str(text);
    if !policy.is_ok_and(|policy| policy["rules"].is_array()) {
        return Err(Failure::invalid(
            "Invalid parameter at 'LifecyclePolicyText': no rules",
        ));
    }
    let account = ecr.place.account.clone();
    let repository = ecr.repository(input.needed("repositoryName")?)?;
    repository.lifecycle = Some(text.into());
    Ok(
        json!({"registryId": account, "repositoryName": repository.name, "lifecyclePolicyText": text}),
    )
}

fn get_lifecycle(ecr: &mut Ecr, input: &Value) -> Done {
    let input = Input::new(input, &["repositoryName"], &["registryId"])?;
    let account = ecr.place.account.clone();
    let repository = ecr.repository(input.needed("repositoryName")?)?;
    let Some(text) = &repository.lifecycle else {
        let message = format!(
            "Lifecycle policy does not exist for the repository with name '{}' in the registry with id '{account}'",
            repository.name
        );
        return Err(Failure::new("LifecyclePolicyNotFoundException", message));
    };
    Ok(
        json!({"registryId": account, "repositoryName": repository.name, "lifecyclePolicyText": text}),
    )
}

fn list_tags(ecr: &mut Ecr, input: &Value) -> Done {
    let input = Input::new(input, &["resourceArn"], &[])?;
    let repository = ecr.by_arn(input.needed("resourceArn")?)?;
    let tags = repository.tags.iter();
    let tags: Vec<Value> = tags
        .map(|(key, value)| json!({"Key": key, "Value": value}))
        .collect();
    Ok(json!({"tags": tags}))
}

fn tag(ecr: &mut Ecr, input: &Value) -> Done {
    let input = Input::new(input, &["resourceArn", "tags"], &[])?;
    let repository = ecr.by_arn(input.needed("resourceArn")?)?;
    repository.tags.extend(wire::tags(input.list("tags")?));
    Ok(json!({}))
}
