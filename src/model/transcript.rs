//! What a component got from the world outside during one call: enough to call it again and to see the same.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What one call of a component got from clocks, chance and the network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Transcript {
    /// Of which its random numbers were drawn: 32 bytes in Base64. Empty if it drew none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub seed: String,
    /// What the wall clock showed, each time it looked, in ns since 1970.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wall: Vec<u64>,
    /// What the monotonic clock showed, each time it looked, in ns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub monotonic: Vec<u64>,
    /// The requests that it sent, and what came of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<Exchange>,
    /// There was more than is kept of one call.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// A request and what came of it. What the request carried is not kept; the component makes the same again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exchange {
    /// Such as `GET https://example.org/path?query`.
    pub request: String,
    /// The status of the answer; none if there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Its headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Its body in Base64, as far as the component read it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// The error that the component met instead of an answer, such as `HttpRequestDenied`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

impl Transcript {
    /// Whether nothing came from outside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
