//! A webhook: the notice as a JSON document of a shape that is promised (docs/notifications.md).

use std::time::Instant;

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::Failure;
use super::http::Post;
use super::notice::{Deployment, Notice, Trouble};
use super::outbox::Answer;
use super::settings::{Settings, place};

/// Of the document; raised when a field changes its meaning or goes.
const VERSION: u32 = 1;

/// # Errors
/// It didn't arrive.
pub fn send(settings: &Settings, notice: &Notice, until: Instant) -> Result<Answer, Failure> {
    let uri = settings.url(None)?;
    let host = place(&uri);
    let body = document(notice).to_string();
    let mut headers = vec![("X-Forge-Event", notice.kind.name().to_owned())];
    if let Some(token) = settings.get("token") {
        headers.push(("Authorization", format!("Bearer {token}")));
    }
    if let Some(key) = settings.get("key") {
        headers.push((
            "X-Forge-Signature-256",
            format!("sha256={}", signature(key, &body)?),
        ));
    }
    let reply = Post { uri, headers, body }.send(until)?;
    Ok(Answer::new(
        host,
        format!("{} {}", reply.status, reply.body),
    ))
}

/// HMAC-SHA256 of the body, in hexadecimal.
fn signature(key: &str, body: &str) -> Result<String, Failure> {
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes());
    let mut mac = mac.map_err(|_| Failure::undelivered("`key` can't sign", "set another key"))?;
    mac.update(body.as_bytes());
    let bytes = mac.finalize().into_bytes();
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn document(notice: &Notice) -> Value {
    let about = &notice.about;
    json!({
        "version": VERSION,
        "event": notice.kind.name(),
        "title": notice.title(),
        "project": about.project,
        "branch": about.branch,
        "commit": about.commit,
        "who": about.who,
        "run-url": about.link,
        "duration-ms": ms(notice.duration),
        "targets": notice.targets.iter().map(target).collect::<Vec<_>>(),
        "deployment": notice.deployment.as_ref().map(deployment),
    })
}

fn target(trouble: &Trouble) -> Value {
    json!({
        "target": trouble.target,
        "reason": trouble.reason,
        "duration-ms": ms(trouble.duration),
        "log": trouble.log,
    })
}

fn deployment(deployment: &Deployment) -> Value {
    json!({
        "environment": deployment.environment,
        "target": deployment.target,
        "url": deployment.url,
        "image": deployment.image,
        "revision": deployment.revision,
        "previous": deployment.previous,
        "reason": deployment.reason,
        "log": deployment.log,
    })
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn bodies_are_signed_as_the_rfc_says() {
        let sign = |key: &str, body: &str| signature(key, body).unwrap();
        assert_eq!(
            sign("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
