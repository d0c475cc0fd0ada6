//! The one integration binary.

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod support;
