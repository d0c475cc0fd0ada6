//! Conveyor.
pub mod blob;
pub mod bus;
#[doc(hidden)]
pub mod cli;
pub mod clock;
pub mod config;
pub mod driver;
pub mod log;
pub mod model;
pub mod server;
pub mod store;
