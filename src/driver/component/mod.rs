//! A driver that is a WASI component.
