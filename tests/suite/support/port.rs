//! Ports that a server can be stopped and started on again.

use std::net::TcpListener;

/// Below the range from which systems take the ports of outgoing connections: while a server is away, a client that
/// tries to reach it, or any other, could be given its port, and the server could not come back.
const RANGE: std::ops::Range<u16> = 10_000..30_000;

/// A port that nobody listens on. Somebody may take it a moment later, so whoever starts a server tries a few.
pub fn free() -> u16 {
    loop {
        let port = fastrand::u16(RANGE);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
