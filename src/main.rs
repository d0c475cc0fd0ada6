//! The binary: parse, run, exit.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use conveyor::cli::{self, Cli, Exit};

fn main() -> ExitCode {
    start(Cli::parse()).unwrap_or_else(|error| cli::fail(error.as_ref())).into()
}

fn start(cli: Cli) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot start")?;
    let exit = runtime.block_on(cli::run(cli));
    // What blocking tasks are in the middle of, such as a write to a file, may come to its end.
    runtime.shutdown_timeout(Duration::from_secs(5));
    Ok(exit?)
}
