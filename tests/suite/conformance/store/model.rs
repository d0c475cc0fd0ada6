//! Any history of transactions must leave what the same history leaves in a map.

use std::collections::BTreeMap;

use bytes::Bytes;
use conveyor::store::{Entry, Error, List, Revision, SharedStore, Write};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;

use super::Backend;
use super::listing::pages;
use super::watches::{follow, replay};

const KEYS: [&str; 8] = ["a", "a/", "a/b", "a0", "ab", "é", "é/ü", "\u{10ffff}"];

type Model = BTreeMap<String, (Bytes, Revision)>;

#[derive(Debug, Clone)]
enum Step {
    Transact(BTreeMap<usize, (Option<u8>, Guard)>),
    List { prefix: usize, limit: usize, descending: bool },
}

#[derive(Debug, Clone, Copy)]
enum Guard {
    None,
    Absent,
    Current,
    Stale,
}

fn step() -> impl Strategy<Value = Step> {
    let guard = prop_oneof![
        4 => Just(Guard::None), 1 => Just(Guard::Absent), 3 => Just(Guard::Current), 1 => Just(Guard::Stale)
    ];
    let writes = btree_map(0..KEYS.len(), (prop::option::weighted(0.7, any::<u8>()), guard), 0..4);
    prop_oneof![
        3 => writes.prop_map(Step::Transact),
        1 => (0..=KEYS.len(), 1..5_usize, any::<bool>())
            .prop_map(|(prefix, limit, descending)| Step::List { prefix, limit, descending }),
    ]
}

pub(super) async fn any_history_agrees_with_a_map(backend: Backend) {
    let store = &backend.store;
    let mut turn = 0;
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let check = |steps: Vec<Step>| {
        // Each history has keys of its own, so one store serves them all.
        turn += 1;
        let space = format!("model-{turn}/");
        Handle::current().block_on(run(store, &space, steps));
        Ok(())
    };
    let check = std::sync::Mutex::new(check);
    tokio::task::block_in_place(|| runner.run(&vec(step(), 1..24), |steps| (check.lock().unwrap())(steps))).unwrap();
}

async fn run(store: &SharedStore, space: &str, steps: Vec<Step>) {
    let mut model = Model::new();
    let mut last = store.transact(Vec::new()).await.unwrap();
    let middle = steps.len() / 2;
    let mut resumed = (last, model.clone());
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Transact(writes) => transact(store, space, &mut model, &mut last, writes).await,
            Step::List { prefix, limit, descending } => {
                let prefix = format!("{space}{}", KEYS.get(prefix).unwrap_or(&""));
                let list = List { descending, ..List::prefix(&prefix, limit) };
                let mut expected = entries(&model, &prefix);
                if descending {
                    expected.reverse();
                }
                assert_eq!(pages(store, list).await, expected);
            }
        }
        if number == middle {
            resumed = (last, model.clone());
        }
    }
    let all = entries(&model, space);
    assert_eq!(pages(store, List::prefix(space, 100)).await, all);
    let end = format!("{space}\u{10ffff}\u{10ffff}");
    store.transact(vec![Write::put(&end, "")]).await.unwrap();
    // A watch from the start knows no deletions, and one from the middle completes what was there then.
    let told = follow(store, space, Revision::START, &end).await;
    assert!(told.iter().all(|change| change.value.is_some()));
    assert_eq!(replay(Vec::new(), told), all);
    let told = follow(store, space, resumed.0, &end).await;
    assert_eq!(replay(entries(&resumed.1, space), told), all);
}

async fn transact(
    store: &SharedStore,
    space: &str,
    model: &mut Model,
    last: &mut Revision,
    writes: BTreeMap<usize, (Option<u8>, Guard)>,
) {
    let mut expected = None;
    let mut transaction = Vec::new();
    for (index, (value, guard)) in writes {
        let key = format!("{space}{}", KEYS[index]);
        let current = model.get(&key).map(|(_, revision)| *revision);
        let value = value.map(|byte| vec![byte; usize::from(byte % 4)]);
        let write = value.map_or_else(|| Write::delete(&key), |value| Write::put(&key, value));
        let (write, holds) = match guard {
            Guard::None => (write, true),
            Guard::Absent => (write.if_absent(), current.is_none()),
            Guard::Current => (write.if_revision(current.unwrap_or(Revision::START)), current.is_some()),
            Guard::Stale => (write.if_revision(Revision(last.0 + 1_000_000)), false),
        };
        expected = expected.or((!holds).then_some(key));
        transaction.push(write);
    }
    match (store.transact(transaction.clone()).await, expected) {
        (Ok(revision), None) => {
            assert!(revision > *last);
            *last = revision;
            for Write { key, value, .. } in transaction {
                match value {
                    Some(value) => drop(model.insert(key, (value, revision))),
                    None => drop(model.remove(&key)),
                }
            }
        }
        (Err(Error::Conflict { key }), Some(expected)) => assert_eq!(key, expected),
        (result, expected) => panic!("{result:?}, but the conflict expected is {expected:?}"),
    }
}

fn entries(model: &Model, prefix: &str) -> Vec<Entry> {
    let inside = model.iter().filter(|(key, _)| key.starts_with(prefix));
    inside
        .map(|(key, (value, revision))| Entry { key: key.clone(), value: value.clone(), revision: *revision })
        .collect()
}
