//! What every store of blobs must do. A backend joins with a function that opens it and a line `backend!`.

use std::sync::Arc;

use bytes::Bytes;
use conveyor::blob::{Blobs as _, Error, FilesystemBlobs, MemoryBlobs, SharedBlobs};
use conveyor::model::Digest;
use tempfile::TempDir;

/// Open blobs and what must outlive them.
struct Backend {
    blobs: SharedBlobs,
    _folder: Option<TempDir>,
}

async fn memory() -> Backend {
    Backend { blobs: Arc::new(MemoryBlobs::new()), _folder: None }
}

async fn filesystem() -> Backend {
    let folder = tempfile::tempdir().unwrap();
    Backend { blobs: Arc::new(FilesystemBlobs::open(folder.path()).unwrap()), _folder: Some(folder) }
}

macro_rules! backend {
    ($open:ident) => {
        backend! { $open: what_was_put_is_there, what_was_not_put_is_not_there, the_same_bytes_may_be_put_at_once }
    };
    ($open:ident: $($case:ident),*) => {
        mod $open {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::$open().await).await;
            })*
        }
    };
}

backend!(memory);
backend!(filesystem);

async fn what_was_put_is_there(backend: Backend) {
    for bytes in [Bytes::new(), Bytes::from_static(b"\0asm"), Bytes::from(vec![7; 3 << 20])] {
        let digest = backend.blobs.put(bytes.clone()).await.unwrap();
        assert_eq!(digest, Digest::of(&bytes));
        assert_eq!(backend.blobs.get(&digest).await.unwrap(), Some(bytes.clone()));
        assert_eq!(backend.blobs.put(bytes).await.unwrap(), digest);
    }
}

async fn what_was_not_put_is_not_there(backend: Backend) {
    assert_eq!(backend.blobs.get(&Digest::of(b"nothing")).await.unwrap(), None);
}

async fn the_same_bytes_may_be_put_at_once(backend: Backend) {
    let bytes = Bytes::from(vec![1; 1 << 20]);
    let puts: Vec<_> = (0..16)
        .map(|_| {
            let (blobs, bytes) = (backend.blobs.clone(), bytes.clone());
            tokio::spawn(async move { blobs.put(bytes).await.unwrap() })
        })
        .collect();
    for put in puts {
        assert_eq!(backend.blobs.get(&put.await.unwrap()).await.unwrap().as_ref(), Some(&bytes));
    }
}

#[tokio::test]
async fn a_damaged_file_is_told_and_healed_by_a_new_upload() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = FilesystemBlobs::open(folder.path()).unwrap();
    let bytes = Bytes::from_static(b"component");
    let digest = blobs.put(bytes.clone()).await.unwrap();
    let path = folder.path().join("sha256").join(&digest.hex()[..2]).join(digest.hex());
    std::fs::write(&path, b"somponent").unwrap();
    match blobs.get(&digest).await {
        Err(Error::Damaged { digest: asked, found }) => {
            assert_eq!((asked, found), (digest.clone(), Digest::of(b"somponent")));
        }
        other => panic!("{other:?}"),
    }
    blobs.put(bytes.clone()).await.unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap(), Some(bytes));
}

#[tokio::test]
async fn files_stay_and_unfinished_ones_go() {
    let folder = tempfile::tempdir().unwrap();
    let digest = FilesystemBlobs::open(folder.path()).unwrap().put(Bytes::from_static(b"kept")).await.unwrap();
    let unfinished = folder.path().join("sha256/unfinished/7");
    std::fs::write(&unfinished, b"half").unwrap();
    let blobs = FilesystemBlobs::open(folder.path()).unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap(), Some(Bytes::from_static(b"kept")));
    assert!(!unfinished.exists());
}
