//! Several nodes with one NATS and one etcd.

use super::etcd::EtcdServer;
use super::nats::NatsServer;
use super::server::Server;

/// A cluster under test. The nodes are ended before what they stand on.
pub struct Cluster {
    pub nodes: Vec<Server>,
    pub nats: NatsServer,
    pub etcd: EtcdServer,
}

impl Cluster {
    /// So many nodes, each with a folder of its own.
    pub fn start(nodes: usize) -> Self {
        Self::with(nodes, &[])
    }

    /// The same with this environment.
    pub fn with(nodes: usize, environment: &[(&str, &str)]) -> Self {
        let (nats, etcd) = (NatsServer::start(), EtcdServer::start());
        let arguments = ["--nats", &nats.url(), "--etcd", &etcd.url()].map(ToOwned::to_owned);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let nodes = (0..nodes).map(|_| Server::with(&arguments, environment)).collect();
        Self { nodes, nats, etcd }
    }
}
