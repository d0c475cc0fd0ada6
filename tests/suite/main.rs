//! The one integration binary.

mod component;
mod conformance;
mod support;
