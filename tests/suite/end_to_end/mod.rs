//! The whole: the real program, real components, a real NATS, and what users see of it over HTTP.

mod broadcast;
mod cli;
#[cfg(feature = "etcd")]
mod cluster;
mod doctor;
mod faults;
mod grants;
mod groups;
mod guests;
mod in_process;
mod kills;
mod large;
mod limits;
mod lists;
mod logs;
mod migrate;
mod nats;
mod policy;
mod replay;
mod versions;
