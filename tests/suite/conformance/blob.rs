//! What every store of blobs must do. A backend joins with a function that opens it and a line `backend!`.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conveyor::blob::{
    BlobInfo, Blobs as _, CachedBlobs, Error, FilesystemBlobs, JetStreamBlobs, MemoryBlobs, SharedBlobs,
};
use conveyor::model::Digest;
use jiff::Timestamp;

use crate::support::nats::NatsServer;

/// Open blobs and what must outlive them.
struct Backend {
    blobs: SharedBlobs,
    _kept: Option<Box<dyn Any + Send>>,
}

async fn memory() -> Backend {
    Backend { blobs: Arc::new(MemoryBlobs::new()), _kept: None }
}

async fn filesystem() -> Backend {
    let folder = tempfile::tempdir().unwrap();
    Backend { blobs: Arc::new(FilesystemBlobs::open(folder.path()).unwrap()), _kept: Some(Box::new(folder)) }
}

async fn jetstream() -> Backend {
    let server = NatsServer::start();
    Backend { blobs: Arc::new(on(&server).await), _kept: Some(Box::new(server)) }
}

async fn cached() -> Backend {
    let (server, folder) = (NatsServer::start(), tempfile::tempdir().unwrap());
    // So little room that copies come and go.
    let copies = FilesystemBlobs::open(folder.path()).unwrap();
    let blobs = CachedBlobs::new(Arc::new(on(&server).await), copies, 100);
    Backend { blobs: Arc::new(blobs), _kept: Some(Box::new((server, folder))) }
}

async fn on(server: &NatsServer) -> JetStreamBlobs {
    let client = async_nats::connect(server.url()).await.unwrap();
    JetStreamBlobs::new(client, Duration::from_secs(5), 4 << 20)
}

macro_rules! backend {
    ($open:ident) => {
        backend! { $open: what_was_put_is_there, what_was_not_put_is_not_there, the_same_bytes_may_be_put_at_once,
            a_listing_goes_by_digest, what_was_deleted_is_gone }
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
backend!(jetstream);
backend!(cached);

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

async fn a_listing_goes_by_digest(backend: Backend) {
    let blobs = &backend.blobs;
    assert_eq!(blobs.list(None, 10).await.unwrap(), []);
    let before = Timestamp::now();
    let mut expected = Vec::new();
    for size in 0..40_u8 {
        expected.push((blobs.put(Bytes::from(vec![7; size.into()])).await.unwrap(), u64::from(size)));
    }
    expected.sort();
    let mut listed: Vec<BlobInfo> = Vec::new();
    loop {
        let page = blobs.list(listed.last().map(|info| info.digest.clone()), 7).await.unwrap();
        assert!(page.len() <= 7);
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    assert_eq!(listed.iter().map(|info| (info.digest.clone(), info.size)).collect::<Vec<_>>(), expected);
    assert_eq!(blobs.list(None, 0).await.unwrap().len(), 1);
    // Clocks of backends may be coarse, but not by more than this.
    let slack = Duration::from_secs(2);
    let (old, late) = (listed[0].clone(), Timestamp::now() + slack);
    assert!(listed.iter().all(|info| info.modified >= before - slack && info.modified <= late), "{listed:?}");
    // What is put again is as young as what is new.
    let digest = &old.digest;
    let bytes = blobs.get(digest).await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(20), async {
        while blobs.list(None, 1).await.unwrap()[0].modified <= old.modified {
            assert_eq!(blobs.put(bytes.clone()).await.unwrap(), *digest);
        }
    })
    .await
    .unwrap();
}

async fn what_was_deleted_is_gone(backend: Backend) {
    let blobs = &backend.blobs;
    let (kept, gone) = (blobs.put("kept".into()).await.unwrap(), blobs.put("gone".into()).await.unwrap());
    blobs.delete(&gone).await.unwrap();
    blobs.delete(&gone).await.unwrap();
    blobs.delete(&Digest::of(b"never there")).await.unwrap();
    assert_eq!(blobs.get(&gone).await.unwrap(), None);
    assert_eq!(blobs.list(None, 10).await.unwrap().into_iter().map(|info| info.digest).collect::<Vec<_>>(), [kept]);
    assert_eq!(blobs.put("gone".into()).await.unwrap(), gone);
    assert_eq!(blobs.get(&gone).await.unwrap(), Some("gone".into()));
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

/// Chunks that got lost or changed are noticed, and a new upload of the same bytes heals them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_object_is_told_and_healed_by_a_new_upload() {
    let server = NatsServer::start();
    let blobs = on(&server).await;
    let bytes = Bytes::from(vec![7; 1 << 20]);
    let digest = blobs.put(bytes.clone()).await.unwrap();
    let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let mut stream = context.get_stream("OBJ_conveyor-blobs").await.unwrap();
    let stored = stream.info().await.unwrap().state.clone();
    assert!(stored.messages <= 6, "1 MiB is in {} messages", stored.messages);
    stream.delete_message(stored.first_sequence + 1).await.unwrap();
    match blobs.get(&digest).await {
        Err(Error::Damaged { digest: asked, .. }) => assert_eq!(asked, digest),
        other => panic!("{other:?}"),
    }
    assert_eq!(blobs.put(bytes.clone()).await.unwrap(), digest);
    assert_eq!(blobs.get(&digest).await.unwrap(), Some(bytes.clone()));
    // What is there is not stored a second time, and nothing is left of what was replaced.
    blobs.put(bytes).await.unwrap();
    assert!(stream.info().await.unwrap().state.messages <= 6);
}

/// A node fetches what it needs once, and a copy that is damaged is no worse than none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_used_while_it_is_good() {
    let (mut server, folder) = (NatsServer::start(), tempfile::tempdir().unwrap());
    let digest = on(&server).await.put(Bytes::from_static(b"component")).await.unwrap();
    let copies = FilesystemBlobs::open(folder.path()).unwrap();
    let blobs = CachedBlobs::new(Arc::new(on(&server).await), copies, 1 << 20);
    let expected = Some(Bytes::from_static(b"component"));
    assert_eq!(blobs.get(&digest).await.unwrap(), expected);
    let path = folder.path().join("sha256").join(&digest.hex()[..2]).join(digest.hex());
    std::fs::write(&path, b"somponent").unwrap();
    assert_eq!(blobs.get(&digest).await.unwrap(), expected);
    assert_eq!(std::fs::read(&path).unwrap(), b"component");
    server.kill();
    assert_eq!(blobs.get(&digest).await.unwrap(), expected);
}
