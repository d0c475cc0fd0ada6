//! `conveyor resource`: shows and deletes resources.

use clap::Subcommand;

use super::noun::Noun;
use super::output::Column;
use super::{Context, Error, Exit};

const COLUMNS: &[Column] = &[
    Column::new("NAME", "/name"),
    Column::new("TYPE", "/resource"),
    Column::new("PIPELINE", "/pipeline"),
    Column::new("VERSION", "/metadata/version"),
    Column::new("ID", "/id"),
];

/// What can be done with resources; `conveyor apply` makes and changes them.
#[derive(Debug, Subcommand)]
pub enum Resource {
    /// Show all resources of a type.
    List {
        /// The type: the name of a resource definition.
        resource: String,
    },
    /// Show one resource.
    Get {
        /// Its type.
        resource: String,
        /// Its name.
        name: String,
    },
    /// Delete one resource, which starts a run with the event `delete`.
    Delete {
        /// Its type.
        resource: String,
        /// Its name.
        name: String,
    },
}

pub(super) async fn run(resource: &Resource, context: &Context) -> Result<Exit, Error> {
    match resource {
        Resource::List { resource } => of_type(&["resources", resource]).list(context).await,
        Resource::Get { resource, name } => of_type(&["resources", resource]).get(context, name).await,
        Resource::Delete { resource, name } => of_type(&["resources", resource]).delete(context, name).await,
    }
}

fn of_type<'a>(path: &'a [&'a str]) -> Noun<'a> {
    Noun { kind: "Resource", word: "resource", path, columns: COLUMNS }
}
