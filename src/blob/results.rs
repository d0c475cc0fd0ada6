//! Data of results that is too large for records and messages. It lies in the blob store as JSON text, and the result
//! names it.

use std::io;

use serde_json::Value;

use super::{Blobs, Error};
use crate::config;
use crate::model::{BlobRef, Digest, DriverResult};

/// How large a result may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most bytes of a message, and of data that stays in the result itself.
    pub inline: usize,
    /// The most bytes of data.
    pub most: usize,
}

impl From<&config::Engine> for Bounds {
    fn from(config: &config::Engine) -> Self {
        Self { inline: config.inline_bytes, most: config.result_bytes }
    }
}

/// Why data that a result names cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unread {
    /// The blob store did not give it.
    #[error(transparent)]
    Blob(#[from] Error),
    /// It is not there.
    #[error("there is no blob {0}")]
    Missing(Digest),
    /// What is there is no data of a result.
    #[error("the blob {0} is not what the result says: its size differs, or it is no JSON text")]
    Strange(Digest),
}

impl Unread {
    /// Whether it may be readable later without anybody's help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Blob(Error::Unavailable(_)))
    }
}

/// Brings a result into the form in which it is published and recorded: large data is put into the blob store and named,
/// if it is not named already. A result over a bound becomes a failure that says so.
///
/// # Errors
/// If the blob store does not take the data; then the result is as it was, and trying again may help.
pub async fn place(
    blobs: &dyn Blobs,
    driver: &str,
    result: &mut DriverResult,
    Bounds { inline, most }: Bounds,
) -> Result<(), Error> {
    let named = result.blob.as_ref().map(|reference| usize::try_from(reference.bytes).unwrap_or(usize::MAX));
    let (message, data) = (result.message.len(), named.unwrap_or_else(|| json_bytes(&result.data)));
    if message > inline {
        let text =
            format!("the message of driver \"{driver}\" has {message} bytes; engine.inline_bytes allows {inline}");
        *result = DriverResult::failure(text);
    } else if data > most {
        let text = format!("the result of driver \"{driver}\" has {data} bytes; engine.result_bytes allows {most}");
        *result = DriverResult::failure(text);
    } else if named.is_none() && data > inline {
        result.blob = Some(put(blobs, &result.data).await?);
        result.data = Value::Null;
    }
    Ok(())
}

/// Puts data into the blob store.
///
/// # Errors
/// If the blob store does not take it; trying again may help.
pub async fn put(blobs: &dyn Blobs, data: &Value) -> Result<BlobRef, Error> {
    // A value made of JSON can always be written as JSON.
    let text = serde_json::to_vec(data).map_err(|error| Error::Unavailable(error.to_string()))?;
    let bytes = text.len() as u64;
    Ok(BlobRef { digest: blobs.put(text.into()).await?, bytes })
}

/// The data that a result names.
///
/// # Errors
/// Why it cannot be read.
pub async fn fetch(blobs: &dyn Blobs, reference: &BlobRef) -> Result<Value, Unread> {
    let digest = &reference.digest;
    let text = blobs.get(digest).await?.ok_or_else(|| Unread::Missing(digest.clone()))?;
    if text.len() as u64 != reference.bytes {
        return Err(Unread::Strange(digest.clone()));
    }
    // Megabytes of JSON take their time.
    let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&text)).await;
    let parsed = parsed.map_err(|error| Error::Unavailable(error.to_string()))?;
    parsed.map_err(|_| Unread::Strange(digest.clone()))
}

/// How many bytes a value has as JSON text.
#[must_use]
pub fn json_bytes(value: &Value) -> usize {
    let mut counted = Counted(0);
    // Counting cannot fail, and a value made of JSON can always be written.
    let _ = serde_json::to_writer(&mut counted, value);
    counted.0
}

struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::blob::MemoryBlobs;

    const BOUNDS: Bounds = Bounds { inline: 100, most: 1_000 };

    async fn placed(blobs: &MemoryBlobs, result: &DriverResult) -> Result<DriverResult, Error> {
        let mut result = result.clone();
        place(blobs, "d", &mut result, BOUNDS).await?;
        Ok(result)
    }

    #[tokio::test]
    async fn only_what_is_large_is_moved_and_it_comes_back_as_it_was() -> Result<(), Unread> {
        let blobs = MemoryBlobs::new();
        let small = DriverResult::success("small").with_data(json!({ "blob": { "digest": "sha256:00", "bytes": 1 } }));
        assert_eq!(placed(&blobs, &small).await?, small);
        let data = json!({ "text": "é\"".repeat(100) });
        let large = placed(&blobs, &DriverResult::success("large").with_data(data.clone())).await?;
        assert_eq!((large.message.as_str(), &large.data), ("large", &Value::Null));
        let reference = large.blob.ok_or_else(|| Unread::Missing(Digest::of(b"")))?;
        assert_eq!(reference.bytes, data.to_string().len() as u64);
        assert_eq!(fetch(&blobs, &reference).await?, data);
        Ok(())
    }

    #[tokio::test]
    async fn what_is_too_large_fails_and_says_by_how_much() -> Result<(), Error> {
        let blobs = MemoryBlobs::new();
        let failed = placed(&blobs, &DriverResult::success("").with_data(json!("x".repeat(1_000)))).await?;
        let text = "the result of driver \"d\" has 1002 bytes; engine.result_bytes allows 1000";
        assert_eq!(failed, DriverResult::failure(text));
        let failed = placed(&blobs, &DriverResult::success("x".repeat(101))).await?;
        let text = "the message of driver \"d\" has 101 bytes; engine.inline_bytes allows 100";
        assert_eq!(failed, DriverResult::failure(text));
        Ok(())
    }

    #[tokio::test]
    async fn a_reference_to_something_else_is_not_believed() -> Result<(), Error> {
        let blobs = MemoryBlobs::new();
        let digest = blobs.put(b"\0asm".to_vec().into()).await?;
        for (reference, missing) in [
            (BlobRef { digest: digest.clone(), bytes: 4 }, false),
            (BlobRef { digest, bytes: 3 }, false),
            (BlobRef { digest: Digest::of(b"nothing"), bytes: 7 }, true),
        ] {
            match fetch(&blobs, &reference).await {
                Err(Unread::Missing(_)) => assert!(missing),
                Err(Unread::Strange(_)) => assert!(!missing),
                other => panic!("{other:?}"),
            }
        }
        Ok(())
    }
}
