//! The driver `{{name}}` as a component. What it does is in `reconcile.rs`.

mod reconcile;

conveyor_driver::driver!(reconcile::reconcile);
