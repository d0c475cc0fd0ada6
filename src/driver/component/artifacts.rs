//! Compiled components on the disk, so that a start compiles nothing.
//!
//! An artifact is machine code, and whoever loads one runs it. So the folder is ours alone, each artifact is named by the
//! digest of its component and by what the engine and this program are, and a code over name and bytes, made with a key of
//! the folder, says that this Conveyor put it there. What does not fit is deleted and compiled again.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::folder;
use crate::model::Digest;

/// Behind the name of an artifact.
const CODE: &str = "cwasm";
/// Behind the name of the code that says who made the artifact.
const SEAL: &str = "seal";
/// The bytes of the key.
const KEY: usize = 32;

/// The artifacts of one folder.
#[derive(Debug)]
pub(super) struct Artifacts {
    folder: PathBuf,
    key: hmac::Key,
    engine: String,
    most: usize,
}

impl Artifacts {
    /// Opens the folder and makes it if it is missing; deletes what another engine made. At most `most` are kept.
    pub(super) fn open(folder: &Path, engine: &Engine, most: usize) -> io::Result<Self> {
        folder::create(folder)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key(folder)?);
        let artifacts = Self { folder: folder.to_owned(), key, engine: engine_key(engine), most: most.max(1) };
        artifacts.tidy();
        Ok(artifacts)
    }

    /// The component of this digest, if an artifact of it is there that we made.
    pub(super) fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(digest, CODE);
        let code = fs::read(&path).ok()?;
        let seal = fs::read(self.path(digest, SEAL)).unwrap_or_default();
        if hmac::verify(&self.key, &self.sealed(digest, &code), &seal).is_err() {
            tracing::warn!(%digest, "a compiled component on the disk is not ours or is damaged; it is compiled again");
            self.remove(digest);
            return None;
        }
        let component = load_file(engine, &path).or_else(|_| load(engine, &code));
        component.inspect_err(|error| tracing::warn!(%digest, "a compiled component cannot be loaded: {error:#}")).ok()
    }

    /// Keeps an artifact. What cannot be kept is compiled again at the next start.
    pub(super) fn keep(&self, digest: &Digest, code: &[u8]) -> io::Result<()> {
        let seal = hmac::sign(&self.key, &self.sealed(digest, code));
        // The seal first: an artifact without one is not loaded.
        self.write(digest, SEAL, seal.as_ref())?;
        self.write(digest, CODE, code)?;
        self.tidy();
        Ok(())
    }

    fn path(&self, digest: &Digest, kind: &str) -> PathBuf {
        self.folder.join(format!("{}-{}.{kind}", digest.hex(), self.engine))
    }

    fn write(&self, digest: &Digest, kind: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(digest, kind);
        let draft = self.folder.join(format!("{}.draft", uuid::Uuid::new_v4().simple()));
        let mut file = folder::open_file(&draft)?;
        let written = file.write_all(bytes).and_then(|()| fs::rename(&draft, path));
        written.inspect_err(|_| drop(fs::remove_file(&draft)))
    }

    /// What the seal is made over: the name as well, so that no artifact passes for another.
    fn sealed(&self, digest: &Digest, code: &[u8]) -> Vec<u8> {
        [digest.as_str().as_bytes(), b"\n", self.engine.as_bytes(), b"\n", code].concat()
    }

    fn remove(&self, digest: &Digest) {
        for kind in [CODE, SEAL] {
            // It may be gone already, which is as well.
            let _ = fs::remove_file(self.path(digest, kind));
        }
    }

    /// Deletes what this engine cannot use, and the oldest beyond the bound.
    fn tidy(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let ours = format!("-{}.", self.engine);
        let mut kept: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let of_ours = name.contains(&ours);
            if of_ours && name.ends_with(CODE) {
                let age = entry.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                kept.push((age, path));
            } else if !of_ours && name.contains('-') {
                let _ = fs::remove_file(path);
            }
        }
        kept.sort();
        let excess = kept.len().saturating_sub(self.most);
        for (_, path) in kept.into_iter().take(excess) {
            let _ = fs::remove_file(path.with_extension(SEAL));
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes a component of machine code that this program compiled.
#[expect(unsafe_code, reason = "the bytes come from our own compiler, as the one who calls this has checked")]
pub(super) fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are what `Engine::precompile_component` of this very program made: they come straight from it, or
    // their seal was checked.
    unsafe { Component::deserialize(engine, code) }
}

#[expect(unsafe_code, reason = "the seal of the file was checked, and only we can write to its folder")]
fn load_file(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: as for `load`; nobody but this user may write to the folder.
    unsafe { Component::deserialize_file(engine, path) }
}

/// What the engine is and what this program is, as a part of a name.
fn engine_key(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The key of the folder, made at first. Two processes that make it at one time agree on the first.
fn key(folder: &Path) -> io::Result<Vec<u8>> {
    let path = folder.join("key");
    if let Some(key) = fs::read(&path).ok().filter(|key| key.len() == KEY) {
        return Ok(key);
    }
    let mut fresh = [0_u8; KEY];
    SystemRandom::new().fill(&mut fresh).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let draft = folder.join(format!("{}.draft", uuid::Uuid::new_v4().simple()));
    folder::open_file(&draft)?.write_all(&fresh)?;
    let linked = fs::hard_link(&draft, &path);
    fs::remove_file(&draft)?;
    match linked {
        Ok(()) => Ok(fresh.to_vec()),
        Err(_) => match fs::read(&path)? {
            key if key.len() == KEY => Ok(key),
            _ => Err(io::Error::other(format!("{} is damaged: delete it", path.display()))),
        },
    }
}
