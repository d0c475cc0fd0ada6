//! The driver of `tests/remote_drivers` in each language, as a process.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::server::PATIENCE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Rust,
    Python,
    /// Its function is async there.
    PythonAsync,
    JavaScript,
    Go,
}

/// A driver called `far` for the type `app`, ended with the test.
pub struct Far {
    child: Child,
    out: BufReader<ChildStdout>,
    _folder: Option<TempDir>,
}

impl Far {
    /// Starts it, with its notes in a folder, and waits until steps reach it.
    pub fn start(language: Language, notes: &Path, arguments: &[&str]) -> Self {
        let mut far = Self::start_only(language, notes, arguments);
        let mut line = String::new();
        far.out.read_line(&mut line).unwrap();
        assert!(line.contains("driver far is ready"), "{language:?}: {line}");
        far
    }

    /// Starts it.
    pub fn start_only(language: Language, notes: &Path, arguments: &[&str]) -> Self {
        let (mut command, folder) = language.command();
        command.args(["--name", "far"]).args(arguments);
        command.env("NOTES", notes).env("CONVEYOR_REMOTE__ACK_WAIT_MS", "1000");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out, _folder: folder }
    }

    /// The process, as its results tell it.
    pub fn process(&self) -> u64 {
        u64::from(self.child.id())
    }

    pub fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits until it has ended, and gives its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Language {
    pub const ALL: [Self; 5] = [Self::Rust, Self::Python, Self::PythonAsync, Self::JavaScript, Self::Go];

    fn command(self) -> (Command, Option<TempDir>) {
        let drivers = root().join("tests/remote_drivers");
        match self {
            Self::Rust => {
                let program =
                    Path::new(env!("CARGO_BIN_EXE_conveyor")).with_file_name("examples").join("remote-driver");
                assert!(program.exists(), "{} is missing: `cargo build --examples` makes it", program.display());
                (Command::new(program), None)
            }
            Self::Python | Self::PythonAsync => {
                let python = std::env::var_os("CONVEYOR_PYTHON").unwrap_or_else(|| "python3".into());
                let mut command = Command::new(python);
                command.arg(drivers.join("driver.py")).env("PYTHONPATH", root().join("plugins/remote/python"));
                command.env("PYTHONDONTWRITEBYTECODE", "1");
                if self == Self::PythonAsync {
                    command.env("ASYNC", "1");
                }
                (command, None)
            }
            Self::JavaScript => {
                let folder = tempfile::tempdir().unwrap();
                copy(&root().join("plugins/remote/javascript/remote"), &folder.path().join("remote"));
                std::fs::copy(drivers.join("driver.js"), folder.path().join("driver.js")).unwrap();
                std::fs::write(folder.path().join("package.json"), r#"{ "type": "module" }"#).unwrap();
                symlink(root().join(".cache/remote-javascript/node_modules"), folder.path().join("node_modules"))
                    .unwrap();
                let mut command = Command::new("node");
                command.arg(folder.path().join("driver.js")).env("PATH", with_tools());
                (command, Some(folder))
            }
            Self::Go => (Command::new(go_program(&drivers)), None),
        }
    }
}

/// The driver in Go is built once for all tests.
fn go_program(drivers: &Path) -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let library = root().join("plugins/remote/go");
        let folder = tempfile::tempdir().unwrap();
        copy(&library.join("remote"), &folder.path().join("remote"));
        for file in ["go.mod", "go.sum"] {
            std::fs::copy(library.join(file), folder.path().join(file)).unwrap();
        }
        std::fs::copy(drivers.join("driver.go"), folder.path().join("main.go")).unwrap();
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("remote-driver-go");
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&program).current_dir(folder.path()).env("PATH", with_tools());
        assert!(build.status().unwrap().success(), "the driver in Go cannot be built");
        program
    })
}

/// A path on which the tools of the checkout are as well.
pub fn with_tools() -> String {
    let own = std::env::var("PATH").unwrap();
    format!("{own}:{0}/venv/bin:{0}/node/bin", root().join(".cache").display())
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
