//! Drivers that are components, and the digests that name their bytes.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::{DriverLimits, Grant, Placement};

/// The record of a driver that was uploaded as a WASI component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Driver {
    /// Unique among drivers, remote ones included.
    pub name: String,
    /// The types of resource it acts on.
    pub resources: Vec<String>,
    /// Names the bytes.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Of the component, in bytes.
    pub size: u64,
    /// The version of the package `conveyor:driver` it was built against.
    pub wit_version: String,
    /// What it imports, as its binary says.
    pub imports: Vec<String>,
    /// What it may do beyond computing. Default nothing.
    #[serde(default, skip_serializing_if = "Grant::is_empty")]
    pub grant: Grant,
    /// The bounds of its calls that are its own.
    #[serde(default, skip_serializing_if = "DriverLimits::is_empty")]
    pub limits: DriverLimits,
    /// Who gets its steps if remote instances have the same name; without it whoever is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// When these bytes were uploaded.
    #[schema(value_type = String, format = DateTime)]
    pub uploaded_at: Timestamp,
    /// The number of its version; 0 if it was uploaded before there were versions.
    #[serde(default)]
    pub version: u32,
}

/// What the operator says of a driver that is a component; it stays when the component is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DriverTerms {
    /// The bounds of its calls that are its own.
    pub limits: DriverLimits,
    /// What it may do beyond computing.
    pub grant: Grant,
    /// Who gets its steps.
    pub placement: Option<Placement>,
}

impl Driver {
    /// The terms that hold for it.
    #[must_use]
    pub fn terms(&self) -> DriverTerms {
        DriverTerms { limits: self.limits, grant: self.grant.clone(), placement: self.placement }
    }

    /// The name of the place on the bus at which its component works; none if it does not.
    #[must_use]
    pub fn station(&self) -> Option<String> {
        self.placement.map_or_else(|| Some(self.name.clone()), |placement| placement.station(&self.name))
    }
}

/// One upload of a driver's component, or a return to an earlier one. Never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DriverVersion {
    /// Counts from 1.
    pub version: u32,
    /// Names the bytes.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// The types of resource it acts on.
    pub resources: Vec<String>,
    /// Of the component, in bytes.
    pub size: u64,
    /// The version of the package `conveyor:driver` it was built against.
    pub wit_version: String,
    /// What it imports, as its binary says.
    pub imports: Vec<String>,
    /// When it became the driver's component.
    #[schema(value_type = String, format = DateTime)]
    pub uploaded_at: Timestamp,
    /// Who said so, as they call themselves; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub who: String,
    /// Why; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl DriverVersion {
    /// The record of the driver that this version makes. The terms are the driver's, whatever its version.
    #[must_use]
    pub fn driver(&self, name: &str, terms: DriverTerms) -> Driver {
        let DriverTerms { limits, grant, placement } = terms;
        let Self { version, digest, resources, size, wit_version, imports, uploaded_at, .. } = self.clone();
        let name = name.to_owned();
        Driver { name, resources, digest, size, wit_version, imports, grant, limits, placement, uploaded_at, version }
    }
}

/// `sha256:` and 64 lowercase hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// A text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a digest: sha256: and 64 lowercase hex digits are expected")]
pub struct DigestError(String);

const PREFIX: &str = "sha256:";

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(PREFIX.len() + 64);
        text.push_str(PREFIX);
        for byte in Sha256::digest(bytes) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hex digits alone.
    #[must_use]
    pub fn hex(&self) -> &str {
        self.0.strip_prefix(PREFIX).unwrap_or_default()
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix(PREFIX).unwrap_or_default();
        let good = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(Self(text.to_owned())) } else { Err(DigestError(text.to_owned())) }
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
