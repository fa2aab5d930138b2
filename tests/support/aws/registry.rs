//! What Docker asks of the registry at `/v2/`: let through to the real one, with the rules of ECR. Knows nothing of
//! AWS's own protocol.

use std::io::{self, Read};
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::backing::{Answered, Backing, Sent};
use super::ecr;
use super::faults::{self, Verdict};
use super::http::{Answer, Content, Head, Incoming, Reply};
use super::wire::{Call, unescaped};
use super::world::{self, Place, World};

/// What is asked for, below `/v2/`.
struct Asked {
    name: String,
    /// `blobs`, `manifests` or `tags`.
    kind: String,
    /// All that follows.
    rest: String,
    query: String,
}

impl Asked {
    fn parse(target: &str) -> Option<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.strip_prefix("/v2/")?;
        let kinds = ["blobs", "manifests", "tags"].into_iter();
        let (at, kind) = kinds
            .filter_map(|kind| Some((path.rfind(&format!("/{kind}/"))?, kind)))
            .max()?;
        Some(Self {
            name: unescaped(&path[..at]),
            kind: kind.into(),
            rest: path[at + kind.len() + 2..].into(),
            query: query.into(),
        })
    }
}

/// Where a request goes on to.
struct Allowed {
    place: Place,
    backing: Backing,
}

pub fn serve(world: &Mutex<World>, head: &Head, body: &mut Incoming) -> Reply {
    let (method, target) = (head.word(0), head.word(1));
    let asked = Asked::parse(target);
    let kind = asked.as_ref().map_or("base", |asked| &asked.kind);
    let call = Call::of_registry(format!("{method} {kind}"), json!({"path": target}));
    let (verdict, allowed) = {
        let mut world = world::lock(world);
        world.record(&call);
        if world.registry_gone {
            return Reply::Cut;
        }
        let verdict = faults::judge(&mut world, &call);
        (verdict, allowed(&world, head, asked.as_ref()))
    };
    if verdict.cut_before {
        return Reply::Cut;
    }
    if let Some(failure) = &verdict.instead {
        let throttled = failure.message == "Rate exceeded";
        let (status, code) = if throttled {
            (429, "TOOMANYREQUESTS")
        } else {
            (failure.status, "UNKNOWN")
        };
        return Reply::Answer(refusal(status, code, &failure.message));
    }
    let reply = match (allowed, asked) {
        (Err(answer), _) => Ok(*answer),
        (Ok(_), None) if target == "/v2/" => Ok(Answer::new(200, "application/json", "{}")),
        (Ok(_), None) => Ok(refusal(404, "UNSUPPORTED", "The operation is unsupported.")),
        (Ok(allowed), Some(asked)) => act(world, &allowed, &asked, head, body, &verdict),
    };
    match reply {
        Ok(answer) if !verdict.cut_after => match verdict.after {
            Some(failure) => Reply::Answer(refusal(500, "UNKNOWN", &failure.message)),
            None => Reply::Answer(answer.with("docker-distribution-api-version", "registry/2.0")),
        },
        _ => Reply::Cut,
    }
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({"errors": [{"code": code, "message": message}]});
    Answer::new(status, "application/json; charset=utf-8", body.to_string())
}

/// Whether the caller has a token that is good, and the repository is there.
fn allowed(world: &World, head: &Head, asked: Option<&Asked>) -> Result<Allowed, Box<Answer>> {
    let token = password(head).and_then(|password| world.tokens.get(&password));
    let Some(token) = token else {
        let realm = format!(
            "Basic realm=\"http://{}/\",service=\"ecr.amazonaws.com\"",
            world.host
        );
        let answer = Answer::new(401, "text/plain; charset=utf-8", "Not Authorized\n");
        return Err(Box::new(answer.with("www-authenticate", &realm)));
    };
    if token.expires <= world.now() {
        let message = "Your authorization token has expired. Reauthenticate and try again.";
        return Err(Box::new(refusal(403, "DENIED", message)));
    }
    let place = token.place.clone();
    let region = world.regions.get(&place);
    if let Some(Asked { name, .. }) = asked
        && !region.is_some_and(|region| region.ecr.repositories.contains_key(name))
    {
        let message = ecr::no_repository(name, &place.account).message;
        return Err(Box::new(refusal(404, "NAME_UNKNOWN", &message)));
    }
    let Some(backing) = world.backing.clone() else {
        let message = "there is no registry behind; tests/setup.sh registry starts one";
        return Err(Box::new(refusal(500, "UNKNOWN", message)));
    };
    Ok(Allowed { place, backing })
}

/// What the user AWS gives for a password.
fn password(head: &Head) -> Option<String> {
    let encoded = head.get("authorization")?.strip_prefix("Basic ")?;
    let decoded = STANDARD.decode(encoded).ok()?;
    let pair = String::from_utf8(decoded).ok()?;
    pair.strip_prefix("AWS:").map(str::to_owned)
}

fn act(
    world: &Mutex<World>,
    allowed: &Allowed,
    asked: &Asked,
    head: &Head,
    body: &mut Incoming,
    verdict: &Verdict,
) -> io::Result<Answer> {
    match (head.word(0), &*asked.kind) {
        ("PUT", "manifests") => put_manifest(world, allowed, asked, head, body),
        ("GET" | "HEAD", "manifests") => get_manifest(world, allowed, asked, head),
        ("GET", "tags") => Ok(list_tags(world, allowed, asked)),
        ("DELETE", _) => Ok(refusal(405, "UNSUPPORTED", "The operation is unsupported.")),
        (_, "blobs") => {
            let length = body.length();
            let left = verdict.cut_bytes.unwrap_or(u64::MAX);
            let mut limited = Limited { from: body, left };
            pass_on(allowed, asked, head, Sent::Stream(&mut limited, length))
        }
        _ => Ok(refusal(404, "UNSUPPORTED", "The operation is unsupported.")),
    }
}

/// A body that breaks off.
struct Limited<'a, 'b> {
    from: &'a mut Incoming<'b>,
    left: u64,
}

impl Read for Limited<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = self.from.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// What isn't for the real registry: it is another host with other credentials.
const OWN: &[&str] = &[
    "host",
    "authorization",
    "connection",
    "content-length",
    "transfer-encoding",
    "expect",
    "accept-encoding",
];

/// Lets a request through. A blob isn't taken over from another repository: ECR doesn't do it either, and lets it be
/// uploaded.
fn pass_on(allowed: &Allowed, asked: &Asked, head: &Head, sent: Sent) -> io::Result<Answer> {
    let Allowed { place, backing } = allowed;
    let repository = backing.repository(place, &asked.name);
    let parameters = asked.query.split('&');
    let kept: Vec<&str> = parameters
        .filter(|pair| !pair.starts_with("mount=") && !pair.starts_with("from="))
        .collect();
    let path = format!(
        "{repository}/{}/{}?{}",
        asked.kind,
        asked.rest,
        kept.join("&")
    );
    let mut fields = head.fields.clone();
    fields.retain(|(name, _)| !OWN.contains(&&**name));
    let answered = backing.ask(head.word(0), &path, &fields, sent)?;
    Ok(returned(answered, &repository, &asked.name, head))
}

/// An answer of the real registry, with our own addresses in it.
fn returned((answer, mut body): Answered, repository: &str, name: &str, head: &Head) -> Answer {
    let status = answer.word(1).parse().unwrap_or(502);
    let host = head.get("host").unwrap_or_default();
    let mut fields = answer.fields;
    let bare = head.word(0) == "HEAD";
    fields.retain(|(name, _)| {
        let framing = matches!(&**name, "connection" | "transfer-encoding" | "date");
        !framing && (bare || name != "content-length")
    });
    for (field, value) in &mut fields {
        if field == "location"
            && let Some((_, rest)) = value.split_once(repository)
        {
            *value = format!("http://{host}/v2/{name}{rest}");
        }
    }
    let length = body.length();
    let small = length.is_some_and(|length| length < 64 * 1024);
    let content = match small.then(|| body.all()) {
        Some(Ok(bytes)) => Content::Bytes(bytes),
        _ => Content::Stream(Box::new(body), length),
    };
    Answer {
        status,
        fields,
        content: if bare { Content::Nothing } else { content },
    }
}

fn put_manifest(
    world: &Mutex<World>,
    allowed: &Allowed,
    asked: &Asked,
    head: &Head,
    body: &mut Incoming,
) -> io::Result<Answer> {
    let Allowed { place, backing } = allowed;
    let bytes = body.all()?;
    let digest = ecr::digest(&bytes);
    let tag = Some(&*asked.rest).filter(|reference| !reference.starts_with("sha256:"));
    let said = head.get("content-type").map(str::to_owned);
    let media_type = said.or_else(|| ecr::media_type(&bytes)).unwrap_or_default();
    if tag.is_none() && asked.rest != digest {
        return Ok(refusal(
            400,
            "DIGEST_INVALID",
            "provided digest did not match uploaded content",
        ));
    }
    let mut world = world::lock(world);
    let now = world.now();
    let Ok(repository) = world.region(place).ecr.repository(&asked.name) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    if let Some(tag) = tag.filter(|tag| repository.refuses_push(tag)) {
        let message = format!(
            "The image tag '{tag}' already exists in the '{}' repository and cannot be overwritten because the tag \
             is immutable.",
            asked.name
        );
        return Ok(refusal(400, "TAG_INVALID", &message));
    }
    let path = backing.repository(place, &asked.name);
    let answered = backing.put_manifest(&path, &digest, &media_type, &bytes)?;
    if answered.0.word(1) == "201" {
        repository.store(&bytes, &media_type, tag, now);
    }
    Ok(returned(answered, &path, &asked.name, head))
}

fn get_manifest(
    world: &Mutex<World>,
    allowed: &Allowed,
    asked: &Asked,
    head: &Head,
) -> io::Result<Answer> {
    let found = {
        let mut world = world::lock(world);
        let repository = world.region(&allowed.place).ecr.repository(&asked.name);
        let repository = repository.map_err(|failure| io::Error::other(failure.message))?;
        let image = repository
            .images
            .get(&asked.rest)
            .or_else(|| repository.tagged(&asked.rest));
        image.map(|image| image.digest.clone())
    };
    let Some(digest) = found else {
        return Ok(refusal(
            404,
            "MANIFEST_UNKNOWN",
            "Requested image not found",
        ));
    };
    let asked = Asked {
        name: asked.name.clone(),
        kind: "manifests".into(),
        rest: digest,
        query: String::new(),
    };
    pass_on(allowed, &asked, head, Sent::Bytes(b""))
}

fn list_tags(world: &Mutex<World>, allowed: &Allowed, asked: &Asked) -> Answer {
    let mut world = world::lock(world);
    let repository = world.region(&allowed.place).ecr.repository(&asked.name);
    let images = repository.map(|repository| repository.images.values());
    let tags: Vec<Value> = images
        .map(|images| {
            images
                .flat_map(|image| image.tags.iter().cloned().map(Value::from))
                .collect()
        })
        .unwrap_or_default();
    let body = json!({"name": asked.name, "tags": tags});
    Answer::new(200, "application/json", body.to_string())
}
