#![doc = include_str!("../README.md")]

pub mod api;
pub mod blob;
pub mod bus;
pub mod catalog;
mod causes;
#[doc(hidden)]
pub mod cli;
pub mod clock;
pub mod config;
mod conveyor;
pub mod doctor;
pub mod driver;
pub mod engine;
pub mod exec;
mod folder;
pub mod log;
pub mod metrics;
pub mod migrate;
pub mod model;
pub mod nats_server;
pub mod remote;
pub mod retention;
pub mod server;
mod sqlite;
pub mod store;

pub use conveyor::{Builder, Conveyor, StartError};
pub use remote::RemoteDriver;
