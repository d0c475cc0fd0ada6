//! The data folder: whether it can be used, who has it, and what the disk below it is like.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Check, size, span};
use crate::config::{self, Config};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The folder.
    pub path: PathBuf,
    /// How it stands.
    pub folder: Folder,
    /// Who has it.
    pub lock: Lock,
    /// What the file system has left, of the folder or of the nearest one above it.
    pub space: Result<Space, String>,
    /// How long flushed writes took there, in no order.
    pub flushes: Result<Vec<Duration>, String>,
    /// The number by which the system names the kind of file system; 0 if it does not.
    pub file_system: u64,
}

/// How the folder stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folder {
    /// It is not there; the nearest folder above it is this one.
    Missing(PathBuf),
    /// There is something else of this name.
    NotAFolder,
    /// It cannot be looked at.
    Unreadable(String),
    /// It is there, with these permission bits.
    There(u32),
}

/// Who has the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// Nobody.
    Free,
    /// The process of this number.
    Held(String),
    /// It cannot be told.
    Unknown(String),
}

/// What a file system has left for those who are not root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that are free.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
    /// Files that can still be made.
    pub files_free: u64,
    /// Files in all; 0 if the file system does not count them.
    pub files: u64,
}

/// Looks at the folder of a configuration.
pub async fn gather(config: &Config) -> Facts {
    let (path, flushes) = (config.data.clone(), config.doctor.flushes);
    let facts = tokio::task::spawn_blocking(move || look(path, flushes)).await;
    facts.unwrap_or_else(|error| Facts {
        path: config.data.clone(),
        folder: Folder::Unreadable(error.to_string()),
        lock: Lock::Unknown(error.to_string()),
        space: Err(error.to_string()),
        flushes: Err(error.to_string()),
        file_system: 0,
    })
}

fn look(path: PathBuf, flushes: usize) -> Facts {
    let folder = folder(&path);
    let place = match &folder {
        Folder::Missing(above) => above.clone(),
        _ => path.clone(),
    };
    Facts {
        lock: lock(&path.join("lock")),
        space: space(&place),
        flushes: flush(&place, flushes).map_err(|error| error.to_string()),
        file_system: file_system(&place),
        folder,
        path,
    }
}

fn folder(path: &Path) -> Folder {
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => Folder::There(mode(&metadata)),
        Ok(_) => Folder::NotAFolder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = path.ancestors().skip(1).find(|above| above.is_dir());
            Folder::Missing(above.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned())
        }
        Err(error) => Folder::Unreadable(error.to_string()),
    }
}

#[cfg(unix)]
fn mode(metadata: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o7777
}

#[cfg(not(unix))]
fn mode(_: &std::fs::Metadata) -> u32 {
    0o700
}

/// A shared lock, let go of at once: who has the folder keeps it, and is the only one that could be in the way.
fn lock(path: &Path) -> Lock {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Lock::Free,
        Err(error) => return Lock::Unknown(error.to_string()),
    };
    match file.try_lock_shared() {
        Ok(()) => Lock::Free,
        Err(TryLockError::Error(error)) => Lock::Unknown(error.to_string()),
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // The number only helps to find the process; that it has the folder is known without it.
            let _ = file.read_to_string(&mut owner);
            Lock::Held(owner.trim().to_owned())
        }
    }
}

fn space(path: &Path) -> Result<Space, String> {
    let found = rustix::fs::statvfs(path).map_err(|error| error.to_string())?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Space {
        free: bytes(found.f_bavail),
        total: bytes(found.f_blocks),
        files_free: found.f_favail,
        files: found.f_files,
    })
}

#[cfg(target_os = "linux")]
fn file_system(path: &Path) -> u64 {
    // The kernel's numbers have 32 bits, whatever the width and the sign of the field.
    #[expect(clippy::cast_sign_loss, reason = "only the lower half is looked at")]
    rustix::fs::statfs(path).map_or(0, |found| found.f_type as u64 & 0xffff_ffff)
}

#[cfg(not(target_os = "linux"))]
fn file_system(_: &Path) -> u64 {
    0
}

/// Writes small blocks one after the other, each flushed as a commit of the store is.
fn flush(folder: &Path, count: usize) -> io::Result<Vec<Duration>> {
    let path = folder.join(format!(".conveyor-doctor-{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path)?;
    let mut measure = || {
        let started = Instant::now();
        file.write_all(&[0; 4096]).and_then(|()| file.sync_data()).map(|()| started.elapsed())
    };
    let flushes = (0..count.max(1)).map(|_| measure()).collect();
    std::fs::remove_file(&path)?;
    flushes
}

/// Judges what was found.
#[must_use]
pub fn judge(facts: &Facts, bounds: &config::Doctor) -> Vec<Check> {
    vec![
        judge_folder(facts),
        judge_lock(facts),
        judge_file_system(facts.file_system),
        judge_space(facts, bounds),
        judge_flushes(facts, bounds),
    ]
}

fn judge_folder(facts: &Facts) -> Check {
    const NAME: &str = "data-folder";
    let shown = facts.path.display();
    let writable = facts.flushes.as_ref().map(|_| ());
    match (&facts.folder, writable) {
        (Folder::NotAFolder, _) => {
            Check::fail(NAME, format!("{shown} is not a folder"), "name another one with --data, or move the file away")
        }
        (Folder::Unreadable(why), _) => Check::fail(
            NAME,
            format!("{shown} cannot be looked at: {why}"),
            "give the user of Conveyor access to it, or name another one with --data",
        ),
        (Folder::Missing(above), Err(why)) => Check::fail(
            NAME,
            format!("{shown} is not there and cannot be made in {}: {why}", above.display()),
            "make it for the user of Conveyor, or name another one with --data",
        ),
        (Folder::There(_), Err(why)) => Check::fail(
            NAME,
            format!("{shown} cannot be written: {why}"),
            "give the user of Conveyor the right to write there (and space on the disk), or name another one with --data",
        ),
        (Folder::Missing(_), Ok(())) => Check::ok(NAME, format!("{shown} is not there yet; `conveyor up` makes it")),
        (Folder::There(mode), Ok(())) if mode & 0o077 != 0 => Check::warn(
            NAME,
            format!("{shown} can be written, but others can get at it: its mode is {mode:04o}"),
            format!("chmod 700 {shown}"),
        ),
        (Folder::There(mode), Ok(())) => Check::ok(NAME, format!("{shown} can be written, mode {mode:04o}")),
    }
}

fn judge_lock(facts: &Facts) -> Check {
    const NAME: &str = "data-lock";
    match &facts.lock {
        Lock::Free => Check::ok(NAME, "no process has the folder"),
        Lock::Held(process) => {
            Check::ok(NAME, format!("process {process} has the folder: a Conveyor is running on it"))
        }
        Lock::Unknown(why) => Check::warn(
            NAME,
            format!("it cannot be told who has the folder: {why}"),
            "run doctor as the user of Conveyor",
        ),
    }
}

fn judge_file_system(number: u64) -> Check {
    const NAME: &str = "file-system";
    let network = |kind: &str| {
        Check::warn(
            NAME,
            format!("the folder is on a network file system ({kind}): SQLite's log needs a disk of this machine"),
            "put the folder on a local disk, or keep the store in etcd (--etcd)",
        )
    };
    match number {
        0x0102_1994 | 0x8584_58f6 => Check::warn(
            NAME,
            "the folder is in memory (tmpfs): nothing survives a restart of the machine",
            "put the folder on a disk",
        ),
        0x6969 => network("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => network("SMB"),
        0x0102_1997 => network("9P"),
        0x00c3_6400 => network("Ceph"),
        0 => Check::skipped(NAME, "the system does not tell the kind"),
        number => Check::ok(NAME, format!("local, number {number:#x}")),
    }
}

fn judge_space(facts: &Facts, bounds: &config::Doctor) -> Check {
    const NAME: &str = "free-space";
    let space = match &facts.space {
        Ok(space) => space,
        Err(why) => return Check::skipped(NAME, format!("it cannot be told: {why}")),
    };
    let found = format!("{} of {} are free", size(space.free), size(space.total));
    if space.free < bounds.least_free_bytes {
        return Check::fail(
            NAME,
            found,
            "make room: without it nothing is accepted, and runs stand still until there is",
        );
    }
    // What counts files has few left when a hundredth of them is.
    if space.files > 0 && space.files_free < space.files / 100 {
        let found = format!("{found}, but only {} of {} files can still be made", space.files_free, space.files);
        return Check::warn(NAME, found, "remove small files, or use a file system with more inodes");
    }
    if space.free < bounds.free_bytes {
        return Check::warn(NAME, found, "make room soon: at less than doctor.least_free_bytes it fails");
    }
    Check::ok(NAME, found)
}

fn judge_flushes(facts: &Facts, bounds: &config::Doctor) -> Check {
    const NAME: &str = "fsync";
    let mut flushes = match &facts.flushes {
        Ok(flushes) => flushes.clone(),
        Err(why) => return Check::skipped(NAME, format!("nothing could be written: {why}")),
    };
    flushes.sort();
    let (Some(&median), Some(&worst)) = (flushes.get(flushes.len() / 2), flushes.last()) else {
        return Check::skipped(NAME, "nothing was measured");
    };
    let found = format!("median {}, worst {} of {}", span(median), span(worst), flushes.len());
    if median >= Duration::from_millis(bounds.flush_ms) {
        let advice = "every commit waits for this: use a disk with a faster flush (SSD, a controller with a battery), and \
                      look who else keeps it busy";
        return Check::warn(NAME, found, advice);
    }
    Check::ok(NAME, found)
}
