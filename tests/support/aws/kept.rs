//! What a deploy only asks after: secrets, parameters and roles. Knows nothing of who needs them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::clock::Time;
use super::ids;
use super::wire::{Call, Done, Failure, Input};
use super::world::Place;

pub struct Kept {
    place: Place,
    /// Values by name.
    pub secrets: BTreeMap<String, String>,
    /// Values by name, as of SSM.
    pub parameters: BTreeMap<String, String>,
    /// Names of roles.
    pub roles: Vec<String>,
}

impl Kept {
    pub fn new(place: Place) -> Self {
        Self {
            place,
            secrets: BTreeMap::new(),
            parameters: BTreeMap::new(),
            roles: Vec::new(),
        }
    }

    /// The ARN of a secret, which ends in six characters of its own.
    pub fn secret_arn(&self, name: &str) -> String {
        let end = &ids::sha256(name.as_bytes())[..6];
        self.place
            .arn("secretsmanager", &format!("secret:{name}-{end}"))
    }

    /// By name, or by ARN with or without its end.
    fn secret(&self, id: &str) -> Option<(&String, &String)> {
        let named = |name: &str| {
            let arn = self.secret_arn(name);
            id == name || id == arn || arn.strip_suffix(&arn[arn.len() - 7..]) == Some(id)
        };
        self.secrets.iter().find(|(name, _)| named(name))
    }

    fn parameter(&self, id: &str) -> Option<(&String, &String)> {
        let name = id.split_once(":parameter").map_or(id, |(_, name)| name);
        let bare = |text: &str| text.trim_start_matches('/').to_owned();
        self.parameters
            .iter()
            .find(|(have, _)| bare(have) == bare(name))
    }

    /// Whether what a container's `valueFrom` names is there.
    pub fn has(&self, value_from: &str) -> bool {
        // A key and a version of a secret may follow: ARN:key:stage:version.
        let secret: Vec<&str> = value_from.split(':').take(7).collect();
        self.secret(&secret.join(":")).is_some() || self.parameter(value_from).is_some()
    }
}

pub fn answer(kept: &Kept, call: &Call, now: Time) -> Done {
    let input = &call.input;
    match &*call.name() {
        "secretsmanager:DescribeSecret" => describe_secret(kept, input, now),
        "secretsmanager:GetSecretValue" => secret_value(kept, input, now),
        "ssm:GetParameters" => parameters(kept, input),
        "ssm:GetParameter" => parameter(kept, input),
        "iam:GetRole" => role(kept, input),
        other => Err(Failure::new(
            "UnknownOperationException",
            format!("{other} isn't simulated"),
        )),
    }
}

fn asked<'a>(kept: &'a Kept, input: &Input) -> Result<(&'a String, &'a String), Failure> {
    let message = "Secrets Manager can't find the specified secret.";
    let missing = || Failure::new("ResourceNotFoundException", message);
    kept.secret(input.needed("SecretId")?).ok_or_else(missing)
}

fn version(name: &str) -> String {
    let hash = ids::sha256(format!("version of {name}").as_bytes());
    let parts = [
        &hash[..8],
        &hash[8..12],
        &hash[12..16],
        &hash[16..20],
        &hash[20..32],
    ];
    parts.join("-")
}

fn describe_secret(kept: &Kept, input: &Value, now: Time) -> Done {
    let input = Input::new(input, &["SecretId"], &[])?;
    let (name, _) = asked(kept, &input)?;
    Ok(json!({
        "ARN": kept.secret_arn(name), "Name": name, "LastChangedDate": now, "CreatedDate": now,
        "VersionIdsToStages": { version(name): ["AWSCURRENT"] },
    }))
}

fn secret_value(kept: &Kept, input: &Value, now: Time) -> Done {
    let input = Input::new(input, &["SecretId"], &["VersionId", "VersionStage"])?;
    let (name, value) = asked(kept, &input)?;
    Ok(json!({
        "ARN": kept.secret_arn(name), "Name": name, "VersionId": version(name), "SecretString": value,
        "VersionStages": ["AWSCURRENT"], "CreatedDate": now,
    }))
}

fn shown(kept: &Kept, name: &str, value: &str) -> Value {
    let path = name.trim_start_matches('/');
    json!({
        "Name": name, "Type": "SecureString", "Value": value, "Version": 1, "DataType": "text",
        "ARN": kept.place.arn("ssm", &format!("parameter/{path}")),
    })
}

fn parameters(kept: &Kept, input: &Value) -> Done {
    let input = Input::new(input, &["Names"], &["WithDecryption"])?;
    let names = input.texts("Names")?;
    if names.is_empty() || names.len() > 10 {
        return Err(Failure::new(
            "ValidationException",
            "Names must have 1 to 10 elements",
        ));
    }
    let (mut found, mut invalid) = (Vec::new(), Vec::new());
    for name in names {
        match kept.parameter(&name) {
            Some((name, value)) => found.push(shown(kept, name, value)),
            None => invalid.push(name),
        }
    }
    Ok(json!({"Parameters": found, "InvalidParameters": invalid}))
}

fn parameter(kept: &Kept, input: &Value) -> Done {
    let input = Input::new(input, &["Name"], &["WithDecryption"])?;
    let missing = || Failure::new("ParameterNotFound", "");
    let (name, value) = kept.parameter(input.needed("Name")?).ok_or_else(missing)?;
    Ok(json!({"Parameter": shown(kept, name, value)}))
}

fn role(kept: &Kept, input: &Value) -> Done {
    let input = Input::new(input, &["RoleName"], &[])?;
    let name = input.needed("RoleName")?;
    if !kept.roles.iter().any(|role| role == name) {
        let message = format!("The role with name {name} cannot be found.");
        return Err(Failure::with_status(404, "NoSuchEntity", message));
    }
    let id = ids::sha256(name.as_bytes())[..17].to_uppercase();
    Ok(json!({"Role": {
        "Path": "/", "RoleName": name, "RoleId": format!("AROA{id}"),
        "Arn": format!("arn:aws:iam::{}:role/{name}", kept.place.account),
        "CreateDate": "2024-01-01T00:00:00Z", "MaxSessionDuration": 3600,
    }}))
}
