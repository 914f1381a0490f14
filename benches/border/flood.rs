//! A flow that competes for a border: one connection that sends as fast as it may.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use super::namespaces::FAR_ADDRESS;

const PORT: u16 = 5001;

/// Takes whatever comes, one connection after the other.
pub(crate) fn sink() -> io::Result<()> {
    let listener = TcpListener::bind((FAR_ADDRESS, PORT))?;
    let mut taken = vec![0; 1 << 16];
    for connection in listener.incoming() {
        let mut connection = connection?;
        while connection.read(&mut taken).is_ok_and(|count| count > 0) {}
    }
    Ok(())
}

/// Sends zeros, again from the start when the connection breaks.
pub(crate) fn flood() -> io::Result<()> {
    let sent = vec![0; 1 << 16];
    loop {
        if let Ok(mut connection) = TcpStream::connect((FAR_ADDRESS, PORT)) {
            while connection.write_all(&sent).is_ok() {}
        }
        sleep(Duration::from_millis(200));
    }
}
