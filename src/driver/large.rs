//! Large results on their way to and from a driver of this process: the driver sees them whole, messages name them.

use crate::blob::results::{self, Unread};
use crate::blob::{self, Blobs};
use crate::model::{DriverResult, SharedContext};

/// What the steps share, with the data of large results in it; references stay where the blob store is out of reach for good.
///
/// # Errors
/// Which step's result cannot be read, and why.
pub(super) async fn whole(blobs: &dyn Blobs, mut context: SharedContext) -> Result<SharedContext, (String, Unread)> {
    for (step, result) in &mut context.results {
        let Some(reference) = &result.blob else { continue };
        match results::fetch(blobs, reference).await {
            Ok(data) => {
                result.data = data;
                result.blob = None;
            }
            Err(Unread::Blob(blob::Error::ReadOnly(_))) => {}
            Err(error) => return Err((step.clone(), error)),
        }
    }
    Ok(context)
}

/// The same result with all its data elsewhere, for a message that is too large although the result is not; `None` if
/// there is nothing to move.
///
/// # Errors
/// If the blob store does not take the data; trying again may help.
pub(super) async fn moved(blobs: &dyn Blobs, result: &DriverResult) -> Result<Option<DriverResult>, blob::Error> {
    if result.blob.is_some() || result.data.is_null() {
        return Ok(None);
    }
    let (success, message) = (result.success, result.message.clone());
    let blob = Some(results::put(blobs, &result.data).await?);
    Ok(Some(DriverResult { success, message, blob, ..DriverResult::default() }))
}
