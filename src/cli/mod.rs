//! The command `conveyor`: what can be said on the command line, and who carries it out.
//!
//! Only `main` uses this module; nothing in the library depends on it. It prints in [`output`] alone and decides about
//! exit codes in [`Exit`] and [`Error`] alone.

mod acts;
mod apply;
pub mod client;
mod definition;
mod dev;
mod doctor;
mod driver;
mod driver_grant;
mod driver_placement;
mod driver_version;
mod error;
mod exec;
mod exit;
pub mod follow;
mod inspect;
mod logs;
pub mod manifest;
mod migrate;
mod noun;
mod offline;
pub mod output;
mod pipeline;
pub mod project;
mod replay;
mod resource;
pub mod run;
pub mod settings;
pub mod show_config;
pub mod sse;
mod up;
mod watch;

use std::error::Error as StdError;

use clap::{Parser, Subcommand};

pub use error::Error;
pub use exit::Exit;

use crate::driver::component::compiler;
use crate::exec::guard;
use client::Client;
use output::{Format, Output};

/// Runs CI/CD pipelines whose steps are WebAssembly components or remote drivers.
#[derive(Debug, Parser)]
#[command(name = "conveyor", version, after_help = exit::HELP, after_long_help = exit::HELP)]
pub struct Cli {
    /// The server that the command talks to.
    #[arg(long, global = true, env = "CONVEYOR_SERVER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    server: String,
    /// How to print: a table for people, or exactly one JSON value.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until Ctrl-C.
    Up(up::Up),
    /// Work on drivers: a server that builds and swaps them at each save, and runs the last resource again.
    ///
    /// It has the page and the API of `up`. A run goes to its end with the drivers that it began with; the one after a save
    /// has the new ones. A build that fails leaves the old driver in its place.
    Dev(dev::Dev),
    /// Print the configuration that `up` would run with.
    Config(up::Up),
    /// Look at all that the server leans on, and say what to do about it.
    ///
    /// Takes the configuration that `up` would run with, and disturbs no server that is running. Exits 12 if something
    /// fails.
    Doctor(up::Up),
    /// Copy everything from one place to another: the store, the blobs of components and large results, the logs.
    ///
    /// Stop every Conveyor of both places first. What was copied is read back, counted and compared. A migration that
    /// was interrupted is run again and goes on.
    Migrate(migrate::Migrate),
    /// Create or update what files describe: definitions first, then pipelines, then resources.
    ///
    /// Stops at the first document that fails, and then exits 1 (7 if the server cannot be reached).
    Apply(apply::Apply),
    /// Upload, show and delete drivers, and run programs as drivers.
    #[command(subcommand)]
    Driver(driver::Driver),
    /// Show and delete pipelines.
    #[command(subcommand)]
    Pipeline(pipeline::Pipeline),
    /// Show and delete resource definitions, the types of resources.
    #[command(subcommand)]
    Definition(definition::Definition),
    /// Show and delete resources.
    #[command(subcommand)]
    Resource(resource::Resource),
    /// Show and follow runs, and read their logs.
    #[command(subcommand)]
    Run(run::Run),
    /// The process that `driver exec` starts to end what is left of its attempts if it is killed.
    #[command(hide = true, name = guard::COMMAND)]
    GuardProcesses,
    /// The process that `up` starts to compile a component: from standard input to standard output.
    #[command(hide = true, name = compiler::COMMAND)]
    CompileComponent {
        /// Address space, in bytes.
        memory_bytes: u64,
        /// Processor time, in seconds.
        cpu_seconds: u64,
        /// It shall burn fuel.
        #[arg(long = compiler::METERED)]
        metered: bool,
    },
}

/// How a change is asked for so that it is made once.
#[derive(Debug, clap::Args)]
struct Once {
    /// Names this change, 1 to 100 visible ASCII characters: the same again with the same key starts no second run, for as
    /// long as the server remembers (24 hours by default).
    #[arg(long = "idempotency-key", value_name = "KEY", value_parser = idempotency_key)]
    key: Option<String>,
}

fn idempotency_key(text: &str) -> Result<String, String> {
    // The server takes 255; `apply` adds the name of each resource.
    let good = (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if good { Ok(text.to_owned()) } else { Err("1 to 100 visible ASCII characters are expected".to_owned()) }
}

/// What every command that talks to a server needs.
struct Context {
    client: Client,
    output: Output,
}

/// Carries out the command.
///
/// # Errors
/// Why it failed; [`fail`] tells it.
pub async fn run(cli: Cli) -> Result<Exit, Error> {
    let output = Output::new(cli.output);
    let command = match cli.command {
        Command::Up(up) => return Box::pin(up::run(up, output)).await,
        Command::Dev(dev) => return Box::pin(dev::run(dev, output)).await,
        Command::Config(up) => return show_config::run(up, output),
        Command::Doctor(up) => return doctor::run(up, output).await,
        Command::Migrate(migrate) => return until_interrupted(Box::pin(migrate::run(migrate, output))).await,
        Command::Driver(driver) if driver.is_local() => {
            return driver::run_here(driver, &cli.server, output).await;
        }
        Command::GuardProcesses => {
            guard::serve();
            return Ok(Exit::Ok);
        }
        Command::CompileComponent { memory_bytes, cpu_seconds, metered } => {
            return Ok(compile(memory_bytes, cpu_seconds, metered));
        }
        command => command,
    };
    let context = Context { client: Client::new(&cli.server)?, output };
    until_interrupted(talk(command, &context)).await
}

async fn until_interrupted(work: impl Future<Output = Result<Exit, Error>>) -> Result<Exit, Error> {
    tokio::select! {
        exit = work => exit,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    }
}

/// Tells on stderr why the command failed.
#[must_use]
pub fn fail(error: &(dyn StdError + 'static)) -> Exit {
    let exit = error.downcast_ref().map_or(Exit::Error, Error::exit);
    if exit != Exit::Ok {
        output::error(error);
    }
    exit
}

fn compile(memory_bytes: u64, cpu_seconds: u64, metered: bool) -> Exit {
    if let Err(why) = compiler::serve(memory_bytes, cpu_seconds, metered) {
        output::note(&why);
        return Exit::Error;
    }
    Exit::Ok
}

async fn talk(command: Command, context: &Context) -> Result<Exit, Error> {
    match command {
        Command::Apply(apply) => apply::run(&apply, context).await,
        Command::Driver(driver) => driver::run(&driver, context).await,
        Command::Pipeline(pipeline) => pipeline::run(&pipeline, context).await,
        Command::Definition(definition) => definition::run(&definition, context).await,
        Command::Resource(resource) => resource::run(&resource, context).await,
        Command::Run(run) => run::run(&run, context).await,
        // These talk to no server and are carried out before.
        Command::Up(_)
        | Command::Dev(_)
        | Command::Config(_)
        | Command::Doctor(_)
        | Command::Migrate(_)
        | Command::GuardProcesses
        | Command::CompileComponent { .. } => Ok(Exit::Ok),
    }
}
