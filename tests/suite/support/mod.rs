//! What the tests share: real servers on free ports, ended with the test.

#[cfg(feature = "etcd")]
pub mod cluster;
pub mod command;
#[cfg(feature = "etcd")]
pub mod etcd;
pub mod guest;
pub mod hostile;
pub mod nats;
pub mod port;
pub mod remote;
pub mod server;
pub mod spawn;
