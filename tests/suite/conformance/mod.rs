//! What every backend of a seam must do: each case is written once and run over every backend.

mod blob;
mod bus;
mod log;
mod store;
