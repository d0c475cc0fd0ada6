//! Reading and writing.

use bytes::Bytes;
use conveyor::store::{Error, List, Revision, SharedStore, Write};

use super::{Backend, limits};

pub(super) async fn reads_see_what_was_written(backend: Backend) {
    let store = &backend.store;
    assert_eq!(store.get("a").await.unwrap(), None);
    let first = store.transact(vec![Write::put("a", "1"), Write::put("b", Bytes::new())]).await.unwrap();
    assert!(first > Revision::START);
    for (key, value) in [("a", "1"), ("b", "")] {
        let entry = store.get(key).await.unwrap().unwrap();
        assert_eq!((entry.key.as_str(), entry.value, entry.revision), (key, Bytes::from(value), first));
    }
    let second = store.transact(vec![Write::put("a", vec![0, 255]), Write::delete("b")]).await.unwrap();
    assert!(second > first);
    let entry = store.get("a").await.unwrap().unwrap();
    assert_eq!((entry.value, entry.revision), (Bytes::from(vec![0, 255]), second));
    assert_eq!(store.get("b").await.unwrap(), None);
    let third = store.transact(vec![Write::delete("nothing")]).await.unwrap();
    assert!(third > second);
    assert_eq!(store.get("a").await.unwrap().unwrap().revision, second);
}

pub(super) async fn a_precondition_guards_its_write(backend: Backend) {
    let store = &backend.store;
    let conflict = |result: Result<Revision, Error>| match result {
        Err(Error::Conflict { key }) => assert_eq!(key, "k"),
        other => panic!("a conflict was expected: {other:?}"),
    };
    conflict(store.transact(vec![Write::put("k", "v").if_revision(Revision(1))]).await);
    conflict(store.transact(vec![Write::delete("k").if_revision(Revision::START)]).await);
    store.transact(vec![Write::delete("k").if_absent()]).await.unwrap();
    let first = store.transact(vec![Write::put("k", "1").if_absent()]).await.unwrap();
    conflict(store.transact(vec![Write::put("k", "2").if_absent()]).await);
    conflict(store.transact(vec![Write::delete("k").if_absent()]).await);
    let second = store.transact(vec![Write::put("k", "2").if_revision(first)]).await.unwrap();
    conflict(store.transact(vec![Write::put("k", "3").if_revision(first)]).await);
    conflict(store.transact(vec![Write::delete("k").if_revision(first)]).await);
    assert_eq!(store.get("k").await.unwrap().unwrap().value, "2");
    store.transact(vec![Write::delete("k").if_revision(second)]).await.unwrap();
    conflict(store.transact(vec![Write::put("k", "3").if_revision(second)]).await);
    store.transact(vec![Write::put("k", "3").if_absent()]).await.unwrap();
}

/// The first write that is not as expected is named, wherever it stands.
pub(super) async fn a_conflict_writes_nothing(backend: Backend) {
    let store = &backend.store;
    let before = backend.put(&["a", "b", "c"]).await;
    let writes = vec![
        Write::put("new", "x"),
        Write::delete("a"),
        Write::put("b", "x").if_revision(before),
        Write::put("c", "x").if_absent(),
        Write::put("d", "x").if_revision(before),
    ];
    let result = store.transact(writes).await;
    assert!(matches!(&result, Err(Error::Conflict { key }) if key == "c"), "{result:?}");
    let page = store.list(List::prefix("", 10)).await.unwrap();
    let left: Vec<_> = page.entries.iter().map(|entry| (entry.key.as_str(), entry.revision)).collect();
    assert_eq!(left, [("a", before), ("b", before), ("c", before)]);
}

pub(super) async fn no_increment_is_lost(backend: Backend) {
    const TASKS: u64 = 64;
    const EACH: u64 = 3;
    backend.store.transact(vec![Write::put("counter", "0")]).await.unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = backend.store.clone();
            tokio::spawn(async move {
                for turn in 0..EACH {
                    increment(&store, &format!("by/{task}/{turn}")).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let counter = backend.store.get("counter").await.unwrap().unwrap();
    assert_eq!(counter.value, (TASKS * EACH).to_string());
    let written = backend.store.list(List::prefix("by/", 1_000)).await.unwrap().entries;
    assert_eq!(written.len() as u64, TASKS * EACH);
    let mut revisions: Vec<_> = written.iter().map(|entry| entry.revision).collect();
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len() as u64, TASKS * EACH, "two transactions have one revision");
    assert_eq!(revisions.last(), Some(&counter.revision));
}

async fn increment(store: &SharedStore, receipt: &str) {
    loop {
        let entry = store.get("counter").await.unwrap().unwrap();
        let next = std::str::from_utf8(&entry.value).unwrap().parse::<u64>().unwrap() + 1;
        let counter = Write::put("counter", next.to_string()).if_revision(entry.revision);
        match store.transact(vec![counter, Write::put(receipt, "").if_absent()]).await {
            Ok(revision) => {
                assert!(revision > entry.revision);
                return;
            }
            Err(Error::Conflict { key }) => assert_eq!(key, "counter"),
            Err(other) => panic!("{other}"),
        }
    }
}

pub(super) async fn a_transaction_over_a_bound_is_refused(backend: Backend) {
    let store = &backend.store;
    let puts = |count: usize| (0..count).map(|number| Write::put(format!("k{number}"), "")).collect::<Vec<_>>();
    let most = limits().transaction_writes;
    assert!(matches!(store.transact(puts(most + 1)).await, Err(Error::TooLarge(_))));
    store.transact(puts(most)).await.unwrap();
    // The bytes of the key count too.
    let value = |less: usize| vec![Write::put("key", vec![7; limits().transaction_bytes - less])];
    assert!(matches!(store.transact(value(2)).await, Err(Error::TooLarge(_))));
    assert_eq!(store.get("key").await.unwrap(), None);
    store.transact(value(3)).await.unwrap();
    assert_eq!(store.get("key").await.unwrap().unwrap().value.len(), limits().transaction_bytes - 3);
}

pub(super) async fn a_check_leaves_no_entry(backend: Backend) {
    backend.store.check().await.unwrap();
    backend.store.transact(Vec::new()).await.unwrap();
    assert_eq!(backend.store.list(List::prefix("", 1)).await.unwrap().entries, []);
}
