//! The store of many machines: etcd.
//!
//! Revisions are etcd's own, and so are the comparisons that guard writes. Nothing is kept here but what is under way:
//! all nodes see the same, and any of them may end at any time.

mod group;
mod history;
mod link;
mod listing;
mod space;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;
use etcd_client::ResponseHeader;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::DropGuard;

use self::group::{Request, Weight};
use self::link::Link;
use super::range::check_size;
use super::{Entry, Error, List, Page, Revision, Store, Watch, Write};
use crate::config;

/// A store in etcd. Dropping it ends its watches.
pub struct EtcdStore {
    limits: config::Store,
    link: Arc<Link>,
    queue: mpsc::Sender<Request>,
    /// Ends the tasks, which hold the link as well.
    _tasks: DropGuard,
}

impl EtcdStore {
    /// A store in the etcd at `servers`, addresses separated by commas. Servers that cannot be reached are not an error:
    /// until they can, requests are answered with [`Error::Unavailable`].
    ///
    /// # Errors
    /// [`Error::Misconfigured`] if an address is none.
    pub async fn connect(servers: &str, limits: &config::Store, cluster: &config::Cluster) -> Result<Self, Error> {
        let link = Arc::new(Link::open(servers, cluster).await?);
        let (queue, requests) = mpsc::channel(limits.queue.max(1));
        let group = limits.group.max(1);
        tokio::spawn(group::run(Arc::clone(&link), requests, group));
        tokio::spawn(history::forget(Arc::clone(&link)));
        Ok(Self { limits: limits.clone(), _tasks: link.closing.clone().drop_guard(), link, queue })
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        listing::get(&self.link, key).await
    }

    async fn list(&self, query: List) -> Result<Page, Error> {
        listing::list(&self.link, &query).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, Error> {
        check_size(&writes, &self.limits)?;
        Weight::of(&writes).check(&self.link)?;
        let stopped = || Error::Unavailable("the store was closed".to_owned());
        let (answer, answered) = oneshot::channel();
        self.queue.send(Request { writes, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        Ok(watch::watch(&self.link, prefix, after))
    }

    /// A transaction without writes goes the way of every other: it writes the beat.
    async fn check(&self) -> Result<(), Error> {
        self.transact(Vec::new()).await.map(drop)
    }
}

/// The revision that an answer was made at.
fn revision(header: Option<&ResponseHeader>) -> Result<Revision, Error> {
    let revision = header.map(|header| Revision(number(header.revision())));
    revision.ok_or_else(|| Error::Damaged("an answer of etcd has no header".to_owned()))
}

/// A number as etcd gives it; none of those that we use is ever below zero.
fn number(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A number as etcd takes it.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
