//! Blobs as files: `sha256/ab/<64 hex digits>`, where `ab` are the first two of the digits.
//!
//! A file has its final name only once its bytes are on the disk, so whatever has a name is whole.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::{BlobInfo, Blobs, Error};
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
            let Some(bytes) = absent_is_none(fs::read(&path)).map_err(|error| unavailable(&path, &error))? else {
                return Ok(None);
            };
            let found = Digest::of(&bytes);
            if found == digest { Ok(Some(bytes.into())) } else { Err(Error::Damaged { digest, found }) }
        })
        .await
    }

    async fn list(&self, after: Option<Digest>, limit: usize) -> Result<Vec<BlobInfo>, Error> {
        let folders = self.0.clone();
        blocking(move || {
            folders.list(after.as_ref(), limit.max(1)).map_err(|error| unavailable(&folders.blobs, &error))
        })
        .await
    }

    async fn delete(&self, digest: &Digest) -> Result<(), Error> {
        let path = self.0.path(digest);
        // Not flushed: a file that a loss of power brings back is found and removed again.
        blocking(move || absent_is_none(fs::remove_file(&path)).map_err(|error| unavailable(&path, &error))).await?;
        Ok(())
    }
}

impl Folders {
    fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.blobs.join(first(hex)).join(hex)
    }

    fn put(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(digest);
        let shelf = path.parent().unwrap_or(&self.blobs);
        // The bytes are compared and not only looked for, because a new upload is what heals a damaged file.
        if fs::read(&path).is_ok_and(|stored| stored == bytes) && touch(&path)? {
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

    fn list(&self, after: Option<&Digest>, limit: usize) -> io::Result<Vec<BlobInfo>> {
        let after = after.map_or("", Digest::hex);
        let mut listed = Vec::new();
        // Names that are none of ours are passed over: the shelf of unfinished files, and what people leave lying about.
        for shelf in names(&self.blobs)?.iter().filter(|shelf| shelf.len() == 2 && shelf.as_str() >= first(after)) {
            for hex in names(&self.blobs.join(shelf))?.iter().filter(|hex| hex.as_str() > after) {
                let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else { continue };
                let Some(metadata) = absent_is_none(fs::metadata(self.path(&digest)))? else { continue };
                let modified = Timestamp::try_from(metadata.modified()?).map_err(io::Error::other)?;
                listed.push(BlobInfo { digest, size: metadata.len(), modified });
                if listed.len() == limit {
                    return Ok(listed);
                }
            }
        }
        Ok(listed)
    }
}

/// The shelf of some hex digits.
fn first(hex: &str) -> &str {
    hex.get(..2).unwrap_or_default()
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> io::Result<BTreeSet<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Says that a file was changed at this moment; false if it has been removed.
fn touch(path: &Path) -> io::Result<bool> {
    let touched = fs::File::options().write(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
    Ok(absent_is_none(touched)?.is_some())
}

/// That something is not there is `None`.
fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
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
