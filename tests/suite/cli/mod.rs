//! The command line without a server behind it.

mod doctor;
mod exit;
mod manifest;
mod migrate;
mod output;
mod run;
mod settings;
mod sse;
mod tree;
