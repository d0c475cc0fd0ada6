//! Compiling apart from the host, and what was compiled kept on the disk.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use conveyor::blob::Blobs as _;
use conveyor::config::Config;
use conveyor::driver::Reconciler as _;
use conveyor::driver::component::{ComponentDriver, ComponentHost};

use super::{Bench, Shelf, silent};
use crate::support::guest;

/// Compiles with the binary, as `conveyor up` does.
fn apart(config: &mut Config) {
    config.component.compiler = Some(env!("CARGO_BIN_EXE_conveyor").into());
}

/// A function that is so long that the compiler has a lot to do.
fn heavy(operations: usize) -> Vec<u8> {
    let sum = "(i64.add (i64.mul (local.get 0) (i64.const 3)) (i64.xor (local.get 0) (local.get 1)))";
    let line = format!("(local.set 0 {sum}) (local.set 1 (i64.rotl (local.get 1) (local.get 0)))");
    let function = format!("(func $heavy (param i64 i64) {})", line.repeat(operations));
    guest::driver("", &function, &format!("(call $heavy (i64.const 1) (i64.const 2)) {}", guest::SUCCEED))
}

#[tokio::test]
async fn a_component_is_compiled_by_a_process_of_its_own() {
    Bench::with(apart).serves().await;
    let missing = Bench::with(|config| config.component.compiler = Some("/nowhere/conveyor".into()));
    let refused = missing.admit(guest::ok().into()).await.unwrap_err().to_string();
    assert!(refused.starts_with("the compiler of components cannot be started: /nowhere/conveyor"), "{refused}");
}

#[tokio::test]
async fn a_component_that_takes_too_much_to_compile_ends_the_compiler_and_nothing_else() {
    type Change = fn(&mut Config);
    let cases: [(Change, &str); 3] = [
        (|config| config.component.compile_memory_bytes = 192 << 20, "it takes more than 192 MiB of memory"),
        (|config| config.component.compile_cpu_ms = 1, "it takes more than 1 s of processor time"),
        (|config| config.component.compile_wall_ms = 200, "it takes more than 200 ms"),
    ];
    let bomb = heavy(300_000);
    for (change, expected) in cases {
        let bench = Bench::with(|config| {
            apart(config);
            change(config);
        });
        let began = Instant::now();
        let refused = bench.admit(bomb.clone().into()).await.unwrap_err().to_string();
        assert_eq!(refused, format!("the component cannot be compiled here: {expected}"));
        assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
    }
    Bench::with(apart).serves().await;
}

/// Calls a component in a host over a folder that may compile; answers how many files are there then.
async fn call(folder: &Path, component: Vec<u8>) -> usize {
    let mut config = Config::default();
    config.component.compiler = Some(PathBuf::from(env!("CARGO_BIN_EXE_conveyor")));
    call_with(folder, component, &config).await.expect("it answers")
}

async fn call_with(folder: &Path, component: Vec<u8>, config: &Config) -> Result<usize, String> {
    let shelf = Arc::new(Shelf::default());
    let digest = shelf.put(Bytes::from(component)).await.unwrap();
    let host =
        ComponentHost::with_data(config, Arc::clone(&shelf) as _, &Arc::default(), folder.parent().unwrap()).unwrap();
    let driver = ComponentDriver::new(host, "tested", digest);
    driver.reconcile(silent()).await.map_err(|failure| failure.to_string())?;
    Ok(fs::read_dir(folder).unwrap().count())
}

#[tokio::test]
async fn what_was_compiled_is_loaded_by_the_next_host_and_only_if_it_is_ours() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("compiled");
    assert_eq!(call(&folder, guest::ok()).await, 3, "a key, an artifact and its seal");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    // A host without a compiler has to find it.
    let mut none = Config::default();
    none.component.compiler = Some("/nowhere/conveyor".into());
    assert_eq!(call_with(&folder, guest::ok(), &none).await, Ok(3));
    let files = || fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let artifact = files().find(|path| path.extension().is_some_and(|end| end == "cwasm")).unwrap();
    let seal = artifact.with_extension("seal");
    let (code, seal_bytes) = (fs::read(&artifact).unwrap(), fs::read(&seal).unwrap());
    let mut changed = code.clone();
    changed[code.len() / 2] ^= 1;
    for (tampered, sealed) in
        [(changed, Some(seal_bytes.clone())), (code.clone(), None), (Vec::new(), Some(seal_bytes))]
    {
        fs::write(&artifact, tampered).unwrap();
        match sealed {
            Some(sealed) => fs::write(&seal, sealed).unwrap(),
            None => fs::remove_file(&seal).unwrap(),
        }
        let failure = call_with(&folder, guest::ok(), &none).await.unwrap_err();
        assert!(failure.contains("the compiler of components cannot be started"), "{failure}");
        assert_eq!(call(&folder, guest::ok()).await, 3, "it is compiled again");
        assert_eq!(fs::read(&artifact).unwrap(), code);
    }
    // The artifact of one component does not pass for that of another, though its seal is of the same key.
    assert_eq!(call(&folder, guest::sleep(1)).await, 5);
    let other = files().find(|path| path.extension().is_some_and(|end| end == "cwasm") && *path != artifact).unwrap();
    fs::copy(&artifact, &other).unwrap();
    fs::copy(&seal, other.with_extension("seal")).unwrap();
    let failure = call_with(&folder, guest::sleep(1), &none).await.unwrap_err();
    assert!(failure.contains("the compiler of components cannot be started"), "{failure}");
}

#[tokio::test]
async fn no_more_is_kept_than_may_be_and_what_another_engine_made_goes() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("compiled");
    fs::create_dir(&folder).unwrap();
    let mut config = Config::default();
    config.component.artifacts = 2;
    fs::write(folder.join("0123-ffffffffffffffff.cwasm"), b"old").unwrap();
    for ms in 1..5 {
        call_with(&folder, guest::sleep(ms), &config).await.unwrap();
    }
    let paths = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let artifacts: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "cwasm")).collect();
    assert_eq!(artifacts.len(), 2, "{artifacts:?}");
    assert!(!folder.join("0123-ffffffffffffffff.cwasm").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_hundred_components_compiles_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let shelf = Arc::new(Shelf::default());
    let mut config = Config::default();
    config.component.cache = 100;
    let host = |config: &Config| {
        ComponentHost::with_data(config, Arc::clone(&shelf) as _, &Arc::default(), temporary.path()).unwrap()
    };
    let mut digests = Vec::new();
    for number in 0..100 {
        digests.push(shelf.put(guest::answer(&number.to_string()).into()).await.unwrap());
    }
    let first = host(&config);
    for digest in &digests {
        first.load(digest).await.unwrap();
    }
    drop(first);
    // Whatever had to be compiled could not be.
    config.component.compiler = Some("/nowhere/conveyor".into());
    let began = Instant::now();
    let second = host(&config);
    for digest in &digests {
        second.load(digest).await.unwrap();
    }
    println!("a start with 100 components took {:?}", began.elapsed());
    for (number, digest) in digests.into_iter().enumerate() {
        let answer = ComponentDriver::new(second.clone(), "tested", digest).reconcile(silent()).await.unwrap();
        assert_eq!(answer.data, number);
    }
}

#[tokio::test]
async fn a_driver_whose_fuel_is_limited_has_machine_code_of_its_own() {
    let temporary = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.component.compiler = Some(env!("CARGO_BIN_EXE_conveyor").into());
    config.component.fuel = Some(1_000_000);
    let folder = temporary.path().join("compiled");
    for _ in 0..2 {
        call_with(&folder, guest::ok(), &config).await.unwrap();
        // The second time it is found on the disk.
        config.component.compiler = Some("/nowhere/conveyor".into());
    }
    assert_eq!(fs::read_dir(folder.join("metered")).unwrap().count(), 3);
}
