//! The command line without a server behind it.

mod exit;
mod manifest;
mod output;
mod run;
mod settings;
mod sse;
mod tree;
