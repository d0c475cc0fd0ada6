//! What the tests share: real servers on free ports, ended with the test.

pub mod command;
#[cfg(feature = "etcd")]
pub mod etcd;
pub mod guest;
pub mod nats;
pub mod remote;
pub mod server;
