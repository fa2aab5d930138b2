//! A listener on loopback that answers HTTP as a test says, and keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request as it came: the first line, headers, an empty line, the body.
pub type Asked = String;

/// An answer; `None` cuts the connection.
pub type Told = Option<(u16, Vec<(&'static str, String)>, String)>;

pub struct Responder {
    /// `127.0.0.1:PORT`
    pub host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Responder {
    /// `answer` gets each request and how many came before it.
    pub fn start(answer: impl Fn(&str, usize, &str) -> Told + Send + 'static) -> Responder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (kept, own) = (Arc::clone(&asked), host.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(request) = read(&stream) else {
                    continue;
                };
                let before = kept.lock().unwrap().len();
                kept.lock().unwrap().push(request.clone());
                if let Some(told) = answer(&request, before, &own) {
                    write(&stream, told);
                }
            }
        });
        Responder { host, asked }
    }

    /// Everything asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut text, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        text.push_str(&line);
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(text + &String::from_utf8(body).unwrap())
}

fn write(mut stream: &TcpStream, (status, headers, body): (u16, Vec<(&str, String)>, String)) {
    let mut text = format!("HTTP/1.1 {status} S\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    // The one who asked may have gone.
    let _ = stream.write_all(text.as_bytes());
}
