//! Data that is too large for records and messages: named, not carried.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Digest;

/// Where the data of a result lies if it is over `engine.inline_bytes`: JSON text in the blob store, which
/// `GET /results/{digest}` answers. It stands in a field of its own, so that no data of a driver can be taken for one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub struct BlobRef {
    /// Names the bytes of the JSON text.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// How many there are.
    pub bytes: u64,
}
