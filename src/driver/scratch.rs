//! Removes the scratch folders of runs that have ended.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::folder;
use crate::model::RunId;
use crate::store::{SharedStore, Store, keys};

/// Looks now and then, until it is told to stop. Every node has folders of its own.
pub(super) async fn sweep(root: PathBuf, pause: Duration, store: SharedStore, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        if let Err(error) = round(&root, store.as_ref()).await {
            tracing::warn!(folder = %root.display(), error, "scratch folders of runs that ended stay for now");
        }
    }
}

async fn round(root: &Path, store: &dyn Store) -> Result<(), String> {
    let mut entries = match tokio::fs::read_dir(root).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| error.to_string())?,
    };
    while let Some(entry) = entries.next_entry().await.map_err(|error| error.to_string())? {
        // What is not named after a run is not ours.
        let Some(run) = entry.file_name().to_str().and_then(|name| name.parse::<RunId>().ok()) else { continue };
        let active = store.get(&keys::active(run)).await.map_err(|error| error.to_string())?;
        if active.is_none() {
            let path = entry.path();
            let removed = tokio::task::spawn_blocking(move || folder::remove(&path)).await;
            removed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
