//! The one integration binary.

mod api;
mod cli;
mod component;
mod conformance;
mod end_to_end;
mod library;
mod simulation;
mod support;
mod tidy;
