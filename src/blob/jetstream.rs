//! Blobs of many nodes: a bucket of JetStream's object store. The name of an object is its digest.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::object_store::{
    Config, GetErrorKind, InfoErrorKind, Object, ObjectInfo, ObjectMetadata, ObjectStore, UpdateMetadata,
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::io::AsyncReadExt as _;

use super::{BlobInfo, Blobs, Error};
use crate::model::Digest;

/// The bucket; its stream is called `OBJ_conveyor-blobs`.
const BUCKET: &str = "conveyor-blobs";

/// Bytes in one message, well below what servers take by default (1 MiB).
const CHUNK: usize = 256 << 10;

/// Keeps blobs in JetStream.
#[derive(Debug, Clone)]
pub struct JetStreamBlobs {
    context: Context,
    timeout: Duration,
    largest: usize,
}

impl JetStreamBlobs {
    /// Blobs on the servers of `client`; the bucket is made when it is needed. An answer may take `timeout`, and what is
    /// larger than `largest` bytes is not read.
    #[must_use]
    pub fn new(client: Client, timeout: Duration, largest: usize) -> Self {
        Self { context: ContextBuilder::new().timeout(timeout).build(client), timeout, largest }
    }

    /// The bucket. It is looked up each time, because a server may come back without it.
    async fn bucket(&self) -> Result<ObjectStore, Error> {
        if let Ok(bucket) = self.context.get_object_store(BUCKET).await {
            return Ok(bucket);
        }
        let config = Config {
            bucket: BUCKET.to_owned(),
            description: Some("Components and large results of Conveyor, by digest".to_owned()),
            num_replicas: 1,
            max_bytes: -1,
            ..Config::default()
        };
        self.context.create_object_store(config).await.map_err(unavailable)
    }

    /// Reads an object whole; `None` if it is not there.
    async fn read(&self, bucket: &ObjectStore, digest: &Digest) -> Result<Option<Bytes>, Error> {
        let mut object = match bucket.get(digest.hex()).await {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unavailable(error)),
        };
        let size = object.info.size;
        if size > self.largest {
            return Err(Error::Unavailable(format!(
                "{digest} has {size} bytes, more than are read ({})",
                self.largest
            )));
        }
        let bytes = self.fill(&mut object, size).await?;
        let found = Digest::of(&bytes);
        if found == *digest { Ok(Some(bytes)) } else { Err(Error::Damaged { digest: digest.clone(), found }) }
    }

    async fn fill(&self, object: &mut Object, size: usize) -> Result<Bytes, Error> {
        let mut bytes = BytesMut::with_capacity(size);
        while bytes.len() < size {
            match tokio::time::timeout(self.timeout, object.read_buf(&mut bytes)).await {
                Ok(Ok(0)) => break,
                Ok(Ok(_)) => {}
                // The client compares digests as well; what it has given so far is told to be damaged by ours.
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => break,
                Ok(Err(error)) => return Err(unavailable(error)),
                Err(_) => {
                    let text = format!("a part of the object did not come within {} ms", self.timeout.as_millis());
                    return Err(Error::Unavailable(text));
                }
            }
        }
        Ok(bytes.freeze())
    }

    /// Whether it is there, whole and unchanged; then it is noted to have been put at this moment.
    async fn touch(&self, bucket: &ObjectStore, digest: &Digest) -> Result<bool, Error> {
        // A part that does not come is missing; the new upload tells whether the server answers at all.
        if !matches!(self.read(bucket, digest).await, Ok(Some(_))) {
            return Ok(false);
        }
        let name = digest.hex().to_owned();
        let now = UpdateMetadata { name, description: Some(Timestamp::now().to_string()), ..UpdateMetadata::default() };
        bucket.update_metadata(digest.hex(), now).await.map_err(unavailable)?;
        Ok(true)
    }
}

#[async_trait]
impl Blobs for JetStreamBlobs {
    async fn put(&self, bytes: Bytes) -> Result<Digest, Error> {
        let digest = Digest::of(&bytes);
        let bucket = self.bucket().await?;
        if self.touch(&bucket, &digest).await? {
            return Ok(digest);
        }
        let metadata = ObjectMetadata {
            name: digest.hex().to_owned(),
            // The client's own time of change stays as it was when an object is put again.
            description: Some(Timestamp::now().to_string()),
            chunk_size: Some(CHUNK),
            ..ObjectMetadata::default()
        };
        bucket.put(metadata, &mut bytes.as_ref()).await.map_err(unavailable)?;
        Ok(digest)
    }

    async fn get(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        self.read(&self.bucket().await?, digest).await
    }

    /// The server lists by time, so all names are read for each page.
    async fn list(&self, after: Option<Digest>, limit: usize) -> Result<Vec<BlobInfo>, Error> {
        let mut listed = self.bucket().await?.list().await.map_err(unavailable)?;
        let mut page = BTreeMap::new();
        loop {
            let next = tokio::time::timeout(self.timeout, listed.next()).await;
            let Some(info) = next.map_err(|_| Error::Unavailable("the bucket cannot be listed".to_owned()))? else {
                break;
            };
            let Some(info) = described(&info.map_err(unavailable)?) else { continue };
            if after.as_ref().is_none_or(|after| info.digest > *after) {
                page.insert(info.digest.clone(), info);
            }
            if page.len() > limit.max(1) {
                page.pop_last();
            }
        }
        Ok(page.into_values().collect())
    }

    async fn delete(&self, digest: &Digest) -> Result<(), Error> {
        let bucket = self.bucket().await?;
        match bucket.info(digest.hex()).await {
            Ok(info) if info.deleted => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == InfoErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unavailable(error)),
        }
        bucket.delete(digest.hex()).await.map_err(unavailable)
    }
}

/// What is known of an object; `None` if it is none of ours.
fn described(info: &ObjectInfo) -> Option<BlobInfo> {
    let digest = format!("sha256:{}", info.name).parse().ok()?;
    let modified = info.description.as_deref()?.parse().ok()?;
    Some(BlobInfo { digest, size: info.size as u64, modified })
}

fn unavailable(error: impl std::fmt::Display) -> Error {
    Error::Unavailable(format!("JetStream: {error}"))
}
