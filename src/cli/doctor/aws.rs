//! Who AWS takes the caller for, wherever this pipeline wants to be let in.

use crate::aws::{Aws, AwsError, Identity, Place};
use crate::engine::session::Session;
use crate::pipeline::model::{Environment, Kind, Provider, Registry, Workspace};

use super::{Finding, Mark};

const WHAT: &str = "AWS";

/// A place in AWS, and who wants to get in there.
struct Door {
    place: Place,
    /// The account that it has to be, where the pipeline file says.
    account: Option<String>,
    /// `images`, `environment prod`.
    who: Vec<String>,
}

/// Asks AWS once for each place that the pipeline's images and environments are in; nothing where there are none.
pub fn findings(session: &Session) -> Vec<Finding> {
    let mut doors = Vec::new();
    let mut findings = Vec::new();
    doors.extend(images(&session.ws));
    for environment in &session.ws.environments {
        match door(session, environment) {
            None => {}
            Some(Ok(door)) => add(&mut doors, door),
            Some(Err(why)) => {
                let text = format!("environment {}: {why}", environment.name);
                findings.push(Finding::new(Mark::Notice, WHAT, text));
            }
        }
    }
    findings.extend(doors.iter().map(|door| judge(door, &ask(&door.place))));
    findings
}

/// Where images go, if one goes to ECR.
fn images(ws: &Workspace) -> Option<Door> {
    let pushes = |kind: &Kind| matches!(kind, Kind::Image(image) if image.push);
    let Registry::Ecr {
        region, account, ..
    } = &ws.registry
    else {
        return None;
    };
    ws.targets.iter().find(|target| pushes(&target.kind))?;
    Some(Door {
        place: Place {
            region: region.clone(),
            ..Place::default()
        },
        account: account.clone(),
        who: vec!["images".into()],
    })
}

fn door(session: &Session, environment: &Environment) -> Option<Result<Door, String>> {
    if environment.provider != Provider::Ecs {
        return None;
    }
    let spec = session.environment_spec(environment);
    let door = spec.map(|spec| Door {
        place: Place {
            region: spec.region,
            profile: spec.profile,
            assume_role: spec.assume_role,
        },
        account: spec.account,
        who: vec![format!("environment {}", environment.name)],
    });
    Some(door.map_err(|fault| fault.message))
}

/// Two that want to be let in at one door are asked for once.
fn add(doors: &mut Vec<Door>, door: Door) {
    let same = |other: &&mut Door| other.place == door.place && other.account == door.account;
    match doors.iter_mut().find(same) {
        Some(other) => other.who.extend(door.who),
        None => doors.push(door),
    }
}

fn ask(place: &Place) -> Result<(Identity, String), AwsError> {
    let aws = Aws::connect(place)?;
    Ok((aws.identity()?, aws.region().to_owned()))
}

fn judge(door: &Door, answer: &Result<(Identity, String), AwsError>) -> Finding {
    let who = door.who.join(", ");
    match answer {
        Err(error) => Finding {
            help: error.help.clone(),
            ..Finding::new(Mark::Bad, WHAT, format!("{} ({who})", error.message))
        },
        Ok((identity, region)) => {
            let Identity { account, arn } = identity;
            let text = format!("account {account} as {arn} in {region} ({who})");
            match &door.account {
                Some(wanted) if wanted != account => {
                    let text = format!("{text}, but account {wanted} is wanted");
                    Finding::new(Mark::Bad, WHAT, text).help(
                        "log in there, set AWS_PROFILE, or correct `account` in the pipeline file",
                    )
                }
                _ => Finding::new(Mark::Good, WHAT, text),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(region: &str, account: Option<&str>, who: &str) -> Door {
        Door {
            place: Place {
                region: Some(region.into()),
                ..Place::default()
            },
            account: account.map(str::to_owned),
            who: vec![who.into()],
        }
    }

    #[test]
    fn one_door_is_asked_once() {
        let mut doors = Vec::new();
        add(&mut doors, at("a", None, "images"));
        add(&mut doors, at("a", None, "environment dev"));
        add(&mut doors, at("b", None, "environment prod"));
        add(&mut doors, at("a", Some("1"), "environment old"));
        let who: Vec<_> = doors.iter().map(|door| door.who.join("+")).collect();
        assert_eq!(
            who,
            [
                "images+environment dev",
                "environment prod",
                "environment old"
            ]
        );
    }

    #[test]
    fn another_account_is_bad() {
        let identity = Identity {
            account: "1".into(),
            arn: "arn:x".into(),
        };
        let answer = Ok((identity, "us-east-1".to_owned()));
        let mark = |account| judge(&at("us-east-1", account, "images"), &answer).mark;
        assert_eq!(mark(None), Mark::Good);
        assert_eq!(mark(Some("1")), Mark::Good);
        assert_eq!(mark(Some("2")), Mark::Bad);
    }
}
