//! Listing.

use conveyor::store::{Entry, List, SharedStore};

use super::Backend;

/// Sorted by bytes.
const KEYS: [&str; 9] = ["a", "a/", "a/b", "a/b/c", "a0", "ab", "b", "é/ü", "\u{10ffff}\u{10ffff}"];

pub(super) async fn a_prefix_is_not_a_folder(backend: Backend) {
    backend.put(&KEYS).await;
    for prefix in ["", "a", "a/", "a/b", "a/b/c", "a/b/c/d", "aa", "b", "c", "é", "é/ü", "ê", "\u{10ffff}", "\0"] {
        let expected: Vec<_> = KEYS.into_iter().filter(|key| key.starts_with(prefix)).collect();
        let page = backend.store.list(List::prefix(prefix, 100)).await.unwrap();
        assert_eq!(names(&page.entries), expected, "{prefix:?}");
        assert_eq!(page.cursor, None);
        let page = backend.store.list(List::prefix(prefix, 100).descending()).await.unwrap();
        let descending: Vec<_> = expected.into_iter().rev().collect();
        assert_eq!(names(&page.entries), descending, "{prefix:?} descending");
    }
}

pub(super) async fn pages_join_without_gap(backend: Backend) {
    backend.put(&KEYS).await;
    for prefix in ["", "a", "a/"] {
        for limit in 1..=KEYS.len() + 1 {
            let mut expected: Vec<_> = KEYS.into_iter().filter(|key| key.starts_with(prefix)).collect();
            assert_eq!(names(&pages(&backend.store, List::prefix(prefix, limit)).await), expected);
            expected.reverse();
            assert_eq!(names(&pages(&backend.store, List::prefix(prefix, limit).descending()).await), expected);
        }
    }
}

pub(super) async fn a_limit_of_zero_is_one(backend: Backend) {
    backend.put(&KEYS).await;
    let page = backend.store.list(List::prefix("a/", 0)).await.unwrap();
    assert_eq!(names(&page.entries), ["a/"]);
    assert_eq!(page.cursor.as_deref(), Some("a/"));
}

/// The entry at the cursor may be deleted between two pages, and a forged cursor must not leave the prefix.
pub(super) async fn a_cursor_needs_no_entry(backend: Backend) {
    backend.put(&KEYS).await;
    let list = |cursor: &str| List::prefix("a/", 100).after(Some(cursor.to_owned()));
    for (cursor, ascending, descending) in [
        ("", &["a/", "a/b", "a/b/c"][..], &[][..]),
        ("a/a", &["a/b", "a/b/c"], &["a/"]),
        ("a/b", &["a/b/c"], &["a/"]),
        ("a/c", &[], &["a/b/c", "a/b", "a/"]),
        ("z", &[], &["a/b/c", "a/b", "a/"]),
    ] {
        let page = backend.store.list(list(cursor)).await.unwrap();
        assert_eq!(names(&page.entries), ascending, "{cursor:?}");
        let page = backend.store.list(list(cursor).descending()).await.unwrap();
        assert_eq!(names(&page.entries), descending, "{cursor:?} descending");
    }
}

/// All pages of a listing.
pub(super) async fn pages(store: &SharedStore, mut list: List) -> Vec<Entry> {
    let mut entries = Vec::new();
    loop {
        let page = store.list(list.clone()).await.unwrap();
        assert!(page.entries.len() <= list.limit);
        entries.extend(page.entries);
        if page.cursor.is_none() {
            return entries;
        }
        list = list.after(page.cursor);
    }
}

fn names(entries: &[Entry]) -> Vec<&str> {
    assert!(entries.iter().all(|entry| entry.value == entry.key));
    entries.iter().map(|entry| entry.key.as_str()).collect()
}
