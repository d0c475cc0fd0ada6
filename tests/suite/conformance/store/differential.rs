//! The same operations on all backends read back the same.
//!
//! Revisions are each backend's own, so they are compared by what they do: a precondition names the state after one of
//! the operations before, and every backend says that with the revision that it gave.

use std::collections::BTreeMap;

use conveyor::config;
use conveyor::store::{Change, Error, List, Page, Revision, Write};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;

use super::watches::{follow, replay};
use super::{Backend, limits};

const KEYS: [&str; 6] = ["a", "a/b", "a/c", "ab", "b", "é"];

#[derive(Debug, Clone)]
enum Operation {
    Get(usize),
    List {
        prefix: usize,
        cursor: Option<usize>,
        limit: usize,
        descending: bool,
    },
    /// Key, value (none deletes) and what must hold.
    Transact(BTreeMap<usize, (Option<u8>, Guard)>),
}

#[derive(Debug, Clone, Copy)]
enum Guard {
    None,
    Absent,
    /// What the key was written by last as it stood after an operation: the one so many before.
    Before(usize),
}

/// What an operation answers, without revisions.
#[derive(Debug, PartialEq)]
enum Answer {
    Entry(Option<(String, Vec<u8>)>),
    Page(Vec<(String, Vec<u8>)>, Option<String>),
    Committed,
    Conflict(String),
}

fn operation() -> impl Strategy<Value = Operation> {
    let key = 0..KEYS.len();
    let guard =
        prop_oneof![3 => Just(Guard::None), 2 => Just(Guard::Absent), 4 => (0..4_usize).prop_map(Guard::Before)];
    let writes = proptest::collection::btree_map(key.clone(), (prop::option::weighted(0.7, any::<u8>()), guard), 0..4);
    prop_oneof![
        1 => key.clone().prop_map(Operation::Get),
        2 => (0..=KEYS.len(), prop::option::of(key), 0..4_usize, any::<bool>())
            .prop_map(|(prefix, cursor, limit, descending)| Operation::List { prefix, cursor, limit, descending }),
        5 => writes.prop_map(Operation::Transact),
    ]
}

/// One backend, and the revisions that keys had after each operation.
struct Subject {
    backend: Backend,
    states: Vec<BTreeMap<String, Revision>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_operations_read_back_the_same() {
    let limits = config::Store { history: 10_000, ..limits() };
    let subjects = [
        super::memory(limits.clone()).await,
        super::sqlite(limits.clone()).await,
        #[cfg(feature = "etcd")]
        super::etcd(limits).await,
    ];
    let subjects: Vec<_> = subjects.into_iter().map(|backend| Subject { backend, states: Vec::new() }).collect();
    let state = std::sync::Mutex::new((0, subjects));
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let run = |operations: Vec<Operation>| {
        let (turn, subjects) = &mut *state.lock().unwrap();
        // Each history has keys of its own, so one store of each kind serves them all.
        *turn += 1;
        Handle::current().block_on(compare(subjects, &format!("turn-{turn}/"), &operations));
        Ok(())
    };
    tokio::task::block_in_place(|| runner.run(&vec(operation(), 1..32), run)).unwrap();
}

async fn compare(subjects: &mut [Subject], space: &str, operations: &[Operation]) {
    let mut starts = Vec::new();
    for subject in subjects.iter_mut() {
        subject.states.clear();
        starts.push(subject.backend.store.transact(Vec::new()).await.unwrap());
    }
    for operation in operations {
        let mut answers = Vec::new();
        for subject in subjects.iter_mut() {
            answers.push(subject.carry_out(space, operation).await);
        }
        assert!(answers.windows(2).all(|two| two[0] == two[1]), "{operation:?} is answered {answers:?}");
    }
    let mut left = Vec::new();
    for (subject, start) in subjects.iter().zip(starts) {
        left.push(subject.replayed(space, start).await);
    }
    assert!(left.windows(2).all(|two| two[0] == two[1]), "watches lead to {left:?}");
}

impl Subject {
    async fn carry_out(&mut self, space: &str, operation: &Operation) -> Answer {
        let store = &self.backend.store;
        let answer = match operation {
            Operation::Get(key) => {
                let entry = store.get(&format!("{space}{}", KEYS[*key])).await.unwrap();
                Answer::Entry(entry.map(|entry| (entry.key, entry.value.to_vec())))
            }
            Operation::List { prefix, cursor, limit, descending } => {
                let prefix = format!("{space}{}", KEYS.get(*prefix).unwrap_or(&""));
                let cursor = cursor.map(|key| format!("{space}{}", KEYS[key]));
                let list = List { descending: *descending, ..List::prefix(prefix, *limit) }.after(cursor);
                let Page { entries, cursor, .. } = store.list(list).await.unwrap();
                Answer::Page(entries.into_iter().map(|entry| (entry.key, entry.value.to_vec())).collect(), cursor)
            }
            Operation::Transact(writes) => {
                let writes: Vec<_> =
                    writes.iter().map(|(key, (value, guard))| self.write(space, *key, *value, *guard)).collect();
                match store.transact(writes).await {
                    Ok(_) => Answer::Committed,
                    Err(Error::Conflict { key }) => Answer::Conflict(key),
                    Err(other) => panic!("{other}"),
                }
            }
        };
        let page = self.backend.store.list(List::prefix(space, 100)).await.unwrap();
        self.states.push(page.entries.into_iter().map(|entry| (entry.key, entry.revision)).collect());
        answer
    }

    fn write(&self, space: &str, key: usize, value: Option<u8>, guard: Guard) -> Write {
        let key = format!("{space}{}", KEYS[key]);
        let write = value.map_or_else(|| Write::delete(&key), |value| Write::put(&key, vec![value]));
        match guard {
            Guard::None => write,
            Guard::Absent => write.if_absent(),
            Guard::Before(back) => {
                let then = self.states.iter().rev().nth(back);
                write.if_revision(then.and_then(|state| state.get(&key)).copied().unwrap_or(Revision::START))
            }
        }
    }

    /// What the changes since the start lead to, and which keys they name.
    async fn replayed(&self, space: &str, start: Revision) -> BTreeMap<String, Vec<u8>> {
        let end = format!("{space}\u{10ffff}\u{10ffff}");
        self.backend.store.transact(vec![Write::put(&end, "")]).await.unwrap();
        let told: Vec<Change> = follow(&self.backend.store, space, start, &end).await;
        replay(Vec::new(), told).into_iter().map(|entry| (entry.key, entry.value.to_vec())).collect()
    }
}
