//! The one integration binary.

mod cli;
mod conformance;
mod support;
