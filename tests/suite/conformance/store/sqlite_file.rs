//! What only a store in a file can do.

use std::path::Path;

use conveyor::config;
use conveyor::store::{Error, List, Revision, SqliteStore, Store as _, Write};
use futures_util::StreamExt as _;

fn open(folder: &Path) -> Result<SqliteStore, Error> {
    SqliteStore::open(folder, &config::Store::default())
}

#[tokio::test]
async fn a_store_opened_again_knows_everything() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("made/for/it");
    let store = open(&folder).unwrap();
    let first = store.transact(vec![Write::put("a", "1"), Write::put("b", "2")]).await.unwrap();
    let second = store.transact(vec![Write::delete("b")]).await.unwrap();
    drop(store);
    let store = open(&folder).unwrap();
    let page = store.list(List::prefix("", 10)).await.unwrap();
    assert_eq!(
        page.entries.iter().map(|entry| (entry.key.as_str(), entry.revision)).collect::<Vec<_>>(),
        [("a", first)]
    );
    assert_eq!(page.revision, second);
    let mut watch = store.watch("", first).await.unwrap();
    let deletion = watch.next().await.unwrap().unwrap();
    assert_eq!((deletion.key.as_str(), deletion.value, deletion.revision), ("b", None, second));
    // The greatest revision belongs to no entry, and is still not given twice.
    assert!(store.transact(vec![Write::put("a", "2").if_revision(first)]).await.unwrap() > second);
}

#[tokio::test]
async fn a_folder_has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let Err(Error::Locked(text)) = open(folder.path()) else { panic!("it was opened twice") };
    for part in [folder.path().to_str().unwrap(), &std::process::id().to_string(), "stop that one"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    store.transact(vec![Write::put("a", "1")]).await.unwrap();
    drop(store);
    assert!(open(folder.path()).unwrap().get("a").await.unwrap().is_some());
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("data");
    let _store = open(&folder).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in ["conveyor.db", "conveyor.db-wal", "lock"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let Err(Error::Unavailable(text)) = open(&file.join("data")) else { panic!("it was opened") };
    assert!(text.contains(file.to_str().unwrap()), "{text}");
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let database = folder.path().join("conveyor.db");
    rusqlite::Connection::open(&database).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let Err(Error::Damaged(text)) = open(folder.path()) else { panic!("it was opened") };
    assert!(text.contains("version 99") && text.contains("newer Conveyor"), "{text}");
}

#[tokio::test]
async fn a_store_that_is_dropped_has_written_what_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let store = std::sync::Arc::new(open(folder.path()).unwrap());
    let writes: Vec<_> = (0..200)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.transact(vec![Write::put(format!("k/{number}"), "")]).await })
        })
        .collect();
    drop(store);
    let mut last = Revision::START;
    for write in writes {
        last = last.max(write.await.unwrap().unwrap());
    }
    let page = open(folder.path()).unwrap().list(List::prefix("k/", 1_000)).await.unwrap();
    assert_eq!((page.entries.len(), page.revision), (200, last));
}
