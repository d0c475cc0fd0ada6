//! What the tests share: real servers on free ports, ended with the test.

pub mod command;
pub mod guest;
pub mod nats;
pub mod port;
pub mod remote;
pub mod server;
