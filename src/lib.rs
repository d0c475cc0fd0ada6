//! Conveyor.
pub mod api;
pub mod blob;
pub mod bus;
pub mod catalog;
pub mod clock;
pub mod config;
mod conveyor;
pub mod driver;
pub mod engine;
pub mod log;
pub mod metrics;
pub mod model;
pub mod server;
pub mod store;

pub use conveyor::{Builder, Conveyor, StartError};
