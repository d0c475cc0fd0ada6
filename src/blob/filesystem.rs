//! Blobs as files: `sha256/ab/<64 hex digits>`, where `ab` are the first two of the digits.
//!
//! A file has its final name only once its bytes are on the disk, so whatever has a name is whole.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Blobs, Error};
use crate::folder;
use crate::model::Digest;

/// Keeps blobs in a folder of one process.
#[derive(Debug, Clone)]
pub struct FilesystemBlobs(Arc<Folders>);

#[derive(Debug)]
struct Folders {
    blobs: PathBuf,
    /// Of files that are still being written.
    unfinished: PathBuf,
    /// Numbers the unfinished files.
    written: AtomicU64,
}

impl FilesystemBlobs {
    /// Opens the folder and makes it if it is missing. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the folder cannot be made or written.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let blobs = folder.join("sha256");
        let unfinished = blobs.join("unfinished");
        let ready = || {
            // What is unfinished now was left by a process that died.
            match fs::remove_dir_all(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            folder::create(&unfinished)?;
            folder::sync(folder)
        };
        ready().map_err(|error| unavailable(&blobs, &error))?;
        Ok(Self(Arc::new(Folders { blobs, unfinished, written: AtomicU64::new(0) })))
    }
}

#[async_trait]
impl Blobs for FilesystemBlobs {
    async fn put(&self, bytes: Bytes) -> Result<Digest, Error> {
        let folders = self.0.clone();
        blocking(move || {
            let digest = Digest::of(&bytes);
            folders.put(&digest, &bytes).map_err(|error| unavailable(&folders.path(&digest), &error))?;
            Ok(digest)
        })
        .await
    }

    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        let (folders, digest) = (self.0.clone(), digest.clone());
        blocking(move || {
            let path = folders.path(&digest);
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(unavailable(&path, &error)),
            };
            let found = Digest::of(&bytes);
            if found == digest { Ok(Some(bytes.into())) } else { Err(Error::Damaged { digest, found }) }
        })
        .await
    }
}

impl Folders {
    fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.blobs.join(hex.get(..2).unwrap_or_default()).join(hex)
    }

    fn put(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(digest);
        let shelf = path.parent().unwrap_or(&self.blobs);
        // The bytes are compared and not only looked for, because a new upload is what heals a damaged file.
        if fs::read(&path).is_ok_and(|stored| stored == bytes) {
            return folder::sync(shelf);
        }
        if !shelf.exists() {
            folder::create(shelf)?;
            folder::sync(&self.blobs)?;
        }
        let unfinished = self.unfinished.join(self.written.fetch_add(1, Ordering::Relaxed).to_string());
        let written = write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            // The error that matters is the one of the write; what stays behind is removed at the next start.
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        folder::sync(shelf)
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = folder::open_file(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let stopped = |error| Error::Unavailable(format!("the work was given up: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

fn unavailable(path: &Path, error: &io::Error) -> Error {
    Error::Unavailable(format!("{}: {error}", path.display()))
}
