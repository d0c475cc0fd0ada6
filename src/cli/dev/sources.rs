//! What a driver is made from: whether it has changed, and being told when it may have.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::super::Error;

/// Folders that tools fill; nobody writes a driver there.
const TOOLS: [&str; 4] = ["target", "node_modules", "__pycache__", "zig-out"];
/// Of a larger file only the size counts.
const READ: u64 = 4 << 20;

/// The sources of one driver.
#[derive(Debug)]
pub(super) struct Sources {
    /// Is made, not written.
    component: PathBuf,
    /// Of all their bytes, when they were built last.
    known: Option<u64>,
    watched: HashSet<PathBuf>,
}

/// What tells of changes in the folders it is given.
pub(super) fn watcher(changes: mpsc::Sender<()>) -> Result<RecommendedWatcher, Error> {
    let tell = move |event: notify::Result<notify::Event>| {
        // Reading is none. Of many at once one is enough: all is looked at anyway.
        if event.map_or(true, |event| !event.kind.is_access()) {
            let _ = changes.try_send(());
        }
    };
    notify::recommended_watcher(tell).map_err(unwatchable)
}

fn unwatchable(error: notify::Error) -> Error {
    let paths: Vec<_> = error.paths.iter().map(|path| path.display().to_string()).collect();
    Error::File { file: paths.join(", "), source: std::io::Error::other(error) }
}

impl Sources {
    pub(super) fn without(component: PathBuf) -> Self {
        Self { component, known: None, watched: HashSet::new() }
    }

    /// Whether they are others than at the last call; folders that are new are watched from now on.
    pub(super) fn changed(&mut self, folder: &Path, watcher: &mut RecommendedWatcher) -> Result<bool, Error> {
        let mut hash = DefaultHasher::new();
        let component = folder.join(&self.component);
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            if !self.watched.contains(&folder) {
                // Before it is read, so that nothing is missed in between.
                watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(unwatchable)?;
                self.watched.insert(folder.clone());
            }
            // A folder that goes away in the middle is noticed the next time.
            let mut entries: Vec<_> = std::fs::read_dir(&folder).into_iter().flatten().flatten().collect();
            entries.sort_by_key(std::fs::DirEntry::file_name);
            for entry in entries {
                let (path, name) = (entry.path(), entry.file_name());
                let name = name.to_string_lossy();
                let Ok(kind) = entry.file_type() else { continue };
                if name.starts_with('.') || TOOLS.contains(&name.as_ref()) || path == component {
                    continue;
                }
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    let size = entry.metadata().map_or(0, |metadata| metadata.len());
                    let bytes = if size <= READ { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
                    (path, size, bytes).hash(&mut hash);
                }
            }
        }
        let found = Some(hash.finish());
        let changed = self.known != found;
        self.known = found;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_write_is_no_change() -> Result<(), Error> {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let mut watcher = watcher(mpsc::channel(1).0)?;
        let mut sources = Sources::without("out/driver.wasm".into());
        write("src/lib.rs", "1");
        assert!(sources.changed(folder.path(), &mut watcher)?);
        for path in ["target/a", "src/node_modules/a", ".git/a", "out/driver.wasm", "src/.lib.rs.swp"] {
            write(path, "1");
            assert!(!sources.changed(folder.path(), &mut watcher)?, "{path}");
        }
        write("src/lib.rs", "1");
        assert!(!sources.changed(folder.path(), &mut watcher)?);
        write("src/lib.rs", "2");
        assert!(sources.changed(folder.path(), &mut watcher)?);
        Ok(())
    }
}
