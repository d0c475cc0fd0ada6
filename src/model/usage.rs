//! What one call of a component took.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What one call of a component took. A call that was stopped is told as far as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// The time in which a processor worked for the call, in µs; the time in which it waited is no part of it.
    pub cpu_us: u64,
    /// The part of it that was spent in the component itself, the passing of request and result included.
    pub guest_us: u64,
    /// The time in calls of the host, in µs: what the host computed for the component, and what the component waited for.
    pub host_us: u64,
    /// The most linear memory that the call held, in bytes.
    pub memory_bytes: u64,
    /// The fuel that was burnt, if the driver has a limit of it: the same for the same work on every machine. A call that is
    /// stopped while it computes has not told of the last part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}
