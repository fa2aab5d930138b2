//! The files of a context, as BuildKit asks for them: it is told what there is, names the files that it wants by their place in
//! that list, and gets them.

use std::fs;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::fsutil::types::packet::PacketType;
use bollard::fsutil::types::{Packet, Stat};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};

use crate::image::context::{Content, Context, ContextError, Entry, Kind};

/// The Dockerfile's name in its own directory.
pub const DOCKERFILE: &str = "Dockerfile";
/// Go's bits for what isn't a file.
const DIRECTORY: u32 = 1 << 31;
const LINK: u32 = 1 << 27;

/// The first reason for which a file couldn't be sent: the engine tells it with less words.
pub type Unsent = Arc<Mutex<Option<ContextError>>>;

pub type Packets = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;

/// What a request is about: the directory of the Dockerfile, or the context.
pub fn wanted(context: &Context, request: &MetadataMap) -> Result<Vec<Entry>, Status> {
    match request.get("dir-name").map(|name| name.as_bytes()) {
        Some(b"dockerfile") => Ok(vec![Entry {
            path: DOCKERFILE.into(),
            source: context.dockerfile().to_owned(),
            kind: Kind::File { executable: false },
        }]),
        Some(b"context") => Ok(followed(context.entries(), request)),
        _ => Err(Status::not_found("no such directory")),
    }
}

/// Those of the files that a build of this Dockerfile can see, as far as they can be told by their names; else all.
fn followed(entries: &[Entry], request: &MetadataMap) -> Vec<Entry> {
    let paths = request.get_all("followpaths").iter();
    let paths: Vec<&str> = paths.filter_map(|path| path.to_str().ok()).collect();
    let encoded = request.contains_key("followpaths-encoded");
    let plain =
        |path: &&str| !path.is_empty() && *path != "." && !path.contains(['*', '?', '[', '\\']);
    if paths.is_empty() || encoded || !paths.iter().all(plain) {
        return entries.to_vec();
    }
    let below = |path: &str, above: &str| {
        let rest = path.strip_prefix(above);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let seen = |entry: &&Entry| {
        let mut paths = paths.iter().map(|path| path.trim_matches('/'));
        paths.any(|path| below(&entry.path, path) || below(path, &entry.path))
    };
    let found: Vec<Entry> = entries.iter().filter(seen).cloned().collect();
    // A link may lead to anything.
    let link = found
        .iter()
        .any(|entry| matches!(entry.kind, Kind::Link { .. }));
    if link { entries.to_vec() } else { found }
}

/// The whole conversation about a list of files.
pub fn send(entries: Vec<Entry>, asked: Streaming<Packet>, unsent: Unsent) -> Packets {
    let sizes = entries.iter().map(size).collect::<Vec<u64>>();
    let stats = entries
        .iter()
        .zip(&sizes)
        .map(|(entry, size)| packet(PacketType::PacketStat, Some(stat(entry, *size))))
        .collect::<Vec<_>>();
    let end = packet(PacketType::PacketStat, None);
    let listed = stats.into_iter().chain([end]).map(Ok);
    let files: Arc<Vec<(Entry, u64)>> = Arc::new(entries.into_iter().zip(sizes).collect());
    let answers = stream::unfold(Some(requests(asked)), |requests| async {
        let mut requests = requests?;
        let request = requests.recv().await?;
        // The engine says at the end that it has everything, and waits for the same word.
        let goes_on = matches!(request, Request::File(_)).then_some(requests);
        Some((request, goes_on))
    });
    let answers = answers.flat_map(move |request| match request {
        Request::File(id) => contents(&files, id, &unsent),
        Request::Finish => one(packet(PacketType::PacketFin, None)),
    });
    stream::iter(listed).chain(answers).boxed()
}

enum Request {
    File(u32),
    Finish,
}

/// What the engine asks for, taken in while it is still told what there is: it would stop listening otherwise.
fn requests(mut asked: Streaming<Packet>) -> mpsc::UnboundedReceiver<Request> {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(Some(packet)) = asked.message().await {
            let request = match packet.r#type() {
                PacketType::PacketReq => Request::File(packet.id),
                PacketType::PacketFin => Request::Finish,
                _ => break,
            };
            if sender.send(request).is_err() {
                break;
            }
        }
    });
    receiver
}

fn size(entry: &Entry) -> u64 {
    match entry.kind {
        // One that isn't there any more is an error when it is asked for.
        Kind::File { .. } => {
            fs::symlink_metadata(&entry.source).map_or(0, |metadata| metadata.len())
        }
        Kind::Link { .. } | Kind::Directory => 0,
    }
}

fn stat(entry: &Entry, size: u64) -> Stat {
    let (bits, target) = match &entry.kind {
        Kind::File { .. } => (0, String::new()),
        Kind::Directory => (DIRECTORY, String::new()),
        Kind::Link { target } => (LINK, target.clone()),
    };
    Stat {
        path: entry.path.clone(),
        mode: bits | entry.kind.mode(),
        size: size.try_into().unwrap_or(i64::MAX),
        linkname: target,
        ..Stat::default()
    }
}

/// A file's bytes, and an empty packet as their end.
fn contents(
    files: &[(Entry, u64)],
    id: u32,
    unsent: &Unsent,
) -> BoxStream<'static, Result<Packet, Status>> {
    let Some((entry, size)) = files.get(id as usize) else {
        return stream::iter([Err(Status::not_found("no such file"))]).boxed();
    };
    let data = move |data| Packet {
        id,
        data,
        ..packet(PacketType::PacketData, None)
    };
    let keep = Arc::clone(unsent);
    let failed = move |error: ContextError| {
        let status = Status::aborted(error.to_string());
        let mut unsent = keep.lock().unwrap_or_else(PoisonError::into_inner);
        unsent.get_or_insert(error);
        status
    };
    match Content::open(entry).and_then(|content| content.of_size(*size)) {
        Err(error) => stream::iter([Err(failed(error))]).boxed(),
        Ok(content) => {
            let pieces = content.map(move |piece| piece.map(data).map_err(&failed));
            stream::iter(pieces.chain([Ok(data(Vec::new()))])).boxed()
        }
    }
}

fn one(packet: Packet) -> BoxStream<'static, Result<Packet, Status>> {
    stream::iter([Ok(packet)]).boxed()
}

fn packet(kind: PacketType, stat: Option<Stat>) -> Packet {
    Packet {
        r#type: kind.into(),
        stat,
        ..Packet::default()
    }
}
