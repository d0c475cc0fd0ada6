//! Watching.

use std::collections::BTreeMap;
use std::time::Duration;

use conveyor::config;
use conveyor::store::{Change, Entry, Error, List, Revision, SharedStore, Watch, Write};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;

use super::listing::pages;
use super::{Backend, limits};

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn the_start_tells_all_entries(backend: Backend) {
    let first = backend.put(&["a/1", "a/2", "b/1"]).await;
    backend.store.transact(vec![Write::delete("a/1")]).await.unwrap();
    let third = backend.put(&["a/3"]).await;
    let mut watch = backend.store.watch("a/", Revision::START).await.unwrap();
    assert_eq!(next(&mut watch).await, change("a/2", Some("a/2"), first));
    assert_eq!(next(&mut watch).await, change("a/3", Some("a/3"), third));
    let fourth = backend.store.transact(vec![Write::delete("a/2")]).await.unwrap();
    assert_eq!(next(&mut watch).await, change("a/2", None, fourth));
}

pub(super) async fn a_watch_resumes_behind_a_revision(backend: Backend) {
    let first = backend.put(&["a/1", "a/2"]).await;
    let second = backend.store.transact(vec![Write::delete("a/1"), Write::put("b", "")]).await.unwrap();
    let third = backend.put(&["a/3"]).await;
    let changes = [change("a/1", None, second), change("a/3", Some("a/3"), third)];
    for (after, seen) in [(first, 0), (second, 1)] {
        let mut watch = backend.store.watch("a/", after).await.unwrap();
        for expected in &changes[seen..] {
            assert_eq!(next(&mut watch).await, *expected);
        }
    }
    let mut watch = backend.store.watch("a/", third).await.unwrap();
    assert!(watch.next().now_or_never().is_none());
    let fourth = backend.put(&["a/4"]).await;
    assert_eq!(next(&mut watch).await, change("a/4", Some("a/4"), fourth));
}

/// Changes to other keys neither wake a watch nor make it lose its place.
pub(super) async fn a_watch_that_slept_is_told_what_it_asked_for(backend: Backend) {
    let mut watch = backend.store.watch("mine/", Revision::START).await.unwrap();
    for round in 0..5 {
        assert!(watch.next().now_or_never().is_none());
        for other in 0..10 {
            backend.put(&[&format!("other/{other}")]).await;
            backend.store.transact(vec![Write::delete(format!("other/{other}"))]).await.unwrap();
        }
        let key = format!("mine/{round}");
        let revision = backend.put(&[&key, "other/x"]).await;
        backend.put(&["other/y"]).await;
        assert_eq!(next(&mut watch).await, change(&key, Some(&key), revision));
    }
}

/// A page of changes may end inside a transaction.
pub(super) async fn large_transactions_are_told_whole(backend: Backend) {
    // Not a part of any round number that a backend may have chosen for its pages.
    let most = limits().transaction_writes - 3;
    for transaction in 0..10 {
        let key = |number| format!("{:03}", (number * 7 + transaction) % 100);
        let writes = (0..most).map(|number| Write::put(format!("k/{transaction}/{}", key(number)), vec![0; 500]));
        backend.store.transact(writes.collect()).await.unwrap();
    }
    backend.put(&["k/end"]).await;
    let told = follow(&backend.store, "k/", Revision::START, "k/end").await;
    assert_eq!(told.len(), 10 * most + 1);
    assert_eq!(replay(Vec::new(), told), pages(&backend.store, List::prefix("k/", 1_000)).await);
}

/// Readers that list and then watch from the page, at any time, end with what is there.
pub(super) async fn a_page_and_a_watch_miss_nothing(backend: Backend) {
    let writers: Vec<_> = (0..8).map(|seed| tokio::spawn(scribble(backend.store.clone(), seed))).collect();
    let (listed, mut all_listed) = mpsc::channel(6);
    let readers: Vec<_> = (0..6)
        .map(|reader| {
            let (store, listed) = (backend.store.clone(), listed.clone());
            tokio::spawn(async move {
                for _ in 0..reader * 10 {
                    store.get("w/00").await.unwrap();
                    tokio::task::yield_now().await;
                }
                let page = store.list(List::prefix("w/", 1_000)).await.unwrap();
                listed.send(()).await.unwrap();
                let told = follow(&store, "w/", page.revision, "w/~end").await;
                assert!(told.iter().all(|change| change.revision > page.revision));
                replay(page.entries, told)
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    // The end must come behind every page.
    for _ in &readers {
        all_listed.recv().await.unwrap();
    }
    backend.put(&["w/~end"]).await;
    let left = pages(&backend.store, List::prefix("w/", 1_000)).await;
    for reader in readers {
        assert_eq!(reader.await.unwrap(), left);
    }
}

async fn scribble(store: SharedStore, seed: u64) {
    let mut random = numbers(seed);
    for turn in 0..60_u64 {
        let key = |number: u64| format!("w/{:02}", number % 24);
        let other = key(random());
        let write =
            if random().is_multiple_of(3) { Write::delete(&other) } else { Write::put(&other, turn.to_string()) };
        store.transact(vec![write, Write::put(format!("x/{seed}"), "")]).await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// Numbers that are the same in every run.
fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed + 1;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

pub(super) async fn a_watch_ends_with_its_store(backend: Backend) {
    let mut watch = backend.store.watch("", Revision::START).await.unwrap();
    drop(backend);
    let last = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap();
    assert!(matches!(last, Some(Err(Error::Unavailable(_)))), "{last:?}");
    assert!(watch.next().await.is_none());
}

/// For backends that forget deletions by themselves.
async fn forgotten_deletions_end_a_watch(backend: Backend) {
    let start = backend.put(&["a", "b", "c", "d", "e", "kept"]).await;
    let mut revisions = Vec::new();
    for key in ["a", "b", "c", "d", "e"] {
        revisions.push(backend.store.transact(vec![Write::delete(key)]).await.unwrap());
    }
    let mut watch = backend.store.watch("", start).await.unwrap();
    match tokio::time::timeout(PATIENCE, watch.next()).await.unwrap() {
        Some(Err(Error::Compacted { oldest })) => assert_eq!(oldest, revisions[2]),
        other => panic!("{other:?}"),
    }
    assert!(watch.next().await.is_none());
    let mut watch = backend.store.watch("", revisions[2]).await.unwrap();
    assert_eq!(next(&mut watch).await, change("d", None, revisions[3]));
    assert_eq!(next(&mut watch).await, change("e", None, revisions[4]));
    let mut watch = backend.store.watch("", Revision::START).await.unwrap();
    assert_eq!(next(&mut watch).await, change("kept", Some("kept"), start));
}

#[tokio::test]
async fn memory_forgets_deletions() {
    forgotten_deletions_end_a_watch(super::memory(config::Store { history: 2, ..limits() }).await).await;
}

#[tokio::test]
async fn sqlite_forgets_deletions() {
    forgotten_deletions_end_a_watch(super::sqlite(config::Store { history: 2, ..limits() }).await).await;
}

/// What a watch tells up to the change of the key `end`; strictly in order.
pub(super) async fn follow(store: &SharedStore, prefix: &str, after: Revision, end: &str) -> Vec<Change> {
    let mut watch = store.watch(prefix, after).await.unwrap();
    let mut told: Vec<Change> = Vec::new();
    loop {
        let change = next(&mut watch).await;
        assert!(change.key.starts_with(prefix));
        if let Some(last) = told.last() {
            let (last, this) = ((last.revision, &last.key), (change.revision, &change.key));
            assert!(last.0 <= this.0 && last != this, "{last:?} before {this:?}");
        }
        told.push(change);
        if told.last().is_some_and(|change| change.key == end) {
            return told;
        }
    }
}

/// The entries after changes, without those that only mark an end with two of the last character.
pub(super) fn replay(entries: Vec<Entry>, changes: Vec<Change>) -> Vec<Entry> {
    let mut entries: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
    for Change { key, value, revision } in changes {
        match value {
            Some(value) => drop(entries.insert(key.clone(), Entry { key, value, revision })),
            None => drop(entries.remove(&key)),
        }
    }
    entries.into_values().filter(|entry| !entry.key.ends_with("\u{10ffff}\u{10ffff}")).collect()
}

pub(super) async fn next(watch: &mut Watch) -> Change {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("nothing was told").unwrap().unwrap()
}

pub(super) fn change(key: &str, value: Option<&str>, revision: Revision) -> Change {
    Change { key: key.to_owned(), value: value.map(|value| value.to_owned().into()), revision }
}
