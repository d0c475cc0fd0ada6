//! `conveyor definition`: shows and deletes definitions.

use clap::Subcommand;

use super::noun::Noun;
use super::output::Column;
use super::{Context, Error, Exit};

const DEFINITIONS: Noun<'static> = Noun {
    kind: "ResourceDefinition",
    word: "definition",
    path: &["resource-definitions"],
    columns: &[
        Column::new("NAME", "/name"),
        Column::new("VERSION", "/version"),
        Column::new("DESCRIPTION", "/description"),
    ],
};

/// What can be done with definitions; `conveyor apply` makes them.
#[derive(Debug, Subcommand)]
pub enum Definition {
    /// Show all definitions.
    List,
    /// Show one definition.
    Get {
        /// Its name.
        name: String,
    },
    /// Delete one definition.
    Delete {
        /// Its name.
        name: String,
    },
}

pub(super) async fn run(definition: &Definition, context: &Context) -> Result<Exit, Error> {
    match definition {
        Definition::List => DEFINITIONS.list(context).await,
        Definition::Get { name } => DEFINITIONS.get(context, name).await,
        Definition::Delete { name } => DEFINITIONS.delete(context, name).await,
    }
}
