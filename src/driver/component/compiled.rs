//! A component that was compiled and linked: what a call begins with.

use std::fmt;
use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use super::admission::Refused;
use super::bindings::DriverPre;
use super::bindings::conveyor::driver::host_log;
use super::border;
use super::state::State;

/// A compiled and linked component. Cheap to clone.
#[derive(Clone)]
pub(super) struct Compiled(Arc<DriverPre<State>>);

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
    host_log::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

impl Compiled {
    /// Links a component.
    pub(super) fn link(component: &Component, linker: &Linker<State>) -> Result<Self, Refused> {
        let linked = linker.instantiate_pre(component).and_then(DriverPre::new);
        linked.map(|driver| Self(Arc::new(driver))).map_err(|error| Refused::NotLinkable(format!("{error:#}")))
    }

    /// What makes instances of it.
    pub(super) fn driver(&self) -> &DriverPre<State> {
        &self.0
    }
}
