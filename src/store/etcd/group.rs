//! Transactions that come together share one of etcd's.
//!
//! While some requests are under way, what comes meanwhile gathers by itself; nothing waits for a group to fill. Of a
//! group whose preconditions do not all hold, only those transactions are refused whose own do not: etcd's answer says
//! what it found, and the others are sent again without them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use etcd_client::{Compare, CompareOp, GetOptions, Txn, TxnOp, TxnOpResponse};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::link::Link;
use crate::store::{Error, Precondition, Revision, Write};

/// What an operation takes in a request besides its key and value; a little more than it really is.
const OVERHEAD: usize = 40;

/// A transaction and who waits for its answer.
pub(super) struct Request {
    pub(super) writes: Vec<Write>,
    pub(super) answer: oneshot::Sender<Result<Revision, Error>>,
}

/// What a transaction takes of what one request may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weight {
    operations: usize,
    bytes: usize,
}

impl Weight {
    pub(super) fn of(writes: &[Write]) -> Self {
        let bytes = |write: &Write| {
            let guards = if write.precondition == Precondition::None { 0 } else { 2 };
            let value = write.value.as_ref().map_or(0, bytes::Bytes::len);
            (1 + guards) * (write.key.len() + OVERHEAD) + value
        };
        Self { operations: writes.len(), bytes: writes.iter().map(bytes).sum() }
    }

    fn and(self, other: Self) -> Self {
        Self { operations: self.operations + other.operations, bytes: self.bytes + other.bytes }
    }

    /// Refuses what is too much for one request. One operation more is kept for the beat.
    pub(super) fn check(self, link: &Link) -> Result<(), Error> {
        let bounds = [
            ("operations", self.operations + 1, "cluster.operations", link.limits.operations),
            ("bytes", self.bytes, "cluster.request_bytes", link.limits.request_bytes),
        ];
        for (what, has, name, most) in bounds {
            if has > most {
                return Err(Error::TooLarge(format!("it has {has} {what}, {most} is the most ({name})")));
            }
        }
        Ok(())
    }
}

/// Takes transactions until nobody can send any more.
pub(super) async fn run(link: Arc<Link>, mut queue: mpsc::Receiver<Request>, most: usize) {
    let turns = Arc::new(Semaphore::new(link.limits.writers.max(1)));
    let mut waiting = VecDeque::new();
    loop {
        if waiting.is_empty() {
            let Some(first) = queue.recv().await else { return };
            waiting.push_back(first);
        }
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        while waiting.len() < most
            && let Ok(request) = queue.try_recv()
        {
            waiting.push_back(request);
        }
        let group = take(&link, &mut waiting);
        let link = Arc::clone(&link);
        tokio::spawn(async move {
            commit(&link, group).await;
            drop(turn);
        });
    }
}

/// Takes the first and all that go with it: none names a key that another one names, and all fit into one request.
fn take(link: &Link, waiting: &mut VecDeque<Request>) -> Vec<Request> {
    let mut group: Vec<Request> = Vec::new();
    let mut keys = HashSet::new();
    let mut weight = Weight::default();
    let mut left = VecDeque::new();
    for request in waiting.drain(..) {
        let together = weight.and(Weight::of(&request.writes));
        let fits = together.check(link).is_ok() && !request.writes.iter().any(|write| keys.contains(&write.key));
        if group.is_empty() || fits {
            weight = together;
            keys.extend(request.writes.iter().map(|write| write.key.clone()));
            group.push(request);
        } else {
            left.push_back(request);
        }
    }
    *waiting = left;
    group
}

/// Who asked may have gone away meanwhile, so an answer that nobody takes is nobody's trouble.
async fn commit(link: &Link, mut group: Vec<Request>) {
    while !group.is_empty() {
        match send(link, &group).await {
            Ok(Outcome::Committed(revision)) => {
                for request in group {
                    let _ = request.answer.send(Ok(revision));
                }
                return;
            }
            Ok(Outcome::Refused(found)) => {
                let before = group.len();
                group = group.into_iter().filter_map(|request| refuse(request, &found)).collect();
                if group.len() == before {
                    return fail(
                        group,
                        &Error::Unavailable("etcd refuses a transaction that it says holds".to_owned()),
                    );
                }
            }
            // The servers allow less than is configured.
            Err(Error::TooLarge(_)) if group.len() > 1 => {
                for request in group {
                    Box::pin(commit(link, vec![request])).await;
                }
                return;
            }
            Err(error) => return fail(group, &error),
        }
    }
}

fn fail(group: Vec<Request>, error: &Error) {
    for request in group {
        let _ = request.answer.send(Err(error.clone()));
    }
}

/// Answers a transaction of which a precondition does not hold, and gives back one that holds.
fn refuse(request: Request, found: &HashMap<Vec<u8>, u64>) -> Option<Request> {
    let at = |write: &Write| found.get(write.key.as_bytes()).copied();
    let first = request.writes.iter().find(|write| match write.precondition {
        Precondition::None => false,
        Precondition::Absent => at(write).is_some(),
        Precondition::At(expected) => at(write) != Some(expected.0),
    });
    let Some(key) = first.map(|write| write.key.clone()) else { return Some(request) };
    let _ = request.answer.send(Err(Error::Conflict { key }));
    None
}

/// What became of a request.
enum Outcome {
    Committed(Revision),
    /// Nothing was written; the revisions of the guarded keys that are there.
    Refused(HashMap<Vec<u8>, u64>),
}

async fn send(link: &Link, group: &[Request]) -> Result<Outcome, Error> {
    let writes = || group.iter().flat_map(|request| &request.writes);
    let guarded = || writes().filter(|write| write.precondition != Precondition::None);
    let mut puts: Vec<TxnOp> = writes().map(|write| operation(link, write)).collect();
    if writes().all(|write| write.value.is_none()) {
        puts.push(TxnOp::put(link.space.beat(), Vec::new(), None));
    }
    let look = |write: &Write| TxnOp::get(link.space.key(&write.key), Some(GetOptions::new().with_keys_only()));
    let txn = Txn::new()
        .when(guarded().map(|write| compare(link, write)).collect::<Vec<_>>())
        .and_then(puts)
        .or_else(guarded().map(look).collect::<Vec<_>>());
    let mut kv = link.kv.clone();
    let answer = match tokio::time::timeout_at(link.deadline(), kv.txn(txn)).await {
        Ok(answer) => answer.map_err(|error| link.translate(&error))?,
        Err(_) => return Err(link.silent()),
    };
    if answer.succeeded() {
        return Ok(Outcome::Committed(super::revision(answer.header())?));
    }
    let mut found = HashMap::new();
    for response in answer.op_responses() {
        let TxnOpResponse::Get(response) = response else { continue };
        for entry in response.kvs() {
            found.insert(link.space.name(entry.key())?.into_bytes(), super::number(entry.mod_revision()));
        }
    }
    Ok(Outcome::Refused(found))
}

fn operation(link: &Link, write: &Write) -> TxnOp {
    let key = link.space.key(&write.key);
    match &write.value {
        Some(value) => TxnOp::put(key, value.to_vec(), None),
        None => TxnOp::delete(key, None),
    }
}

fn compare(link: &Link, write: &Write) -> Compare {
    let key = link.space.key(&write.key);
    match write.precondition {
        // To etcd what is not there has the revision 0, so that one needs a comparison that never holds.
        Precondition::At(Revision(0)) => Compare::version(key, CompareOp::Less, 0),
        Precondition::At(revision) => {
            Compare::mod_revision(key, CompareOp::Equal, i64::try_from(revision.0).unwrap_or(i64::MAX))
        }
        Precondition::Absent | Precondition::None => Compare::version(key, CompareOp::Equal, 0),
    }
}
