//! What only a store on a server meets: a server that ends, one that forgets, and one that allows less.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use conveyor::config;
use conveyor::store::{Change, Error, EtcdStore, List, Revision, SharedStore, Store as _, Watch, Write};
use futures_util::{FutureExt as _, StreamExt as _};

use super::listing::pages;
use super::watches::{change, follow, next, replay};
use crate::support::etcd::EtcdServer;

async fn open(server: &EtcdServer, change: impl FnOnce(&mut config::Cluster)) -> SharedStore {
    let mut cluster = config::Cluster::default();
    change(&mut cluster);
    Arc::new(EtcdStore::connect(&server.url(), &config::Store::default(), &cluster).await.unwrap())
}

async fn put(store: &SharedStore, key: &str) -> Revision {
    store.transact(vec![Write::put(key, key.to_owned())]).await.unwrap()
}

/// While nobody listens etcd changes much and then forgets how: every key that differs is told, deleted ones too, and
/// each once, whether the watch knew its keys from the start or had to ask which there were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_survives_compaction() {
    let mut server = EtcdServer::start();
    let store = open(&server, |_| {}).await;
    let first = store.transact(["w/gone", "w/kept", "w/old"].map(|key| Write::put(key, "1")).into()).await.unwrap();
    let mut all = store.watch("w/", Revision::START).await.unwrap();
    for key in ["w/gone", "w/kept", "w/old"] {
        assert_eq!(next(&mut all).await, change(key, Some("1"), first));
    }
    let mut later = store.watch("w/", first).await.unwrap();
    let ready = put(&store, "w/ready").await;
    for watch in [&mut all, &mut later] {
        assert_eq!(next(watch).await, change("w/ready", Some("w/ready"), ready));
    }
    server
        .behind_the_back(async |mut kv| {
            for (key, value) in [("old", "2"), ("old", "3"), ("brief", ""), ("new", "1")] {
                kv.put(format!("/conveyor/w/{key}"), value, None).await.unwrap();
            }
            kv.delete("/conveyor/w/brief", None).await.unwrap();
            let now = kv.delete("/conveyor/w/gone", None).await.unwrap().header().unwrap().revision();
            kv.compact(now, None).await.unwrap();
        })
        .await;
    for watch in [&mut all, &mut later] {
        let mut told = BTreeMap::new();
        for _ in 0..3 {
            let Change { key, value, revision } = next(watch).await;
            assert!(revision > ready);
            assert!(told.insert(key, value).is_none());
        }
        let value = |text: &'static str| Some(Bytes::from(text));
        let expected = [("w/gone", None), ("w/new", value("1")), ("w/old", value("3"))];
        assert_eq!(told, expected.map(|(key, value)| (key.to_owned(), value)).into());
    }
    // Compaction of what was told already is nobody's trouble.
    put(&store, "other").await;
    server.compact().await;
    let end = put(&store, "w/end").await;
    for watch in [&mut all, &mut later] {
        assert_eq!(next(watch).await, change("w/end", Some("w/end"), end));
        assert!(watch.next().now_or_never().is_none());
    }
}

/// A watch that cannot know what was deleted says so instead of keeping silent about it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_from_what_is_forgotten_ends() {
    let mut server = EtcdServer::start();
    let store = open(&server, |cluster| cluster.watched_keys = 2).await;
    let first = put(&store, "a").await;
    for key in ["b", "c", "d"] {
        put(&store, key).await;
    }
    server.compact().await;
    let last = put(&store, "e").await;
    let compacted = |told: Option<Result<Change, Error>>| match told {
        Some(Err(Error::Compacted { oldest })) => assert!(oldest > first && oldest <= last, "{oldest:?}"),
        other => panic!("{other:?}"),
    };
    let mut late = store.watch("", first).await.unwrap();
    compacted(late.next().await);
    assert!(late.next().await.is_none());
    // One over more keys than may be remembered ends when it is cut off.
    let mut large = store.watch("", last).await.unwrap();
    let next_one = put(&store, "f").await;
    assert_eq!(next(&mut large).await, change("f", Some("f"), next_one));
    server
        .behind_the_back(async |mut kv| {
            let now = kv.delete("/conveyor/a", None).await.unwrap().header().unwrap().revision();
            kv.put("/conveyor/b", "", None).await.unwrap();
            kv.compact(now + 1, None).await.unwrap();
        })
        .await;
    assert!(matches!(large.next().await, Some(Err(Error::Compacted { .. }))));
}

/// etcd is killed again and again under writers and a watch: what was confirmed is there, what failed is there or not,
/// and the watch tells a history that leads to what there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_the_server_lose_nothing() {
    let mut server = EtcdServer::start();
    let store = open(&server, |_| {}).await;
    let watcher = tokio::spawn({
        let store = store.clone();
        async move { follow(&store, "k/", Revision::START, "k/~end").await }
    });
    let stop = tokio_util::sync::CancellationToken::new();
    let writers: Vec<_> = (0..8).map(|writer| tokio::spawn(count_up(store.clone(), writer, stop.clone()))).collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.restart();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.cancel();
    for (writer, task) in writers.into_iter().enumerate() {
        let (confirmed, tried) = task.await.unwrap();
        let entry = store.get(&format!("k/{writer}")).await.unwrap().unwrap();
        let found: u64 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
        assert!(confirmed <= found && found <= tried, "{confirmed} <= {found} <= {tried}");
        assert!(confirmed > 20, "writer {writer} only wrote {confirmed} times");
    }
    put(&store, "k/~end").await;
    let told = watcher.await.unwrap();
    assert_eq!(replay(Vec::new(), told), pages(&store, List::prefix("k/", 100)).await);
}

/// Adds one at a time with a compare-and-swap; gives the last number that was confirmed and the last that was tried.
async fn count_up(store: SharedStore, writer: usize, stop: tokio_util::sync::CancellationToken) -> (u64, u64) {
    let key = format!("k/{writer}");
    let (mut confirmed, mut tried) = (0, 0);
    while !stop.is_cancelled() {
        let Ok(entry) = store.get(&key).await else { continue };
        let found = entry.as_ref().map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse().unwrap());
        assert!(confirmed <= found && found <= tried, "{confirmed} <= {found} <= {tried}");
        tried = found + 1;
        let write = Write::put(&key, tried.to_string());
        let write = entry.map_or_else(|| write.clone().if_absent(), |entry| write.clone().if_revision(entry.revision));
        match store.transact(vec![write]).await {
            Ok(_) => confirmed = tried,
            // Only of a write of our own whose outcome was not known: then the next read shows it.
            Err(Error::Conflict { .. }) => {}
            Err(Error::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(other) => panic!("{other}"),
        }
    }
    (confirmed, tried)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_for_a_request_is_refused_by_name() {
    let server = EtcdServer::start();
    let generous = config::Store { transaction_writes: 1_000, ..config::Store::default() };
    let cluster = config::Cluster::default();
    let store = EtcdStore::connect(&server.url(), &generous, &cluster).await.unwrap();
    let refused = |result: Result<Revision, Error>, bound: &str| match result {
        Err(Error::TooLarge(text)) => assert!(text.contains(bound), "{text}"),
        other => panic!("{other:?}"),
    };
    let puts = |count: usize| (0..count).map(|number| Write::put(format!("k{number}"), "").if_absent()).collect();
    refused(store.transact(puts(128)).await, "cluster.operations");
    store.transact(puts(127)).await.unwrap();
    let large = |bytes: usize| vec![Write::put("large", vec![7; bytes])];
    refused(store.transact(large(cluster.request_bytes)).await, "cluster.request_bytes");
    store.transact(large(cluster.request_bytes - 100)).await.unwrap();
    assert_eq!(store.get("large").await.unwrap().unwrap().value.len(), cluster.request_bytes - 100);
    // Servers that allow less than we were told say so themselves, and who shares a request with the culprit is spared.
    let strict = EtcdServer::with(&["--max-txn-ops", "8", "--max-request-bytes", "20000"]);
    let store = open(&strict, |_| {}).await;
    refused(store.transact(puts(9)).await, "cluster.operations");
    refused(store.transact(large(21_000)).await, "cluster.request_bytes");
    let together: Vec<_> = (0..40)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.transact(vec![Write::put(format!("t{number}"), vec![7; 900])]).await })
        })
        .collect();
    for one in together {
        one.await.unwrap().unwrap();
    }
}

/// Transactions that share a request fail each for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_in_a_group_hits_its_owner_alone() {
    let server = EtcdServer::start();
    // One request at a time, so that what comes meanwhile is sure to be a group.
    let store = open(&server, |cluster| cluster.writers = 1).await;
    let first = put(&store, "a").await;
    let tasks: Vec<_> = (0..60_u64)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let write = Write::put(format!("n/{number:02}"), "");
                let write = if number % 3 == 0 { write.if_revision(first) } else { write.if_absent() };
                store.transact(vec![Write::put(format!("m/{number:02}"), ""), write]).await
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for (number, task) in tasks.into_iter().enumerate() {
        match task.await.unwrap() {
            Ok(revision) if number % 3 != 0 => revisions.push(revision),
            Err(Error::Conflict { key }) if number % 3 == 0 => assert_eq!(key, format!("n/{number:02}")),
            other => panic!("{number}: {other:?}"),
        }
    }
    for space in ["n/", "m/"] {
        assert_eq!(pages(&store, List::prefix(space, 100)).await.len(), 40);
    }
    revisions.sort_unstable();
    revisions.dedup();
    assert!(revisions.len() <= 10, "40 transactions took {} requests", revisions.len());
}

/// Two clusters in one etcd do not see each other, and passwords are not asked for where there are none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefixes_keep_clusters_apart() {
    let server = EtcdServer::start();
    let one = open(&server, |cluster| cluster.prefix = "/one".to_owned()).await;
    let other = open(&server, |cluster| cluster.prefix = "/one/x/".to_owned()).await;
    put(&one, "a").await;
    put(&other, "b").await;
    assert_eq!(one.get("a").await.unwrap().unwrap().value, "a");
    assert!(one.get("b").await.unwrap().is_none() && other.get("a").await.unwrap().is_none());
    assert_eq!(other.list(List::prefix("", 10)).await.unwrap().entries.len(), 1);
}

/// The last of many are found without reading them all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_listing_may_begin_at_its_end() {
    let server = EtcdServer::start();
    let store = open(&server, |_| {}).await;
    let keys: Vec<String> =
        (0..2_000_u32).map(|number| format!("runs/{:08x}", number.wrapping_mul(2_654_435_761))).collect();
    for some in keys.chunks(100) {
        store.transact(some.iter().map(|key| Write::put(key, key.clone())).collect()).await.unwrap();
    }
    let mut expected = keys.clone();
    expected.sort_unstable_by(|one, other| other.cmp(one));
    for limit in [40, 500] {
        let listed = pages(&store, List::prefix("runs/", limit).descending()).await;
        assert!(listed.iter().map(|entry| &entry.key).eq(&expected), "{limit} at a time");
    }
}

/// A server that hangs makes requests fail in time, and a store whose server comes late works then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_told_in_time() {
    let mut server = EtcdServer::start();
    server.kill();
    let store = open(&server, |cluster| cluster.timeout_ms = 500).await;
    let begun = Instant::now();
    assert!(matches!(store.check().await, Err(Error::Unavailable(_))));
    assert!(matches!(store.get("a").await, Err(Error::Unavailable(_))));
    assert!(begun.elapsed() < Duration::from_secs(10));
    let mut watch: Watch = store.watch("a", Revision::START).await.unwrap();
    assert!(watch.next().now_or_never().is_none());
    server.restart();
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(error) = store.check().await {
        assert!(Instant::now() < until, "{error}");
    }
    let revision = put(&store, "a").await;
    assert_eq!(next(&mut watch).await, change("a", Some("a"), revision));
}

/// What was overwritten is forgotten in time, by one node or another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_cut() {
    let server = EtcdServer::start();
    let nodes = [
        open(&server, |cluster| cluster.history_ms = 50).await,
        open(&server, |cluster| cluster.history_ms = 50).await,
    ];
    let first = put(&nodes[0], "a").await;
    put(&nodes[1], "a").await;
    let mut kv = server.kv().await;
    let at_first = etcd_client::GetOptions::new().with_revision(i64::try_from(first.0).unwrap());
    let until = Instant::now() + Duration::from_secs(20);
    while kv.get("/conveyor/a", Some(at_first.clone())).await.is_ok() {
        assert!(Instant::now() < until, "nothing was forgotten");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(nodes[0].get("a").await.unwrap().unwrap().value, "a");
}
