//! `conveyor migrate`: copies everything from one place to another.

mod place;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::output::{self, Format, Output, Steps};
use super::settings::{self, Flags};
use super::{Error, Exit};
use crate::config::Config;
use crate::migrate::{self, Options, Refusal, Tally};
use place::{Open, Place};

/// From where to where, and how.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Where everything is: `sqlite:DIR` or `etcd:URL,URL`.
    #[arg(long, value_name = "PLACE")]
    from: Place,
    /// Where everything goes; it must be empty, or hold a part of the same.
    #[arg(long, value_name = "PLACE")]
    to: Place,
    /// The NATS servers that keep blobs and logs beside etcd; needed with etcd unless --only store is given.
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// Copy only these.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Store, Part::Blobs, Part::Logs])]
    only: Vec<Part>,
    /// Only compare, and tell what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Overwrite and remove this number of entries of the target, those that --dry-run names.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    replace: u64,
    /// The configuration file, which then must exist [default: conveyor.toml, if there is one].
    #[arg(long, value_name = "FILE", env = "CONVEYOR_CONFIG")]
    config: Option<PathBuf>,
}

/// What can be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Definitions, pipelines, drivers, resources with their versions, and runs.
    Store,
    /// The bytes of components and of large results.
    Blobs,
    /// The log lines of runs.
    Logs,
}

pub(super) async fn run(migrate: Migrate, output: Output) -> Result<Exit, Error> {
    let flags = Flags { file: migrate.config.clone(), nats: migrate.nats.clone(), ..Flags::default() };
    let config = settings::load(&flags, &settings::environment(), Path::new("")).map_err(Error::Settings)?;
    let with_blobs = migrate.only.iter().any(|part| *part != Part::Store);
    // The source first: if it is not there, nothing is made of the target.
    let source = migrate.from.open_source(&config, with_blobs).await?;
    let target = migrate.to.open_target(&config, with_blobs, migrate.dry_run).await?;
    let (tallies, refusal) = copy(&migrate, &config, &source, &target, &mut Steps::new()).await?;
    print(&migrate, &tallies, &refusal, output)?;
    let wrong: Vec<&str> =
        tallies.iter().filter(|tally| tally.matches == Some(false)).map(|tally| tally.kind.as_str()).collect();
    if wrong.is_empty() { Ok(Exit::Ok) } else { Err(Error::Mismatch { kinds: wrong.join(", ") }) }
}

/// Blobs before the store, so that nothing names a blob that is not there yet.
async fn copy(
    migrate: &Migrate,
    config: &Config,
    source: &Open,
    target: &Open,
    steps: &mut Steps,
) -> Result<(Vec<Tally>, Refusal), Error> {
    let mut bounds = config.migrate.clone();
    bounds.writes = bounds.writes.min(config.store.transaction_writes);
    let options = Options { dry_run: migrate.dry_run, replace: migrate.replace, bounds };
    let mut report = |progress: migrate::Progress<'_>| steps.show(progress);
    let (mut tallies, mut refusal) = (Vec::new(), Refusal::default());
    let wants = |part| migrate.only.contains(&part);
    if wants(Part::Store) {
        // Whether the target is empty is found out before the blobs are copied.
        let look = Options { dry_run: true, ..options.clone() };
        (tallies, refusal) = migrate::copy_entries(&*source.store, &*target.store, &look, &mut report).await?;
        if !options.dry_run && refusal.entries() != options.replace {
            return Err(migrate::Error::NotEmpty(refusal).into());
        }
    }
    let mut others = Vec::new();
    if let (true, Some(from), Some(to)) = (wants(Part::Blobs), &source.blobs, &target.blobs) {
        others.push(migrate::copy_blobs(&**from, &**to, &options, &mut report).await?);
    }
    if let (true, Some(from), Some(to)) = (wants(Part::Logs), &source.logs, &target.logs) {
        others.push(migrate::copy_logs(&**from, &**to, &options, &mut report).await?);
    }
    if wants(Part::Store) && !options.dry_run {
        (tallies, _) = migrate::copy_entries(&*source.store, &*target.store, &options, &mut report).await?;
    }
    tallies.extend(others);
    steps.end();
    Ok((tallies, refusal))
}

fn print(migrate: &Migrate, tallies: &[Tally], refusal: &Refusal, output: Output) -> Result<(), Error> {
    if output.format == Format::Json {
        output::value(&json!({
            "from": migrate.from.to_string(),
            "to": migrate.to.to_string(),
            "dry_run": migrate.dry_run,
            "kinds": tallies,
            "replaced": refusal,
        }))?;
        return Ok(());
    }
    let (copied, replaced, removed) =
        if migrate.dry_run { ("TO COPY", "TO REPLACE", "TO REMOVE") } else { ("COPIED", "REPLACED", "REMOVED") };
    let titles = vec!["KIND", "SOURCE", "THERE BEFORE", copied, replaced, removed, "TARGET", "SAME"];
    let row = |tally: &Tally| {
        let numbers = [tally.source, tally.present, tally.missing, tally.different, tally.foreign];
        let mut row = vec![tally.kind.clone()];
        row.extend(numbers.map(|number| number.to_string()));
        row.push(tally.target.map_or_else(|| "-".to_owned(), |target| target.to_string()));
        row.push(tally.matches.map_or("-", |matches| if matches { "yes" } else { "no" }).to_owned());
        row
    };
    output.table(titles, tallies.iter().map(row).collect())?;
    let word = if migrate.dry_run { "would be replaced or removed" } else { "replaced or removed" };
    for key in &refusal.keys {
        output.line(&format!("{word}: {key}"))?;
    }
    Ok(())
}
