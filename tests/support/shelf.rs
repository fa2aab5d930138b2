//! A server that keeps what is PUT to it, on loopback: all that a remote cache needs to be. It can be told to
//! misbehave, and tells what was asked of it. Knows nothing of what is kept.

#![allow(dead_code)] // Every test file uses a part of it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    /// Without the `/` at its beginning.
    pub path: String,
    pub authorization: Option<String>,
}

impl Asked {
    /// `PUT cas`.
    pub fn kind(&self) -> String {
        let path = self.path.split('/').next().unwrap_or_default();
        format!("{} {path}", self.method)
    }
}

/// How to answer otherwise than one should.
#[derive(Clone, Debug)]
pub enum Odd {
    /// This status, without reading on.
    Status(u16),
    /// A redirect to there.
    Elsewhere(String),
    /// Never.
    Hang,
    /// So many bytes of what is there, and the connection ends.
    Cut(usize),
    /// What is there, a byte at a time, with this many milliseconds between.
    Trickle(u64),
}

type Mood = Arc<dyn Fn(&Asked) -> Option<Odd> + Send + Sync>;

#[derive(Default)]
struct State {
    kept: BTreeMap<String, Vec<u8>>,
    asked: Vec<Asked>,
    connections: usize,
    open: Vec<TcpStream>,
    mood: Option<Mood>,
}

/// Listens until it is dropped.
pub struct Shelf {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Shelf {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut state = lock(&shared);
                state.connections += 1;
                state.open.extend(stream.try_clone());
                drop(state);
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { port, state }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// What is kept whose path begins so.
    pub fn kept(&self, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        let state = lock(&self.state);
        let kept = state.kept.iter();
        let kept = kept.filter(|(path, _)| path.starts_with(prefix));
        kept.map(|(path, bytes)| (path.clone(), bytes.clone()))
            .collect()
    }

    pub fn keep(&self, path: &str, bytes: &[u8]) {
        lock(&self.state).kept.insert(path.into(), bytes.into());
    }

    pub fn forget(&self, path: &str) {
        let gone = lock(&self.state).kept.remove(path);
        gone.unwrap_or_else(|| panic!("{path} isn't there"));
    }

    /// Changes all whose path begins so.
    pub fn change(&self, prefix: &str, change: impl Fn(&mut Vec<u8>)) {
        let mut state = lock(&self.state);
        let kept = state.kept.iter_mut();
        kept.filter(|(path, _)| path.starts_with(prefix))
            .for_each(|(_, bytes)| change(bytes));
    }

    /// What was asked since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut lock(&self.state).asked)
    }

    /// How often since the last call, of each kind: `GET ac`.
    pub fn kinds(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for asked in self.asked() {
            *kinds.entry(asked.kind()).or_default() += 1;
        }
        kinds
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        lock(&self.state).connections
    }

    /// From now on.
    pub fn behave(&self, mood: impl Fn(&Asked) -> Option<Odd> + Send + Sync + 'static) {
        lock(&self.state).mood = Some(Arc::new(mood));
    }

    pub fn behave_well(&self) {
        lock(&self.state).mood = None;
    }
}

/// Whoever still waits for an answer hears that there is none.
impl Drop for Shelf {
    fn drop(&mut self) {
        for stream in lock(&self.state).open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    // Whoever hangs up has what he wanted.
    let _ = talk(&stream, state);
    let _ = stream.shutdown(Shutdown::Both);
}

fn talk(stream: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let (mut from, mut to) = (BufReader::new(stream), stream);
    while let Some((asked, fields)) = head(&mut from)? {
        let mut kept = lock(state);
        kept.asked.push(asked.clone());
        let odd = kept.mood.clone().and_then(|mood| mood(&asked));
        let bytes = kept.kept.get(&asked.path).cloned();
        drop(kept);
        match (odd, bytes) {
            (Some(Odd::Status(status)), _) => {
                to.write_all(&answer(status, "Connection: close\r\n", 0))?;
                return Ok(());
            }
            (Some(Odd::Elsewhere(url)), _) => {
                to.write_all(&answer(
                    307,
                    &format!("Location: {url}/{}\r\n", asked.path),
                    0,
                ))?;
            }
            (Some(Odd::Hang), _) => {
                // Until the other side has had enough.
                io::copy(&mut from, &mut io::sink())?;
            }
            (Some(Odd::Cut(at)), Some(bytes)) => {
                to.write_all(&answer(200, "", bytes.len()))?;
                to.write_all(&bytes[..at.min(bytes.len())])?;
                return Ok(());
            }
            (Some(Odd::Trickle(pause)), Some(bytes)) => {
                to.write_all(&answer(200, "", bytes.len()))?;
                for byte in bytes {
                    to.write_all(&[byte])?;
                    thread::sleep(std::time::Duration::from_millis(pause));
                }
            }
            (_, bytes) if asked.method == "PUT" => {
                let new = bytes.is_none();
                if fields.contains_key("expect") {
                    to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                }
                let length = fields.get("content-length").expect("a length");
                let mut body = vec![0; length.parse().expect("a number")];
                from.read_exact(&mut body)?;
                lock(state).kept.insert(asked.path, body);
                to.write_all(&answer(if new { 201 } else { 204 }, "", 0))?;
            }
            (_, None) => to.write_all(&answer(404, "", 0))?,
            (_, Some(bytes)) => {
                to.write_all(&answer(200, "", bytes.len()))?;
                if asked.method == "GET" {
                    to.write_all(&bytes)?;
                }
            }
        }
    }
    Ok(())
}

fn answer(status: u16, fields: &str, length: usize) -> Vec<u8> {
    let length = match status {
        204 => String::new(),
        _ => format!("Content-Length: {length}\r\n"),
    };
    format!("HTTP/1.1 {status} Told\r\n{fields}{length}\r\n").into_bytes()
}

/// None where the other side closed.
fn head(from: &mut impl BufRead) -> io::Result<Option<(Asked, BTreeMap<String, String>)>> {
    let mut first = String::new();
    if from.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut fields = BTreeMap::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => fields.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let mut words = first.split_whitespace();
    let mut word = || words.next().unwrap_or_default().to_owned();
    let asked = Asked {
        method: word(),
        path: word().trim_start_matches('/').to_owned(),
        authorization: fields.get("authorization").cloned(),
    };
    Ok(Some((asked, fields)))
}
