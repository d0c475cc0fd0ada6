//! Conveyor.
pub mod blob;
pub mod bus;
pub mod clock;
pub mod config;
pub mod driver;
pub mod log;
pub mod model;
pub mod store;
