//! Whether a driver that failed again and again is left alone, as users see it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Digest;

/// Whether calls of a driver may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// They may.
    Closed,
    /// One is trying whether the driver is better; the others fail at once.
    HalfOpen,
    /// The driver is tripped: calls fail at once.
    Open,
}

/// How the calls of a component have ended on the node that answers, since the last one that ended well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BreakerView {
    /// Whether calls may go.
    pub state: BreakerState,
    /// Calls in a row that trapped or passed a bound.
    pub failures: u32,
    /// How the last of them ended.
    pub message: String,
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// When a call will try the driver, if it is tripped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<Timestamp>,
    /// The component: a run may have pinned an older one than the driver has now.
    #[schema(value_type = String)]
    pub digest: Digest,
}
