//! Carrying everything from one place to another, over the traits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use conveyor::blob::{Blobs, FilesystemBlobs, MemoryBlobs};
use conveyor::config;
use conveyor::log::{Logs, MemoryLogs, NewLine, SqliteLogs};
use conveyor::migrate::{Error, Options, Phase, Progress, Tally, all_match, copy_blobs, copy_entries, copy_logs};
use conveyor::model::{Digest, LogLine};
use conveyor::store::{self, Entry, List, MemoryStore, Page, Revision, SqliteStore, Store, Watch, Write};

/// Pages and batches so small that everything takes several.
fn options() -> Options {
    Options { bounds: config::Migrate { page: 7, writes: 5, bytes: 2_000 }, ..Options::default() }
}

fn nobody(_: Progress<'_>) {}

fn memory() -> MemoryStore {
    MemoryStore::new(&config::Store::default())
}

async fn fill(store: &dyn Store) {
    for number in 0..40 {
        let mut writes = vec![Write::put(format!("runs/{number:02}"), vec![b'x'; number * 100])];
        for step in 0..3 {
            writes.push(Write::put(format!("run-steps/{number:02}/{step}"), format!("step {step} of {number}")));
        }
        writes.push(Write::put(format!("active/{number:02}"), Vec::new()));
        store.transact(writes).await.unwrap();
    }
    let resource = "resources/app/ü\u{10ffff}";
    let version = Write::put("versions/app/ü\u{10ffff}/1", vec![0, 255]);
    store.transact(vec![Write::put("definitions/app", "{}"), version]).await.unwrap();
    store.transact(vec![Write::put(resource, vec![0, 255])]).await.unwrap();
}

async fn content(store: &dyn Store) -> BTreeMap<String, Bytes> {
    let page = store.list(List::prefix("", 100_000)).await.unwrap();
    page.entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
}

fn counts(tallies: &[Tally]) -> Vec<(&str, u64, u64)> {
    tallies.iter().map(|tally| (tally.kind.as_str(), tally.source, tally.missing)).collect()
}

#[tokio::test]
async fn all_entries_come_over_and_back_whatever_their_revisions_are() {
    let folder = tempfile::tempdir().unwrap();
    let (first, last) = (memory(), memory());
    fill(&first).await;
    let middle = SqliteStore::open(folder.path(), &config::Store::default()).unwrap();
    middle.transact(vec![Write::put("gone", "x")]).await.unwrap();
    middle.transact(vec![Write::delete("gone")]).await.unwrap();
    let mut copied = Vec::new();
    let mut report = |progress: Progress<'_>| copied.extend((progress.phase == Phase::Copy).then_some(progress.done));
    let (there, _) = copy_entries(&first, &middle, &options(), &mut report).await.unwrap();
    let expected = [
        ("active", 40, 40),
        ("definitions", 1, 1),
        ("resources", 1, 1),
        ("run-steps", 120, 120),
        ("runs", 40, 40),
        ("versions", 1, 1),
    ];
    assert_eq!(counts(&there), expected);
    assert!(all_match(&there) && there.iter().all(|tally| tally.target == Some(tally.source)), "{there:?}");
    assert!(copied.is_sorted() && copied.last() == Some(&203), "{copied:?}");
    let newest = async |prefix: &str| middle.list(List::prefix(prefix, 1)).await.unwrap().entries[0].revision;
    assert!(newest("versions/").await <= newest("resources/").await, "a resource is no older than its versions");
    let (back, _) = copy_entries(&middle, &last, &options(), &mut nobody).await.unwrap();
    assert!(all_match(&back));
    let digests = |tallies: &[Tally]| tallies.iter().map(|tally| tally.digest.clone()).collect::<Vec<_>>();
    assert_eq!(digests(&there), digests(&back));
    assert_eq!(content(&first).await, content(&last).await);
    // Whoever migrates what is there already does nothing.
    let before = middle.list(List::prefix("", 1)).await.unwrap().revision;
    let (again, _) = copy_entries(&first, &middle, &options(), &mut nobody).await.unwrap();
    assert!(all_match(&again) && again.iter().all(|tally| tally.present == tally.source));
    assert_eq!(middle.list(List::prefix("", 1)).await.unwrap().revision, before);
}

#[tokio::test]
async fn a_dry_run_tells_all_and_changes_nothing() {
    let (source, target) = (memory(), memory());
    fill(&source).await;
    let other = [Write::put("runs/00", "other"), Write::put("strange/key", "x"), Write::put("active/01", "")];
    target.transact(other.to_vec()).await.unwrap();
    let before = content(&target).await;
    let dry = Options { dry_run: true, ..options() };
    let (tallies, refusal) = copy_entries(&source, &target, &dry, &mut nobody).await.unwrap();
    assert_eq!(content(&target).await, before);
    assert_eq!((refusal.different, refusal.foreign), (1, 1));
    assert_eq!(refusal.keys, ["runs/00", "strange/key"]);
    let of = |kind: &str| tallies.iter().find(|tally| tally.kind == kind).unwrap();
    assert_eq!((of("runs").missing, of("runs").different, of("runs").matches), (39, 1, None));
    assert_eq!((of("active").present, of("strange").foreign), (1, 1));
}

#[tokio::test]
async fn a_target_that_holds_something_else_is_refused_until_its_entries_are_counted() {
    let (source, target) = (memory(), memory());
    fill(&source).await;
    target.transact(vec![Write::put("runs/00", "other"), Write::put("strange", "x")]).await.unwrap();
    let before = content(&target).await;
    for replace in [0, 1, 3] {
        let refused = copy_entries(&source, &target, &Options { replace, ..options() }, &mut nobody).await;
        let Err(Error::NotEmpty(refusal)) = refused else { panic!("{refused:?}") };
        assert!(refusal.to_string().contains("runs/00, strange"), "{refusal}");
        assert_eq!(content(&target).await, before);
    }
    let replaced = copy_entries(&source, &target, &Options { replace: 2, ..options() }, &mut nobody).await.unwrap();
    assert!(all_match(&replaced.0), "{replaced:?}");
    assert_eq!(content(&target).await, content(&source).await);
}

/// A store that goes away after some transactions, or that somebody else writes to as well.
struct Troubled {
    store: MemoryStore,
    left: AtomicUsize,
    rival: Option<&'static str>,
}

#[async_trait]
impl Store for Troubled {
    async fn get(&self, key: &str) -> Result<Option<Entry>, store::Error> {
        self.store.get(key).await
    }

    async fn list(&self, query: List) -> Result<Page, store::Error> {
        self.store.list(query).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, store::Error> {
        if let Some(key) = self.rival {
            self.store.transact(vec![Write::put(key, "rival")]).await?;
        }
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let written = self.store.transact(writes).await?;
        // The worst case: it is written, and nobody is told.
        left.map(|_| written).map_err(|_| store::Error::Unavailable("gone".into()))
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, store::Error> {
        self.store.watch(prefix, after).await
    }

    async fn check(&self) -> Result<(), store::Error> {
        self.store.check().await
    }
}

#[tokio::test]
async fn an_interrupted_migration_goes_on_and_what_is_unfinished_comes_last() {
    let source = memory();
    fill(&source).await;
    let target = Troubled { store: memory(), left: AtomicUsize::new(0), rival: None };
    let mut rounds = 0;
    loop {
        rounds += 1;
        target.left.store(3, Ordering::SeqCst);
        let outcome = copy_entries(&source, &target, &options(), &mut nobody).await;
        let there = content(&target).await;
        let runs = there.keys().filter(|key| key.starts_with("runs/")).count();
        let unfinished = there.keys().any(|key| key.starts_with("active/"));
        assert!(!unfinished || runs == 40, "a run is unfinished of which a part is missing");
        match outcome {
            Ok((tallies, _)) => {
                assert!(all_match(&tallies));
                break;
            }
            Err(Error::Store(_, store::Error::Unavailable(_))) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert!(rounds > 5, "{rounds}");
    assert_eq!(content(&target).await, content(&source).await);
}

#[tokio::test]
async fn somebody_else_who_writes_is_noticed() {
    let source = memory();
    fill(&source).await;
    let target = Troubled { store: memory(), left: AtomicUsize::new(1_000), rival: Some("runs/00") };
    let outcome = copy_entries(&source, &target, &options(), &mut nobody).await;
    assert!(matches!(&outcome, Err(Error::Busy { key }) if key == "runs/00"), "{outcome:?}");
    let target = Troubled { store: memory(), left: AtomicUsize::new(1_000), rival: Some("zzz") };
    let (tallies, _) = copy_entries(&source, &target, &options(), &mut nobody).await.unwrap();
    let wrong: Vec<_> = tallies.iter().filter(|tally| tally.matches != Some(true)).map(|tally| &tally.kind).collect();
    assert_eq!(wrong, ["zzz"]);
}

#[tokio::test]
async fn an_entry_that_the_target_does_not_take_is_named() {
    let source = memory();
    fill(&source).await;
    let target = MemoryStore::new(&config::Store { transaction_bytes: 3_000, ..config::Store::default() });
    let outcome = copy_entries(&source, &target, &options(), &mut nobody).await;
    assert!(matches!(&outcome, Err(Error::TooLarge { key, .. }) if key == "runs/30"), "{outcome:?}");
}

#[tokio::test]
async fn blobs_come_over_and_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let (source, last) = (MemoryBlobs::new(), MemoryBlobs::new());
    for number in 0..30_u8 {
        source.put(Bytes::from(vec![number; usize::from(number) * 1_000])).await.unwrap();
    }
    let target = FilesystemBlobs::open(folder.path()).unwrap();
    target.put(Bytes::from_static(b"of its own")).await.unwrap();
    target.put(Bytes::from(vec![1; 1_000])).await.unwrap();
    let dry = copy_blobs(&source, &target, &Options { dry_run: true, ..options() }, &mut nobody).await.unwrap();
    assert_eq!((dry.source, dry.present, dry.missing, dry.matches), (30, 1, 29, None));
    let tally = copy_blobs(&source, &target, &options(), &mut nobody).await.unwrap();
    assert_eq!((tally.missing, tally.target, tally.matches), (29, Some(30), Some(true)));
    let back = copy_blobs(&target, &last, &options(), &mut nobody).await.unwrap();
    assert_eq!((back.source, back.matches), (31, Some(true)));
    // A file that lost its bytes is found when it is read back.
    let digest = Digest::of(&[2; 2_000]);
    std::fs::write(folder.path().join("sha256").join(&digest.hex()[..2]).join(digest.hex()), b"short").unwrap();
    let damaged = copy_blobs(&source, &target, &options(), &mut nobody).await;
    assert!(matches!(damaged, Err(Error::Blob(..))), "{damaged:?}");
}

fn lines(from: usize, until: usize) -> Vec<NewLine> {
    let line = |number: usize| LogLine {
        runid: format!("run {}", number % 3),
        driver: "d".into(),
        message: format!("line {number}"),
        ..LogLine::default()
    };
    (from..until).map(|number| NewLine { id: format!("id {number}"), line: line(number) }).collect()
}

#[tokio::test]
async fn log_lines_come_over_in_their_order_and_a_part_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let source = Arc::new(MemoryLogs::new());
    source.append(lines(0, 100)).await.unwrap();
    let target = SqliteLogs::open(folder.path(), &config::Log::default()).unwrap();
    // What a copy that was interrupted has left.
    let part: Vec<NewLine> =
        lines(0, 40).into_iter().map(|line| NewLine { id: format!("migrated {}", line.id), ..line }).collect();
    target.append(part).await.unwrap();
    let dry = copy_logs(&*source, &target, &Options { dry_run: true, ..options() }, &mut nobody).await.unwrap();
    assert_eq!((dry.present, dry.missing, dry.matches), (40, 60, None));
    for missing in [60, 0] {
        let tally = copy_logs(&*source, &target, &options(), &mut nobody).await.unwrap();
        assert_eq!((tally.missing, tally.target, tally.matches), (missing, Some(100), Some(true)));
    }
    source.append(lines(100, 103)).await.unwrap();
    let tally = copy_logs(&*source, &target, &options(), &mut nobody).await.unwrap();
    assert_eq!((tally.missing, tally.matches), (3, Some(true)));
}

#[tokio::test]
async fn logs_with_other_lines_are_refused() {
    for (there, foreign) in [(lines(5, 6), 1), (lines(0, 5), 2)] {
        let (source, target) = (MemoryLogs::new(), MemoryLogs::new());
        source.append([lines(0, 3), lines(7, 9)].concat()).await.unwrap();
        target.append(there).await.unwrap();
        let outcome = copy_logs(&source, &target, &options(), &mut nobody).await;
        assert!(matches!(outcome, Err(Error::OtherLines(lines)) if lines == foreign), "{outcome:?}");
    }
}
