//! The folders of one call.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::filesystem::FsPerms;

use super::Border;
use crate::driver::{Failure, Request};
use crate::folder;
use crate::model::{Access, FolderGrant, SCRATCH};

/// How often the size of a scratch folder is looked at while a call may write to it.
const LOOK: Duration = Duration::from_millis(100);
/// How deep folders in it may be nested. Beyond some thousand, paths are longer than the system takes.
const DEPTH: usize = 64;
/// The bytes of a block of the disk.
const BLOCK: u64 = 4 << 10;

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

/// Ends when the scratch folder among `mounts` has more than `most` bytes or is nested too deep, and says so; never, if
/// the guest cannot write to one. WASI knows no quota, so this looks now and then.
pub(super) async fn outgrown(mounts: &[Mount], most: u64) -> String {
    let scratch = mounts.iter().find(|mount| mount.name == SCRATCH && mount.access == Access::ReadWrite);
    let Some(scratch) = scratch else { return std::future::pending().await };
    loop {
        let (path, began) = (scratch.path.clone(), Instant::now());
        let measured = tokio::task::spawn_blocking(move || measure(path, most)).await;
        if let Ok(Err(outgrown)) = measured {
            return format!("scratch: {outgrown}");
        }
        // Looking must not become the work of the host either.
        tokio::time::sleep(LOOK.max(began.elapsed() * 10)).await;
    }
}

/// Looks at all below a folder, what goes away meanwhile apart; links are not followed. An entry takes a block of the disk
/// even when it is empty.
fn measure(folder: PathBuf, most: u64) -> Result<(), String> {
    let mut bytes = 0_u64;
    let mut folders = vec![(folder, 0)];
    while let Some((folder, depth)) = folders.pop() {
        if depth > DEPTH {
            return Err(format!("folders are nested deeper than {DEPTH}"));
        }
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries {
            let Ok(metadata) = entry.metadata() else { continue };
            bytes = bytes.saturating_add(metadata.len().next_multiple_of(BLOCK).max(BLOCK));
            if bytes > most {
                return Err(format!("more than {most} bytes, the most that capabilities.scratch_bytes allows"));
            }
            if metadata.is_dir() {
                folders.push((entry.path(), depth + 1));
            }
        }
    }
    Ok(())
}
