//! Folders and files that nobody but the user of the process may read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;

/// Makes the folder and those above it, if they are missing; what is there already keeps its mode.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Opens a file to read and write and makes it if it is missing; what is in it stays.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the names in a folder durable: a file that was made or renamed may otherwise be gone after a loss of power.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a folder with all that is in it, however deep others have nested it: each folder inside is moved up before it is
/// looked into, so that neither paths nor the stack grow. Links are removed, not followed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let mut number = 0_u64;
    loop {
        let mut empty = true;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            empty = false;
            if entry.file_type()?.is_dir() {
                remove_level(path, &entry.path(), &mut number)?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        if empty {
            return fs::remove_dir(path);
        }
    }
}

/// Removes a folder of `root`, after what was in it was removed or, if it is a folder, moved to `root`.
fn remove_level(root: &Path, folder: &Path, number: &mut u64) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
            continue;
        }
        let mut to = root.join(format!(".removed-{number}"));
        while to.symlink_metadata().is_ok() {
            *number += 1;
            to = root.join(format!(".removed-{number}"));
        }
        fs::rename(entry.path(), to)?;
    }
    fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_nested_deeper_than_any_path_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let (root, outside) = (place.path().join("root"), place.path().join("outside"));
        fs::create_dir(&root).unwrap();
        fs::write(&outside, "stays").unwrap();
        // Each round puts what is there into a new folder: 5,000 levels of 3 bytes are longer than PATH_MAX.
        let (inner, spare) = (root.join("aa"), place.path().join("spare"));
        fs::create_dir(&inner).unwrap();
        for _ in 0..5_000 {
            fs::create_dir(&spare).unwrap();
            fs::rename(&inner, spare.join("aa")).unwrap();
            fs::rename(&spare, &inner).unwrap();
        }
        std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
        remove(&root).unwrap();
        assert!(!root.exists());
        assert_eq!(fs::read_to_string(outside).unwrap(), "stays");
    }
}
