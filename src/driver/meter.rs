//! What a call took, on its way from the one who calls to the one who reports.

use std::sync::{Arc, OnceLock};

use crate::model::Usage;

/// Where is said what one call took. Cheap to clone; all clones are of the same call.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    usage: Arc<OnceLock<Usage>>,
}

impl Meter {
    /// What the call took; `None` while it is under way, and of a driver that is no component.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.usage.get().copied()
    }

    /// Says what the call took; the first word stands.
    pub(super) fn record(&self, usage: Usage) {
        let _ = self.usage.set(usage);
    }
}
