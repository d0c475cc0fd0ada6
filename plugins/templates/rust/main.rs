//! The driver `{{name}}`: the border to `conveyor driver exec`. What it does is in `reconcile.rs`.

mod reconcile;

use std::process::ExitCode;

fn main() -> ExitCode {
    let request = match serde_json::from_reader(std::io::stdin()) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("the request cannot be read: {error}");
            return ExitCode::from(2);
        }
    };
    let outcome = reconcile::reconcile(&request, &|line| println!("{line}"));
    let mut data = outcome.data;
    data["message"] = outcome.message.into();
    // The last line is the result.
    println!("{data}");
    if outcome.success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
