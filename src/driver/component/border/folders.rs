//! The folders of one call.

use std::path::{Path, PathBuf};

use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::filesystem::FsPerms;

use super::Border;
use crate::driver::{Failure, Request};
use crate::folder;
use crate::model::{Access, FolderGrant, SCRATCH};

/// A folder that the guest finds as `/NAME`.
#[derive(Debug, Clone)]
pub(in super::super) struct Mount {
    pub name: String,
    pub path: PathBuf,
    pub access: Access,
}

/// The folders that are there for this call; the run's own is made if it is missing.
pub(super) async fn mounts(
    border: &Border,
    granted: Vec<FolderGrant>,
    request: &Request,
) -> Result<Vec<Mount>, Failure> {
    let mut mounts = Vec::new();
    for FolderGrant { name, access } in granted {
        let path = if name == SCRATCH {
            scratch(border, request).await?
        } else {
            let Some(folder) = border.config.folders.get(&name) else { continue };
            let there = tokio::fs::metadata(&folder.path).await.is_ok_and(|metadata| metadata.is_dir());
            if !there {
                let text = format!("the folder \"{name}\" cannot be had: {} is no folder", folder.path.display());
                return Err(Failure::Retryable(text));
            }
            folder.path.clone()
        };
        mounts.push(Mount { name, path, access });
    }
    Ok(mounts)
}

async fn scratch(border: &Border, request: &Request) -> Result<PathBuf, Failure> {
    let Some(root) = &border.scratch else {
        let text = "the folder \"scratch\" cannot be had: this host keeps everything in memory; give it a data folder";
        return Err(Failure::NotCallable(text.to_owned()));
    };
    let path = root.join(request.run.to_string());
    let made = path.clone();
    let made = tokio::task::spawn_blocking(move || folder::create(&made)).await;
    match made {
        Ok(Ok(())) => Ok(path),
        Ok(Err(error)) => Err(Failure::Retryable(format!("the folder \"scratch\" cannot be made: {error}"))),
        Err(error) => Err(Failure::Retryable(format!("the folder \"scratch\" cannot be made: {error}"))),
    }
}

/// Opens the folders for the guest. What it does in them stays in them: paths are resolved below the opened folder, and
/// neither `..` nor a symbolic link leads out.
pub(super) fn open(mounts: &[Mount], builder: &mut WasiCtxBuilder) -> Result<(), Failure> {
    for Mount { name, path, access } in mounts {
        let permissions = if *access == Access::Read { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
        let opened = builder.preopened_dir(path, format!("/{name}"), permissions);
        opened.map_err(|error| Failure::Retryable(format!("the folder \"{name}\" cannot be opened: {error:#}")))?;
    }
    Ok(())
}

/// The bytes of all files below a folder; what goes away meanwhile does not count. Links are not followed.
pub(in super::super) fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.fold(0, u64::saturating_add)
}
