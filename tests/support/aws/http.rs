//! HTTP/1.1 as far as the simulator speaks it, both ways: heads, bodies that are streamed, a server with a thread for
//! every connection. Knows nothing of AWS.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Longer lines are no HTTP.
const LINE: u64 = 64 * 1024;

/// The first line of a message and its header fields.
#[derive(Clone, Debug)]
pub struct Head {
    pub first: String,
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// None where the other side closed.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let first = line(from)?;
        if first.is_empty() {
            return Ok(None);
        }
        let mut fields = Vec::new();
        loop {
            let line = line(from)?;
            if line.is_empty() {
                return Ok(Some(Self { first, fields }));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("header field"))?;
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// A header field by its lower-case name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(have, _)| have == name);
        found.map(|(_, value)| &**value)
    }

    /// The nth word of the first line.
    pub fn word(&self, index: usize) -> &str {
        self.first.split(' ').nth(index).unwrap_or_default()
    }

    fn says(&self, name: &str, word: &str) -> bool {
        let value = self.get(name).unwrap_or_default().to_ascii_lowercase();
        value.contains(word)
    }

    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut text = format!("{}\r\n", self.first);
        for (name, value) in &self.fields {
            text += &format!("{name}: {value}\r\n");
        }
        to.write_all(format!("{text}\r\n").as_bytes())
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a {what}"))
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(LINE).read_until(b'\n', &mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|_| bad("line of text"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// How the end of a body is found.
enum Framing {
    Length(u64),
    /// What is left of a chunk; none before the first and after every chunk; the end was seen.
    Chunked(Option<u64>, bool),
    UntilClosed,
}

/// A body as it comes in.
pub struct Body<R> {
    from: R,
    framing: Framing,
}

impl<R: BufRead> Body<R> {
    pub fn of_request(head: &Head, from: R) -> Self {
        Self::framed(head, from, Framing::Length(0))
    }

    /// `bare`: an answer that has no body whatever its head says.
    pub fn of_answer(head: &Head, from: R, bare: bool) -> Self {
        if bare {
            let framing = Framing::Length(0);
            return Self { from, framing };
        }
        Self::framed(head, from, Framing::UntilClosed)
    }

    fn framed(head: &Head, from: R, otherwise: Framing) -> Self {
        let length = head
            .get("content-length")
            .and_then(|text| text.parse().ok());
        let framing = if head.says("transfer-encoding", "chunked") {
            Framing::Chunked(None, false)
        } else {
            length.map_or(otherwise, Framing::Length)
        };
        Self { from, framing }
    }

    /// How many bytes are left, where that was said.
    pub fn length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(left) => Some(left),
            _ => None,
        }
    }

    pub fn all(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Stands before bytes of a chunk, or at the end.
    fn next_chunk(&mut self) -> io::Result<()> {
        if !matches!(self.framing, Framing::Chunked(None, false)) {
            return Ok(());
        }
        let size = line(&mut self.from)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| bad("chunk"))?;
        self.framing = Framing::Chunked(Some(size), false);
        if size == 0 {
            while !line(&mut self.from)?.is_empty() {}
            self.framing = Framing::Chunked(None, true);
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.next_chunk()?;
        let left = match self.framing {
            Framing::Length(left) | Framing::Chunked(Some(left), _) => left,
            Framing::Chunked(None, _) => 0,
            Framing::UntilClosed => u64::MAX,
        };
        let wanted = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if wanted == 0 {
            return Ok(0); // Even a read of nothing would wait for the other side.
        }
        let read = self.from.read(&mut buffer[..wanted])?;
        if read == 0 && !matches!(self.framing, Framing::UntilClosed) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match &mut self.framing {
            Framing::Length(left) => *left -= read as u64,
            Framing::Chunked(chunk @ Some(_), _) => {
                let rest = left - read as u64;
                *chunk = (rest > 0).then_some(rest);
                if rest == 0 {
                    line(&mut self.from)?;
                }
            }
            _ => {}
        }
        Ok(read)
    }
}

/// The body of an answer.
pub enum Content {
    Bytes(Vec<u8>),
    /// As it comes, with its length where that is known.
    Stream(Box<dyn Read>, Option<u64>),
    /// No body, and the head keeps its own `content-length`.
    Nothing,
}

pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub content: Content,
}

impl Answer {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let content = Content::Bytes(body.into());
        let answer = Self {
            status,
            fields: Vec::new(),
            content,
        };
        answer.with("content-type", content_type)
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    fn write(self, to: &mut impl Write) -> io::Result<()> {
        let Self {
            status,
            mut fields,
            content,
        } = self;
        let length = match &content {
            Content::Bytes(bytes) => Some(bytes.len() as u64),
            Content::Stream(_, length) => *length,
            Content::Nothing => None,
        };
        match (&content, length) {
            (_, Some(length)) => fields.push(("content-length".into(), length.to_string())),
            (Content::Nothing, None) => {}
            (_, None) => fields.push(("transfer-encoding".into(), "chunked".into())),
        }
        let first = format!("HTTP/1.1 {status} {}", reason(status));
        Head { first, fields }.write(to)?;
        match content {
            Content::Bytes(bytes) => to.write_all(&bytes)?,
            Content::Stream(mut from, None) => copy_chunked(&mut from, to)?,
            Content::Stream(mut from, Some(_)) => {
                io::copy(&mut from, to)?;
            }
            Content::Nothing => {}
        }
        to.flush()
    }
}

/// Goes on with bytes as they come, in chunks.
pub fn copy_chunked(from: &mut dyn Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 32 * 1024];
    loop {
        let read = from.read(&mut buffer)?;
        write!(to, "{read:x}\r\n")?;
        to.write_all(&buffer[..read])?;
        to.write_all(b"\r\n")?;
        if read == 0 {
            return Ok(());
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200..=299 => "OK",
        400..=499 => "Refused",
        500..=599 => "Server Error",
        _ => "Other",
    }
}

/// What becomes of a request.
pub enum Reply {
    Answer(Answer),
    /// The connection is closed without a word.
    Cut,
}

pub type Incoming<'a> = Body<&'a mut BufReader<TcpStream>>;

pub type Handler = dyn Fn(&Head, &mut Incoming) -> Reply + Send + Sync;

/// A server on a free port of 127.0.0.1, that ends with the value.
pub struct Server {
    pub address: SocketAddr,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
    open: Arc<Mutex<HashMap<u64, TcpStream>>>,
}

impl Server {
    pub fn start(listener: TcpListener, handler: Arc<Handler>) -> Self {
        let address = listener.local_addr().expect("bound");
        let stopping = Arc::new(AtomicBool::new(false));
        let open: Arc<Mutex<HashMap<u64, TcpStream>>> = Arc::default();
        let (stop, connections) = (Arc::clone(&stopping), Arc::clone(&open));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(stream) = stream {
                    serve(stream, Arc::clone(&handler), Arc::clone(&connections));
                }
            }
        });
        Self {
            address,
            stopping,
            accepting: Some(accepting),
            open,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in self.open.lock().expect("whole").values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(stream: TcpStream, handler: Arc<Handler>, open: Arc<Mutex<HashMap<u64, TcpStream>>>) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let Ok(copy) = stream.try_clone() else {
        return;
    };
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    open.lock().expect("whole").insert(id, copy);
    thread::spawn(move || {
        let _ = converse(&stream, &*handler);
        let _ = stream.shutdown(Shutdown::Both);
        open.lock().expect("whole").remove(&id);
    });
}

/// One request after the other, as long as the other side likes.
fn converse(stream: &TcpStream, handler: &Handler) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = io::BufWriter::new(stream);
    while let Some(head) = Head::read(&mut reader)? {
        if head.says("expect", "100-continue") {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            writer.flush()?;
        }
        let mut body = Body::of_request(&head, &mut reader);
        let Reply::Answer(mut answer) = handler(&head, &mut body) else {
            return Ok(());
        };
        io::copy(&mut body, &mut io::sink())?;
        if head.word(0) == "HEAD" {
            answer.content = Content::Nothing;
        }
        answer.write(&mut writer)?;
        if head.says("connection", "close") {
            return Ok(());
        }
    }
    Ok(())
}
