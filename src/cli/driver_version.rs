//! `conveyor driver versions|rollback`: which components a driver had, and back to one of them.

use clap::Args;
use serde_json::Value;

use super::output::{self, Column, Format};
use super::{Context, Error, Exit};

const COLUMNS: &[Column] = &[
    Column::new("VERSION", "/version"),
    Column::new("UPLOADED", "/uploaded_at"),
    Column::new("WHO", "/who"),
    Column::new("SIZE", "/size"),
    Column::new("DIGEST", "/digest"),
    Column::new("NOTE", "/note"),
];

/// What is remembered with a version.
#[derive(Debug, Args)]
pub struct Remark {
    /// Who does it; kept with the version.
    #[arg(long, env = "USER", default_value = "")]
    who: String,
    /// Why; kept with the version.
    #[arg(long, default_value = "")]
    note: String,
}

/// Which version becomes the newest again.
#[derive(Debug, Args)]
pub struct Rollback {
    /// The driver's name.
    name: String,
    /// The version's number; without it the last one with other bytes than now.
    #[arg(long, value_name = "VERSION")]
    to: Option<u32>,
    #[command(flatten)]
    remark: Remark,
}

impl Remark {
    pub(super) fn query(&self) -> [(&str, &str); 2] {
        [("who", &self.who), ("note", &self.note)]
    }
}

pub(super) async fn versions(name: &str, context: &Context) -> Result<Exit, Error> {
    let items = context.client.list(&["drivers", name, "versions"], &[], None).await?;
    context.output.list(items, COLUMNS)?;
    Ok(Exit::Ok)
}

pub(super) async fn rollback(rollback: &Rollback, context: &Context) -> Result<Exit, Error> {
    let to = rollback.to.map(|version| version.to_string());
    let to = to.as_deref().map(|version| ("to", version));
    let query: Vec<_> = rollback.remark.query().into_iter().chain(to).collect();
    let answer = context.client.act(&["drivers", &rollback.name, "rollback"], &query).await?;
    if context.output.format == Format::Json {
        output::value(&answer.body)?;
        return Ok(Exit::Ok);
    }
    let version = answer.body.get("version").and_then(Value::as_u64).unwrap_or_default();
    let digest = answer.body.get("digest").and_then(Value::as_str).unwrap_or_default();
    context.output.line(&format!("driver {} is at version {version}, {digest}", rollback.name))?;
    Ok(Exit::Ok)
}
