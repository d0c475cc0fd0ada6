//! The connection: requests with a deadline, and what etcd's errors mean to us.

use std::future::Future;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, KvClient, WatchClient};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::space::Space;
use crate::config;
use crate::store::Error;

/// Without an answer to a sign of life for so long, a connection counts as lost.
const SILENCE: Duration = Duration::from_secs(3);

/// The first and the longest pause between two tries of a request that only reads.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// The largest answer that is taken. A page of entries may be far larger than a request.
const ANSWER: usize = 256 << 20;

/// What the parts of the store share.
pub(super) struct Link {
    pub(super) kv: KvClient,
    pub(super) watch: WatchClient,
    pub(super) space: Space,
    pub(super) limits: config::Cluster,
    pub(super) closing: CancellationToken,
    shown: String,
}

impl Link {
    /// Prepares the connections; the servers need not be there yet.
    pub(super) async fn open(servers: &str, limits: &config::Cluster) -> Result<Self, Error> {
        let addresses = Addresses::read(servers)?;
        let shown = addresses.endpoints.join(", ");
        let unusable =
            |error: etcd_client::Error| Error::Misconfigured(format!("etcd at {shown} cannot be used: {error}"));
        // Watches have a connection of their own: the room that they may fill is not that of requests.
        let requests = Client::connect(&addresses.endpoints, Some(addresses.options(limits))).await;
        let watches = Client::connect(&addresses.endpoints, Some(addresses.options(limits))).await;
        Ok(Self {
            kv: requests.map_err(&unusable)?.kv_client().max_decoding_message_size(ANSWER),
            watch: watches.map_err(&unusable)?.watch_client().max_decoding_message_size(ANSWER),
            space: Space::new(&limits.prefix),
            limits: limits.clone(),
            closing: CancellationToken::new(),
            shown,
        })
    }

    /// When a request that begins at this moment is given up.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.limits.timeout_ms)
    }

    /// One request that only reads: it is tried again until the deadline.
    pub(super) async fn read<T, F>(&self, call: impl Fn(KvClient) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = self.deadline();
        let mut pause = PAUSES.0;
        loop {
            match tokio::time::timeout_at(deadline, call(self.kv.clone())).await {
                Err(_) => return Err(self.silent()),
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if may_pass(&error) && Instant::now() + pause < deadline => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                Ok(Err(error)) => return Err(self.translate(&error)),
            }
        }
    }

    /// No answer in time.
    pub(super) fn silent(&self) -> Error {
        Error::Unavailable(format!("etcd at {} did not answer within {} ms", self.shown, self.limits.timeout_ms))
    }

    /// What an error of the client means to the caller of the store.
    pub(super) fn translate(&self, error: &etcd_client::Error) -> Error {
        let shown = &self.shown;
        let etcd_client::Error::GRpcStatus(status) = error else {
            return Error::Unavailable(format!("etcd at {shown}: {error}"));
        };
        let text = status.message();
        let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
        match status.code() {
            Code::InvalidArgument | Code::ResourceExhausted
                if has(&["too large", "too many operations", "larger than max"]) =>
            {
                Error::TooLarge(format!(
                    "etcd at {shown} refuses it ({text}): its limits are below cluster.operations or cluster.request_bytes"
                ))
            }
            Code::ResourceExhausted if has(&["space exceeded"]) => Error::Unavailable(format!(
                "etcd at {shown} is full: compact and defragment it, raise --quota-backend-bytes, then disarm its alarm"
            )),
            Code::OutOfRange if has(&["compacted"]) => Error::Compacted { oldest: crate::store::Revision::START },
            _ => Error::Unavailable(format!("etcd at {shown}: {text}")),
        }
    }
}

/// Whether the same request may be answered a moment later.
fn may_pass(error: &etcd_client::Error) -> bool {
    match error {
        etcd_client::Error::GRpcStatus(status) => {
            matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled)
        }
        etcd_client::Error::TransportError(_) | etcd_client::Error::IoError(_) => true,
        _ => false,
    }
}

/// Addresses, and who asks: the user and password of the first address that has them.
struct Addresses {
    endpoints: Vec<String>,
    user: Option<(String, String)>,
}

impl Addresses {
    fn read(servers: &str) -> Result<Self, Error> {
        let mut addresses = Self { endpoints: Vec::new(), user: None };
        for server in servers.split(',').map(str::trim).filter(|server| !server.is_empty()) {
            let address = server.strip_prefix("http://").unwrap_or(server);
            // Nothing of the address is repeated before the part behind the password.
            let (user, host) = address.rsplit_once('@').map_or((None, address), |(user, host)| (Some(user), host));
            let host = host.trim_end_matches('/');
            if host.is_empty() || host.contains("://") || host.contains('/') {
                let text = format!("\"{host}\" is no address of an etcd server: give it as http://HOST:PORT");
                return Err(Error::Misconfigured(text));
            }
            if let Some((name, password)) = user.and_then(|user| user.split_once(':')) {
                addresses.user.get_or_insert_with(|| (name.to_owned(), password.to_owned()));
            }
            let port =
                if host.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok()) { "" } else { ":2379" };
            addresses.endpoints.push(format!("http://{host}{port}"));
        }
        if addresses.endpoints.is_empty() {
            return Err(Error::Misconfigured("no address of an etcd server is given".to_owned()));
        }
        Ok(addresses)
    }

    fn options(&self, limits: &config::Cluster) -> ConnectOptions {
        let options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_millis(limits.timeout_ms))
            .with_keep_alive(Duration::from_millis(limits.keep_alive_ms), SILENCE)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        match &self.user {
            Some((name, password)) => options.with_user(name, password).with_auto_token_refresh(true),
            None => options,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_passwords_kept_back() {
        let read = Addresses::read("http://ann:secret@a:1, b ,http://127.0.0.1:2379/").unwrap();
        assert_eq!(read.endpoints, ["http://a:1", "http://b:2379", "http://127.0.0.1:2379"]);
        assert_eq!(read.user, Some(("ann".to_owned(), "secret".to_owned())));
        for wrong in ["", ",", "https://a:1", "http://ann:secret@", "http://ann:secret@a/b"] {
            let Err(Error::Misconfigured(text)) = Addresses::read(wrong) else { panic!("{wrong} was taken") };
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
