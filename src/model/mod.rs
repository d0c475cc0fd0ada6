//! The nouns of Conveyor. No input or output, nothing asynchronous.
//!
//! The JSON of every type here is the JSON of the wire protocol; fields that the Go original does not know are additive.

mod blob_ref;
mod breaker;
mod bundle;
mod comparison;
mod concurrency;
mod definition;
mod driver;
mod expression;
mod grant;
mod labels;
mod limits;
mod log_line;
mod matrix;
mod message;
mod name;
mod pipeline;
mod placement;
mod policy;
mod resource;
mod run;
mod run_values;
mod step;
mod step_record;
mod transcript;
mod usage;
mod uses;

pub use blob_ref::BlobRef;
pub use breaker::{BreakerState, BreakerView};
pub use bundle::{BUNDLE_FORMAT, Bundle, BundledCall, BundledComponent};
pub use comparison::{Comparison, differences};
pub use concurrency::{Concurrency, Group, OnConflict, RunGroup};
pub use definition::ResourceDefinition;
pub use driver::{Digest, DigestError, Driver, DriverTerms, DriverVersion};
pub use expression::{Expression, ExpressionError, MAX_EXPRESSION, Scope, shown};
pub use grant::{
    Access, AnyPort, Capability, Destination, Effective, EnvGrant, FolderGrant, Grant, GrantLevel, Host, HostError,
    HostPattern, HttpGrant, Malformed, Permit, Port, Refusal, SCRATCH, Scheme, SchemeRule, SecretGrant, SecretUse,
    canonical, is_global,
};
pub use labels::{Labels, MAX_LABELS, check_label, check_labels};
pub use limits::{DriverLimits, LimitsView};
pub use log_line::LogLine;
pub use matrix::Matrix;
pub use message::{CancelSignal, DriverMessage, DriverReport, PipelineEvent, SharedContext, StepResult, keys};
pub use name::{NameError, check_driver_name, check_name};
pub use pipeline::Pipeline;
pub use placement::Placement;
pub use policy::{Approval, Backoff, Cause, Retry};
pub use resource::Resource;
pub use run::{DriverResult, Halt, ResourceEvent, ResourceRef, Run, RunHead, RunId, RunInput, RunStatus};
pub use run_values::{RunEntry, RunValue, RunValues, Unchanged};
pub use step::Step;
pub use step_record::{Attempt, FanOut, MatrixItem, StepRecord, StepStatus};
pub use transcript::{Exchange, Transcript};
pub use usage::Usage;
pub use uses::{Use, Used, Uses};

/// What makes a value of the model unacceptable. The text names the field and the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A name that cannot become a subject, a key or a consumer name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Any other field.
    #[error("{path}: {problem}")]
    Field {
        /// JSON path of the field, such as `steps[1].driver`.
        path: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl Invalid {
    /// A problem with the field at `path`.
    pub fn field(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field { path: path.into(), problem: problem.into() }
    }
}
