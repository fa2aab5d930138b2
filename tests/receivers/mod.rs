//! Receivers on loopback for what notifiers send: an HTTP server that answers by a script and an SMTP server, with
//! STARTTLS where it gets a certificate. Both record what they are told, and end with the test.

#![allow(dead_code)] // Every test file uses a part of it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    /// Lines of the head, as they are.
    pub head: String,
    pub body: String,
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned())
    }
}

/// What to do with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status, further header lines, a body.
    Say(u16, &'static str, &'static str),
    /// Closes the connection without a word.
    Cut,
    /// Keeps it open and never says a word.
    Hang,
}

/// An HTTP server; answers `200 ok` where its script is at an end.
pub struct Http {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Http {
    pub fn new(script: &[Reply]) -> Http {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(script.iter().cloned().collect::<VecDeque<_>>()));
        let kept = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, script) = (Arc::clone(&kept), Arc::clone(&script));
                thread::spawn(move || serve(stream, &kept, &script));
            }
        });
        Http { address, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("requests").clone()
    }

    /// The only request there was.
    #[track_caller]
    pub fn only(&self) -> Request {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests[0].clone()
    }
}

fn serve(stream: TcpStream, kept: &Mutex<Vec<Request>>, script: &Mutex<VecDeque<Reply>>) {
    let mut reader = BufReader::new(stream);
    let Some(request) = read_request(&mut reader) else {
        return;
    };
    kept.lock().expect("requests").push(request);
    let reply = script.lock().expect("a script").pop_front();
    let mut stream = reader.into_inner();
    match reply.unwrap_or(Reply::Say(200, "", "ok")) {
        Reply::Say(status, headers, body) => {
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
            );
        }
        Reply::Cut => {}
        Reply::Hang => {
            // Until whoever asked has gone.
            let _ = stream.read(&mut [0]);
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head += &line;
    }
    let path = head.split(' ').nth(1)?.to_owned();
    let request = Request {
        path,
        head,
        body: String::new(),
    };
    let length = request.header("content-length");
    let length: usize = length.map_or(Ok(0), |length| length.parse()).ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        body: String::from_utf8(body).ok()?,
        ..request
    })
}

/// A mail as it was handed over.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    /// Head and body.
    pub text: String,
    /// What came as `AUTH PLAIN`, in Base64.
    pub auth: Option<String>,
    pub encrypted: bool,
}

/// A certificate for `localhost` that nobody else knows, made for one test.
pub struct Certificate {
    pub file: PathBuf,
    config: Arc<ServerConfig>,
}

impl Certificate {
    pub fn new(dir: &Path) -> Certificate {
        let (file, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        let mut make = Command::new("openssl");
        make.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ]);
        make.args(["-nodes", "-days", "2", "-subj", "/CN=localhost"]);
        make.args(["-addext", "subjectAltName=DNS:localhost"]);
        make.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        make.arg("-keyout").arg(&key).arg("-out").arg(&file);
        let made = make.output().expect("openssl");
        assert!(made.status.success(), "{made:?}");
        let chain = vec![CertificateDer::from_pem_file(&file).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(&key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a configuration");
        Certificate {
            file,
            config: Arc::new(config),
        }
    }
}

/// An SMTP server that takes every mail.
pub struct Smtp {
    pub port: u16,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl Smtp {
    /// Refuses so many mails with a 451 before it takes one; offers STARTTLS where it has a certificate.
    pub fn new(refusals: usize, certificate: Option<&Certificate>) -> Smtp {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&mails);
        let config = certificate.map(|certificate| Arc::clone(&certificate.config));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let session = Session {
                    mail: Mail::default(),
                    refuses: number < refusals,
                    config: config.clone(),
                };
                if let Some(mail) = session.talk(stream) {
                    kept.lock().expect("mails").push(mail);
                }
            }
        });
        Smtp { port, mails }
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().expect("mails").clone()
    }
}

struct Session {
    mail: Mail,
    refuses: bool,
    config: Option<Arc<ServerConfig>>,
}

/// How a stretch of a conversation ended.
enum End {
    Quit,
    StartTls,
}

impl Session {
    fn talk(mut self, mut stream: TcpStream) -> Option<Mail> {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
        stream.write_all(b"220 test ESMTP\r\n").ok()?;
        if let End::StartTls = self.stretch(&mut stream)? {
            let config = self.config.take()?;
            let connection = ServerConnection::new(config).ok()?;
            self.mail.encrypted = true;
            self.stretch(&mut StreamOwned::new(connection, stream))?;
        }
        (!self.mail.text.is_empty()).then_some(self.mail)
    }

    fn stretch(&mut self, stream: &mut (impl Read + Write)) -> Option<End> {
        loop {
            let line = read_line(stream)?;
            let word = line.split([' ', ':']).next().unwrap_or_default();
            let answer = match word.to_ascii_uppercase().as_str() {
                "EHLO" if self.config.is_some() => "250-test\r\n250 STARTTLS",
                "EHLO" => "250-test\r\n250 AUTH PLAIN",
                "STARTTLS" => {
                    stream.write_all(b"220 go\r\n").ok()?;
                    return Some(End::StartTls);
                }
                "AUTH" => {
                    self.mail.auth = line.split(' ').nth(2).map(str::to_owned);
                    "235 welcome"
                }
                "MAIL" if self.refuses => "451 later",
                "MAIL" => {
                    self.mail.from = address(&line);
                    "250 ok"
                }
                "RCPT" => {
                    self.mail.to.push(address(&line));
                    "250 ok"
                }
                "DATA" => {
                    stream.write_all(b"354 go on\r\n").ok()?;
                    self.mail.text = read_data(stream)?;
                    "250 taken as 42"
                }
                "QUIT" => return Some(End::Quit),
                _ => "250 ok",
            };
            stream.write_all(format!("{answer}\r\n").as_bytes()).ok()?;
            if word.eq_ignore_ascii_case("DATA") {
                return Some(End::Quit);
            }
        }
    }
}

fn address(line: &str) -> String {
    let inside = line
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or_else(String::new, |(address, _)| address.to_owned())
}

/// Byte by byte, so that nothing of what follows is taken.
fn read_line(stream: &mut impl Read) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        line.push(byte[0]);
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).ok()
}

fn read_data(stream: &mut impl Read) -> Option<String> {
    let mut text = String::new();
    loop {
        let line = read_line(stream)?;
        if line == "." {
            return Some(text);
        }
        text += &line;
        text.push('\n');
    }
}
