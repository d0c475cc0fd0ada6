//! The belt: a pure core ([`machine`]) and the shell around it.
//!
//! The shell never decides anything by itself and never talks to the API: it takes events from the bus, asks the core,
//! commits, and then sends what the core says is owed.

mod acts;
mod begin;
mod context;
mod data;
mod dispatch;
mod event;
mod graph;
mod group;
pub mod machine;
mod quiet;
mod recovery;
mod retry;
mod sequencer;
pub mod slots;
mod worker;

use std::sync::Arc;

pub use context::shared_context;
pub use data::{Loaded, data_for, place_gathered};
pub use dispatch::{belt, message, unwanted};
pub use event::Event;
pub use machine::{Answer, Belt, Decision, Effect, Input, Limits, Rejected};
pub use sequencer::Engine;

use crate::blob::SharedBlobs;
use crate::bus::SharedBus;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::store::SharedStore;

/// What the engine works with.
#[derive(Clone)]
pub struct Parts {
    /// The state of record.
    pub store: SharedStore,
    /// The transport.
    pub bus: SharedBus,
    /// Where large results lie.
    pub blobs: SharedBlobs,
    /// The time of day.
    pub clock: SharedClock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Every bound.
    pub config: Arc<Config>,
}
