//! `conveyor doctor`: looks at all that the server leans on.

use super::output::{self, Format, Output};
use super::up::Up;
use super::{Error, Exit};
use crate::doctor::{self, Report, Status};

pub(super) async fn run(up: Up, output: Output) -> Result<Exit, Error> {
    let config = up.configuration()?;
    let report = doctor::examine(&config).await;
    match output.format {
        Format::Json => output::value(&serde_json::to_value(&report).unwrap_or_default())?,
        Format::Table => print(&report, output)?,
    }
    Ok(if report.status == Status::Fail { Exit::Unhealthy } else { Exit::Ok })
}

/// What was found, and below it what to do.
fn print(report: &Report, output: Output) -> std::io::Result<()> {
    let row =
        |check: &doctor::Check| vec![check.name.to_owned(), check.status.as_str().to_owned(), check.found.clone()];
    output.table(vec!["CHECK", "STATUS", "FOUND"], report.checks.iter().map(row).collect())?;
    for check in &report.checks {
        if let Some(advice) = &check.advice {
            output.line(&format!("\n{} ({}): {advice}", check.name, check.status.as_str()))?;
        }
    }
    Ok(())
}
