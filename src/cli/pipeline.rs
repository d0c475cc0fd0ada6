//! `conveyor pipeline`: shows and deletes pipelines.

use clap::Subcommand;

use super::noun::Noun;
use super::output::Column;
use super::{Context, Error, Exit};

const PIPELINES: Noun<'static> = Noun {
    kind: "Pipeline",
    word: "pipeline",
    path: &["pipelines"],
    columns: &[
        Column::new("NAME", "/name"),
        Column::new("RESOURCE", "/resource"),
        Column::each("STEPS", "/steps", "/driver"),
        Column::new("DESCRIPTION", "/description"),
    ],
};

/// What can be done with pipelines; `conveyor apply` makes them.
#[derive(Debug, Subcommand)]
pub enum Pipeline {
    /// Show all pipelines.
    List,
    /// Show one pipeline.
    Get {
        /// Its name.
        name: String,
    },
    /// Delete one pipeline.
    Delete {
        /// Its name.
        name: String,
    },
}

pub(super) async fn run(pipeline: &Pipeline, context: &Context) -> Result<Exit, Error> {
    match pipeline {
        Pipeline::List => PIPELINES.list(context).await,
        Pipeline::Get { name } => PIPELINES.get(context, name).await,
        Pipeline::Delete { name } => PIPELINES.delete(context, name).await,
    }
}
