//! PagerDuty, Events API v2: an incident an environment, opened by what fails and closed by the next success.
//!
//! A second failure of the same environment belongs to the same incident: whoever is on call has one thing to
//! look at, with what happened last. A rollback says that the environment runs what it ran before: it closes the
//! incident, unless the notifier asks to hear of rollbacks.
//!
//! <https://developer.pagerduty.com/docs/events-api-v2/trigger-events/>

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::Failure;
use super::excerpt::cut;
use super::http::Post;
use super::notice::{Kind, Notice};
use super::outbox::Answer;
use super::settings::{Settings, place};

const API: &str = "https://events.pagerduty.com/v2/enqueue";
/// PagerDuty's limit, in characters.
const SUMMARY: usize = 1024;

/// # Errors
/// It didn't arrive.
pub fn send(settings: &Settings, notice: &Notice, until: Instant) -> Result<Answer, Failure> {
    let key = settings.required("key")?;
    let uri = settings.url(Some(API))?;
    let host = place(&uri);
    let mut answer = Answer::new(host.clone(), "nothing to say".to_owned());
    for event in events(notice, key, &settings.on) {
        let post = Post {
            uri: uri.clone(),
            headers: Vec::new(),
            body: event.to_string(),
        };
        let reply = post.send(until)?;
        answer = Answer::new(host.clone(), format!("{} {}", reply.status, reply.body));
    }
    Ok(answer)
}

/// What is sent for a notice: nothing for a deployment that only starts.
fn events(notice: &Notice, key: &str, on: &[String]) -> Vec<Value> {
    match notice.kind {
        Kind::RunFailed | Kind::TargetFailed | Kind::TargetKeepsFailing => {
            vec![trigger(notice, key, "error")]
        }
        Kind::TargetFlaky => vec![trigger(notice, key, "warning")],
        Kind::DeployFailed => vec![trigger(notice, key, "critical")],
        Kind::RolledBack if on.iter().any(|on| on == Kind::RolledBack.name()) => {
            vec![trigger(notice, key, "warning")]
        }
        Kind::DeploySucceeded | Kind::RolledBack => vec![resolve(notice, key)],
        Kind::DeployStarted => Vec::new(),
        // Nobody is to be woken by a test for longer than it takes.
        Kind::Test => vec![trigger(notice, key, "info"), resolve(notice, key)],
    }
}

fn trigger(notice: &Notice, key: &str, severity: &str) -> Value {
    let about = &notice.about;
    let mut details = Map::new();
    let facts = notice.facts().into_iter();
    details.extend(facts.map(|(name, value)| (name.to_owned(), value.into())));
    if !notice.reasons().is_empty() {
        details.insert("Why".into(), cut(&notice.reasons().join("\n"), 4000).into());
    }
    if let Some((whose, log)) = notice.log() {
        details.insert(format!("Last lines of {whose}"), log.into());
    }
    let links = notice.links().into_iter();
    let links: Vec<Value> = links
        .map(|(text, href)| json!({ "href": href, "text": text }))
        .collect();
    json!({
        "routing_key": key,
        "event_action": "trigger",
        "dedup_key": dedup_key(notice),
        "client": "forge",
        "client_url": about.link,
        "links": links,
        "payload": {
            "summary": cut(&notice.title(), SUMMARY),
            "source": cut(&about.project, 255),
            "severity": severity,
            "component": component(notice),
            "group": about.project,
            "class": notice.kind.name(),
            "custom_details": details,
        },
    })
}

fn resolve(notice: &Notice, key: &str) -> Value {
    json!({ "routing_key": key, "event_action": "resolve", "dedup_key": dedup_key(notice) })
}

/// What the incident is about: an environment; else the branch, or the target on it.
fn dedup_key(notice: &Notice) -> String {
    let project = &notice.about.project;
    let branch = notice.about.branch.as_deref().unwrap_or("-");
    let key = match (&notice.deployment, notice.kind, notice.targets.first()) {
        (Some(deployment), ..) => format!("environment/{}", deployment.environment),
        (None, Kind::TargetFailed | Kind::TargetFlaky | Kind::TargetKeepsFailing, Some(target)) => {
            format!("{}/{branch}/{}", notice.kind.name(), target.target)
        }
        (None, kind, _) => format!("{}/{branch}", kind.name()),
    };
    let whole = format!("forge/{project}/{key}");
    // PagerDuty takes 255 characters; what is longer must still differ.
    match whole.len() > 255 {
        true => format!("forge/{}", blake3::hash(whole.as_bytes()).to_hex()),
        false => whole,
    }
}

fn component(notice: &Notice) -> Option<String> {
    let environment = notice.deployment.as_ref().map(|it| it.environment.clone());
    environment.or_else(|| notice.targets.first().map(|first| first.target.clone()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::notify::notice::{About, Deployment, Trouble};

    fn deploy(kind: Kind, environment: &str) -> Notice {
        let about = About {
            project: "shop".into(),
            branch: Some(format!("branch-{kind:?}")),
            ..About::default()
        };
        let deployment = Deployment {
            environment: environment.into(),
            reason: Some("tasks stop".into()),
            ..Deployment::default()
        };
        Notice::deployment(kind, about, deployment)
    }

    fn actions(notice: &Notice, on: &[&str]) -> Vec<(String, String, String)> {
        let on: Vec<String> = on.iter().map(|on| on.to_string()).collect();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let events = events(notice, "KEY", &on).into_iter();
        let event = |event: Value| {
            assert_eq!(event["routing_key"], "KEY");
            let severity = text(&event["payload"]["severity"]);
            (
                text(&event["event_action"]),
                text(&event["dedup_key"]),
                severity,
            )
        };
        events.map(event).collect()
    }

    #[test]
    fn an_environment_has_one_incident_that_the_next_success_closes() {
        let on = &["deploy-failed"];
        let expect = |kind, action: &str, severity: &str| {
            let is = actions(&deploy(kind, "prod"), on);
            let key = "forge/shop/environment/prod".to_owned();
            assert_eq!(
                is,
                [(action.to_owned(), key, severity.to_owned())],
                "{kind:?}"
            );
        };
        expect(Kind::DeployFailed, "trigger", "critical");
        expect(Kind::DeploySucceeded, "resolve", "");
        expect(Kind::RolledBack, "resolve", "");
        assert_eq!(actions(&deploy(Kind::DeployStarted, "prod"), on), []);
        let both = &["deploy-failed", "rolled-back"];
        assert_eq!(
            actions(&deploy(Kind::RolledBack, "prod"), both)[0].0,
            "trigger"
        );
        let other = &actions(&deploy(Kind::DeployFailed, "dev"), on)[0];
        assert_eq!(other.1, "forge/shop/environment/dev");
    }

    #[test]
    fn targets_have_incidents_of_their_own_and_tests_none_that_stays() {
        let target = |name: &str| Trouble::new(name, "r", b"", Duration::ZERO);
        let about = About {
            project: "p".repeat(400),
            ..About::default()
        };
        let key = |name| {
            let notice = Notice::target(Kind::TargetFailed, about.clone(), target(name));
            actions(&notice, &[])[0].1.clone()
        };
        assert_ne!(key("a"), key("b"));
        assert!(key("a").len() <= 255);
        let test = actions(&Notice::test(about), &[]);
        let words: Vec<&str> = test.iter().map(|event| event.0.as_str()).collect();
        assert_eq!(words, ["trigger", "resolve"]);
        assert_eq!(test[0].1, test[1].1);
    }
}
