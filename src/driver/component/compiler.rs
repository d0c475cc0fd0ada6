//! Where components are compiled: in a process of its own, whose memory and time are bounded, or in this one where the
//! embedding program names no compiler.
//!
//! The compiler is the largest part of the host that a stranger's bytes reach, and wasmtime bounds neither what it takes
//! nor how long. A component that makes it run wild ends the child and nothing else.

use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, Signal, nice, setrlimit};
use wasmtime::Engine;

use super::admission::Refused;
use super::engine::{self, Fuel};
use super::limits::Bytes as Size;
use crate::config;

/// The command of the binary that is the child's side.
pub(crate) const COMMAND: &str = "compile-component";

/// Its flag for a component that burns fuel.
pub(crate) const METERED: &str = "metered";

/// The most that is read of what a child says on standard error.
const WORDS: u64 = 16 << 10;

/// Files that the child may have open.
const FILES: u64 = 16;

/// Turns components into machine code.
#[derive(Debug)]
pub(super) struct Compiler {
    program: Option<PathBuf>,
    bounds: Bounds,
}

/// What one compilation may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Address space, in bytes.
    pub memory_bytes: u64,
    /// Processor time, all threads together, in seconds.
    pub cpu_seconds: u64,
    /// Wall-clock time.
    pub wall_time: Duration,
}

impl From<&config::Component> for Bounds {
    fn from(config: &config::Component) -> Self {
        Self {
            memory_bytes: config.compile_memory_bytes,
            cpu_seconds: config.compile_cpu_ms.div_ceil(1_000).max(1),
            wall_time: Duration::from_millis(config.compile_wall_ms),
        }
    }
}

impl Compiler {
    pub(super) fn new(config: &config::Component) -> Self {
        Self { program: config.compiler.clone(), bounds: Bounds::from(config) }
    }

    /// Compiles on the thread of the caller.
    pub(super) fn compile(&self, engine: &Engine, fuel: Fuel, component: &Bytes) -> Result<Vec<u8>, Refused> {
        match &self.program {
            Some(program) => compile_apart(program, fuel, component, self.bounds),
            None => {
                engine.precompile_component(component).map_err(|error| Refused::NotCompilable(format!("{error:#}")))
            }
        }
    }
}

fn compile_apart(program: &Path, fuel: Fuel, component: &Bytes, bounds: Bounds) -> Result<Vec<u8>, Refused> {
    let broken = |error: &dyn std::fmt::Display| Refused::CompilerBroken(error.to_string());
    let mut command = Command::new(program);
    command.arg(COMMAND).arg(bounds.memory_bytes.to_string()).arg(bounds.cpu_seconds.to_string());
    if fuel == Fuel::Metered {
        command.arg(format!("--{METERED}"));
    }
    command.env_clear().current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| broken(&format!("{}: {error}", program.display())))?;
    let words = talk(&mut child, component);
    let code = words.code.recv_timeout(bounds.wall_time);
    if code.is_err() {
        // It may have ended by itself at this very moment.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| broken(&error))?;
    let said = words.said.join().unwrap_or_default();
    match code {
        Err(_) => Err(Refused::CompilerBound(format!("it takes more than {} ms", bounds.wall_time.as_millis()))),
        Ok(code) if status.success() => Ok(code),
        Ok(_) => Err(ended_badly(status, &said, bounds)),
    }
}

/// What comes out of a child.
struct Words {
    code: mpsc::Receiver<Vec<u8>>,
    said: thread::JoinHandle<String>,
}

/// Feeds the child and reads what it answers, each on a thread, so that no full pipe holds up the other.
fn talk(child: &mut Child, component: &Bytes) -> Words {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let component = component.clone();
    thread::spawn(move || {
        // A child that ended early has said why.
        let _ = stdin.map(|mut stdin| stdin.write_all(&component));
    });
    let (sender, code) = mpsc::channel();
    thread::spawn(move || {
        let mut code = Vec::new();
        let _ = stdout.map(|mut stdout| stdout.read_to_end(&mut code));
        // The one who waits may have given up.
        let _ = sender.send(code);
    });
    let said = thread::spawn(move || {
        let mut said = Vec::new();
        let _ = stderr.map(|stderr| stderr.take(WORDS).read_to_end(&mut said));
        String::from_utf8_lossy(&said).trim().to_owned()
    });
    Words { code, said }
}

fn ended_badly(status: ExitStatus, said: &str, bounds: Bounds) -> Refused {
    let signal = status.signal();
    if signal == Some(Signal::XCPU.as_raw()) || signal == Some(Signal::KILL.as_raw()) {
        return Refused::CompilerBound(format!("it takes more than {} s of processor time", bounds.cpu_seconds));
    }
    // What the allocators of Rust and of C say when they get no more.
    let words = ["memory allocation of", "Cannot allocate memory", "out of memory"];
    if words.iter().any(|words| said.contains(words)) {
        let most = Size(usize::try_from(bounds.memory_bytes).unwrap_or(usize::MAX));
        return Refused::CompilerBound(format!("it takes more than {most} of memory"));
    }
    match signal {
        Some(signal) => Refused::NotCompilable(format!("the compiler was ended by signal {signal}: {said}")),
        None => Refused::NotCompilable(said.to_owned()),
    }
}

/// The child's side: bounds itself, reads a component from standard input and writes its machine code to standard output.
///
/// # Errors
/// Why there is none, for standard error.
pub(crate) fn serve(memory_bytes: u64, cpu_seconds: u64, metered: bool) -> Result<(), String> {
    let limit = |resource, most| {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(resource, limit).map_err(|error| format!("the compiler cannot bound itself: {error}"))
    };
    limit(Resource::As, memory_bytes)?;
    limit(Resource::Cpu, cpu_seconds)?;
    limit(Resource::Nofile, FILES)?;
    limit(Resource::Core, 0)?;
    // A politeness to the server, which it can do without.
    let _ = nice(10);
    let mut component = Vec::new();
    std::io::stdin().lock().read_to_end(&mut component).map_err(|error| error.to_string())?;
    let engine =
        engine::for_compiling(if metered { Fuel::Metered } else { Fuel::Off }).map_err(|error| error.to_string())?;
    let code = engine.precompile_component(&component).map_err(|error| format!("{error:#}"))?;
    std::io::stdout().lock().write_all(&code).map_err(|error| error.to_string())
}
