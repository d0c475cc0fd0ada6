//! What a guest asks of its environment and of chance, noted.

use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::cli::WasiCliView as _;
use wasmtime_wasi::p2::bindings::cli::environment;
use wasmtime_wasi::p2::bindings::random::insecure_seed;
use wasmtime_wasi::random::WasiRandomView as _;

use super::files;
use crate::driver::component::state::State;

/// Puts the interfaces whose use is noted in front of those of wasmtime.
pub(in super::super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    environment::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    insecure_seed::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    files::link(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl environment::Host for State {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        self.granted().note_env();
        environment::Host::get_environment(&mut self.cli())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        environment::Host::get_arguments(&mut self.cli())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        environment::Host::initial_cwd(&mut self.cli())
    }
}

impl insecure_seed::Host for State {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        self.tape.drawn();
        insecure_seed::Host::insecure_seed(self.random())
    }
}
