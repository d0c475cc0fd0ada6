//! What the WIT contract looks like in Rust, generated from `wit/driver.wit`. A later version of the contract gets a
//! module beside this one.

wasmtime::component::bindgen!({
    path: "wit",
    world: "driver",
    imports: { default: async },
    exports: { default: async },
});
