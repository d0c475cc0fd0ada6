//! A program with the belt in it: what it does is kept in a folder, and the HTTP API is there for others.

#![allow(clippy::print_stdout, reason = "an example is read, not run by a service")]

use std::net::TcpListener;

use conveyor::config::Config;
use conveyor::model::DriverResult;
use conveyor::{Conveyor, server};

/// Serves until Ctrl-C, in the folder that is named, or in `.conveyor`.
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::default();
    config.component.memory_bytes = 32 << 20;
    let belt = Conveyor::builder()
        .config(config)
        .data(std::env::args().nth(1).unwrap_or_else(|| ".conveyor".to_owned()))
        .driver("stamp", &["letter"], |request| async move {
            request.log.info(format!("stamping {}", request.resource.name)).await;
            Ok(DriverResult::success("stamped"))
        })
        .start()
        .await?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let ready = || println!("conveyor is ready at http://{address}");
    let shutdown = async { drop(tokio::signal::ctrl_c().await) };
    server::serve_api(&belt, listener, ready, shutdown).await?;
    belt.stop().await;
    Ok(())
}
