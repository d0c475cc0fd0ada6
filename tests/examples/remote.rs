//! A driver that is an async function, over NATS.

#![allow(clippy::print_stdout, reason = "an example is read, not run by a service")]

use conveyor::RemoteDriver;
use conveyor::driver::Failure;
use conveyor::model::DriverResult;
use serde_json::{Value, json};

/// Works for the steps that name `deploy` until Ctrl-C.
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let driver = RemoteDriver::function("deploy", &["letter"], |request| async move {
        let Some(to) = request.resource.spec.get("to").and_then(Value::as_str) else {
            return Err(Failure::Permanent("the spec has no field to".to_owned()));
        };
        request.log.info(format!("deploying to {to}")).await;
        Ok(DriverResult::success("deployed").with_data(json!({ "to": to })))
    });
    let nats = std::env::args().nth(1).unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned());
    let mut running = driver.nats(nats).start().await?;
    running.ready().await;
    println!("driver deploy is ready");
    tokio::signal::ctrl_c().await?;
    running.stop().await;
    Ok(())
}
