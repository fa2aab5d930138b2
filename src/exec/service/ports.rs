//! Ports of this machine's 127.0.0.1.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// Hands out free ports, none twice.
#[derive(Default)]
pub struct Ports {
    given: Mutex<HashSet<u16>>,
}

impl Ports {
    /// A port that nobody listens on now. Somebody else may take it before it is used: who starts a
    /// program with it must be ready to try another.
    pub fn free(&self) -> io::Result<u16> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        // Kept open until one is new: the system would hand out the same one again.
        let mut held = Vec::new();
        loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let port = listener.local_addr()?.port();
            if given.insert(port) {
                return Ok(port);
            }
            held.push(listener);
        }
    }
}

/// Whether somebody listens on this port.
pub fn is_taken(port: u16) -> bool {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => false,
        Err(error) => error.kind() == io::ErrorKind::AddrInUse,
    }
}

/// Whether a program's or the engine's words say that a port was taken.
pub fn says_taken(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    [
        "address already in use",
        "address in use",
        "eaddrinuse",
        "port is already allocated",
    ]
    .iter()
    .any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_never_the_same() {
        let ports = Ports::default();
        let some: HashSet<u16> = (0..200).map(|_| ports.free().unwrap()).collect();
        assert_eq!(some.len(), 200);
        assert!(!some.contains(&0));
    }

    #[test]
    fn a_listener_takes_its_port() {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_taken(port));
        assert!(!is_taken(0));
    }
}
