//! The driver `{{name}}`: the border to `conveyor driver exec`. What it does is in `reconcile.rs`.

mod reconcile;

fn main() -> std::process::ExitCode {
    conveyor_driver::exec(reconcile::reconcile)
}
