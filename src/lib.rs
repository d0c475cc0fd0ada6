//! Conveyor.
pub mod blob;
pub mod bus;
pub mod clock;
pub mod config;
pub mod driver;
mod folder;
pub mod log;
pub mod model;
mod sqlite;
pub mod store;
