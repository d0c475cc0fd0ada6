//! How the name of a host becomes addresses.

use std::fmt;
use std::io;
use std::net::IpAddr;

use async_trait::async_trait;

use crate::model::Host;

/// Finds the addresses behind a name. It is asked once for each request; what it answers is checked, and one of the
/// addresses that passed is connected to, so that a second answer of the name server changes nothing.
#[async_trait]
pub trait Resolver: Send + Sync + fmt::Debug {
    /// The addresses of `name`, the best first; empty is the same as an unknown name.
    ///
    /// # Errors
    /// If the name is unknown or nobody answers.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the system: `/etc/hosts`, then DNS.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// The addresses of a host; one that is an address has no other.
pub(super) async fn addresses(resolver: &dyn Resolver, host: &Host) -> io::Result<Vec<IpAddr>> {
    match host {
        Host::Address(address) => Ok(vec![*address]),
        Host::Name(name) => resolver.resolve(name).await,
    }
}
