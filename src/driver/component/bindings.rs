//! What the WIT contract looks like in Rust, generated from its versions in `wit`. The second has the values of the first,
//! so that a call is the same for both.

pub(super) mod v1 {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "driver",
        imports: { default: async },
        exports: { default: async },
    });
}

pub(super) mod v2 {
    wasmtime::component::bindgen!({
        path: "wit/0.2.0",
        world: "driver",
        imports: { default: async },
        exports: { default: async },
        with: {
            "conveyor:driver/driver-types@0.2.0": super::v1::conveyor::driver::driver_types,
        },
    });
}
