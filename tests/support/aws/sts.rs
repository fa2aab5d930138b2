//! Security Token Service: who asks, and becoming somebody else. Knows nothing of the other services.

use serde_json::{Value, json};

use super::clock::Time;
use super::ids;
use super::wire::{Call, Done, Failure, Input};

/// Somebody who may ask.
#[derive(Clone, Debug)]
pub struct Identity {
    pub account: String,
    pub arn: String,
    pub user_id: String,
    /// None for those of a user, which last.
    pub expires: Option<Time>,
}

impl Identity {
    pub fn user(account: &str, name: &str) -> Self {
        Self {
            account: account.into(),
            arn: format!("arn:aws:iam::{account}:user/{name}"),
            user_id: "AIDAFORGE0SIMULATOR00".into(),
            expires: None,
        }
    }
}

/// An answer, and the credentials that it hands out with their access key.
type Handed = Result<(Value, Option<(String, Identity)>), Failure>;

pub fn answer(call: &Call, caller: &Identity, now: Time) -> Handed {
    match &*call.operation {
        "GetCallerIdentity" => Ok((who(call, caller)?, None)),
        "AssumeRole" => {
            let required = ["RoleArn", "RoleSessionName"];
            let optional = ["DurationSeconds", "ExternalId", "Policy"];
            assume(&Input::new(&call.input, &required, &optional)?, now)
        }
        "AssumeRoleWithWebIdentity" => {
            let required = ["RoleArn", "RoleSessionName", "WebIdentityToken"];
            let optional = ["DurationSeconds", "ProviderId", "Policy"];
            assume(&Input::new(&call.input, &required, &optional)?, now)
        }
        other => {
            let message = format!("Could not find operation {other} for version 2011-06-15");
            Err(Failure::new("InvalidAction", message))
        }
    }
}

/// Whether nobody signs this: the caller has no credentials yet.
pub fn is_unsigned(call: &Call) -> bool {
    call.name() == "sts:AssumeRoleWithWebIdentity"
}

fn who(call: &Call, caller: &Identity) -> Done {
    Input::new(&call.input, &[], &[])?;
    Ok(json!({"Arn": caller.arn, "UserId": caller.user_id, "Account": caller.account}))
}

/// Account and name of `arn:aws:iam::ACCOUNT:role/PATH/NAME`.
fn role(arn: &str) -> Option<(&str, &str)> {
    let (account, path) = arn.strip_prefix("arn:aws:iam::")?.split_once(":role/")?;
    Some((account, path.rsplit('/').next()?))
}

fn assume(input: &Input, now: Time) -> Handed {
    let (arn, session) = (input.needed("RoleArn")?, input.needed("RoleSessionName")?);
    let seconds = input
        .text("DurationSeconds")?
        .and_then(|text| text.parse().ok());
    let invalid = || Failure::new("ValidationError", format!("{arn} is invalid"));
    let (account, name) = role(arn).ok_or_else(invalid)?;
    let key = format!("ASIA{}", ids::hex(16).to_uppercase());
    let user_id = format!("AROA{}:{session}", ids::hex(17).to_uppercase());
    let arn = format!("arn:aws:sts::{account}:assumed-role/{name}/{session}");
    let expires = now + seconds.unwrap_or(3600.0);
    let answer = json!({
        "Credentials": {
            "AccessKeyId": key, "SecretAccessKey": ids::hex(40), "SessionToken": ids::hex(64),
            "Expiration": iso(expires),
        },
        "AssumedRoleUser": {"AssumedRoleId": user_id, "Arn": arn},
    });
    let expires = Some(expires);
    let identity = Identity {
        account: account.into(),
        arn,
        user_id,
        expires,
    };
    Ok((answer, Some((key, identity))))
}

fn iso(time: Time) -> String {
    let time = jiff::Timestamp::from_second(time as i64).unwrap_or_default();
    time.to_string()
}
