//! Makes etcd forget what was overwritten long ago: it keeps every version of every key until it is told not to.
//!
//! All nodes do this, each in its turn: a key says which revision was current when somebody looked last, and whoever
//! replaces it, with a comparison, lets etcd forget what was before the one that stood there. So a revision is
//! forgotten between one and two periods after it was replaced.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, Txn, TxnOp};

use super::integer;
use super::link::Link;
use crate::store::Error;

/// Works until the store is closed.
pub(super) async fn forget(link: Arc<Link>) {
    if link.limits.history_ms == 0 {
        return;
    }
    let period = Duration::from_millis(link.limits.history_ms);
    let work = async {
        let mut seen = None;
        loop {
            tokio::time::sleep(period).await;
            match turn(&link, seen).await {
                Ok(now) => seen = Some(now),
                Err(error) => tracing::debug!(%error, "the history in etcd could not be cut; trying again"),
            }
        }
    };
    tokio::select! {
        () = link.closing.cancelled() => {}
        () = work => {}
    }
}

/// Looks at the mark; if nobody has moved it since this node saw it, moves it and forgets what was before it. Gives the
/// mark's revision.
async fn turn(link: &Link, seen: Option<i64>) -> Result<i64, Error> {
    let place = link.space.history();
    let mark = link.read(|mut kv| {
        let place = place.clone();
        async move { kv.get(place, None).await }
    });
    let mark = mark.await?;
    let at = mark.kvs().first().map_or(0, etcd_client::KeyValue::mod_revision);
    if at != 0 && seen != Some(at) {
        return Ok(at);
    }
    let txn = Txn::new().when([Compare::mod_revision(place.clone(), CompareOp::Equal, at)]).and_then([TxnOp::put(
        place,
        Vec::new(),
        None,
    )]);
    let mut kv = link.kv.clone();
    let moved = tokio::time::timeout_at(link.deadline(), kv.txn(txn)).await.map_err(|_| link.silent())?;
    let moved = moved.map_err(|error| link.translate(&error))?;
    if moved.succeeded() && at != 0 {
        let forgotten = tokio::time::timeout_at(link.deadline(), kv.compact(at, None)).await;
        forgotten.map_err(|_| link.silent())?.map_err(|error| link.translate(&error))?;
    }
    super::revision(moved.header()).map(|revision| integer(revision.0))
}
