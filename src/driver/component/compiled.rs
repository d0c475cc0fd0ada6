//! A component that was compiled and linked: what a call begins with.

use std::fmt;
use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::admission::Refused;
use super::border;
use super::contract::{self, Linked};
use super::limits::{Bytes, Limits};
use super::state::State;

/// The bytes of a page of linear memory.
const PAGE: u64 = 1 << 16;

/// A compiled and linked component. Cheap to clone.
#[derive(Clone)]
pub(super) struct Compiled(Arc<Linked>);

impl fmt::Debug for Compiled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Compiled")
    }
}

/// Everything that a component may import.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    border::link(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    contract::link(&mut linker)?;
    Ok(linker)
}

impl Compiled {
    /// Links a component.
    pub(super) fn link(component: &Component, linker: &Linker<State>) -> Result<Self, Refused> {
        let linked = Linked::new(component, linker);
        linked.map(|linked| Self(Arc::new(linked))).map_err(|error| Refused::NotLinkable(format!("{error:#}")))
    }

    /// Whether it can start within these bounds.
    pub(super) fn fits(&self, limits: &Limits) -> Result<(), Refused> {
        // Nobody can tell of one that brings a module in as an import; such a one fails at its first call.
        let Some(required) = self.0.component().resources_required() else { return Ok(()) };
        let pages = required.max_initial_memory_size.unwrap_or_default();
        let memory = usize::try_from(pages.saturating_mul(PAGE)).unwrap_or(usize::MAX);
        let elements = usize::try_from(required.max_initial_table_size.unwrap_or_default()).unwrap_or(usize::MAX);
        let too_much = |what: String, limit: &str| Err(Refused::TooLarge { what, limit: limit.to_owned() });
        if memory > limits.memory_bytes {
            let what = format!("{} of memory, and its driver has {}", Bytes(memory), Bytes(limits.memory_bytes));
            return too_much(what, "memory_bytes");
        }
        if elements > limits.table_elements {
            let what = format!("a table of {elements} elements, and its driver has {}", limits.table_elements);
            return too_much(what, "table_elements");
        }
        Ok(())
    }

    /// What makes instances of it.
    pub(super) fn linked(&self) -> &Linked {
        &self.0
    }
}
