//! What one call used of its grants.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::model::{RunId, Use, Used, Uses};

/// Where a call notes what it used and what it was refused. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct UseLog(Arc<Mutex<Uses>>);

impl UseLog {
    /// Notes a use, or that it was refused.
    pub fn note(&self, used: Used, refused: bool, run: RunId) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.add(Use::once(used, refused, run, Timestamp::now()));
    }

    /// Takes out what was noted so far.
    #[must_use]
    pub fn take(&self) -> Uses {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
