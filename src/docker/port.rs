//! Ports that the engine publishes on this machine.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// For one connection.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a connection must stay open for somebody to be behind it: the engine's proxy accepts for a
/// container that doesn't listen yet, and closes as soon as it has tried to reach it.
const SETTLE: Duration = Duration::from_millis(200);

/// Whether somebody in a container listens behind a published port of 127.0.0.1.
pub fn port_answers(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, CONNECT) else {
        return false;
    };
    if stream.set_read_timeout(Some(SETTLE)).is_err() {
        return true;
    }
    match stream.read(&mut [0]) {
        Ok(length) => length > 0,
        Err(error) => matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        ),
    }
}
