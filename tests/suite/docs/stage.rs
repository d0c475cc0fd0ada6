//! Where a page is run: a folder, the tools of the checkout, and the servers that the page starts.

use std::fs::File;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::page::Block;
use super::root;
#[cfg(feature = "etcd")]
use crate::support::etcd::EtcdServer;
use crate::support::nats::NatsServer;

/// How long a command may take, or what a page promises, on a loaded machine: the first build of a driver is long.
const PATIENCE: Duration = Duration::from_mins(5);
/// What npm would fetch is here already. Which of it a project needs, its package.json says.
const NPM: &str = r#"#!/bin/sh
case $(cat package.json) in
  *'"typescript"'*) modules=typescript ;;
  *transport-node*) modules=remote-javascript ;;
  *) modules=javascript ;;
esac
[ "$*" = install ] && ln -sfn "$CHECKOUT/.cache/$modules/node_modules" node_modules
"#;
/// Where rustup cannot add the target, the checkout has a compiler that knows it, and the build alone is done with that.
const RUSTUP: &str = "#!/bin/sh\n[ \"$*\" = 'target add wasm32-wasip2' ]\n";
/// Each block begins where the one before ended. Which server there is, the page does not say.
const BEGIN: &str = r#"set -euo pipefail
if [ -e "$STAGE/variables" ]; then . "$STAGE/variables"; fi
cd "$(cat "$STAGE/place")"
trap 'export -p | grep -v " CONVEYOR_SERVER=" >"$STAGE/variables"; pwd >"$STAGE/place"' EXIT
"#;

/// What a page runs on; all ends with it.
pub struct Stage {
    page: String,
    folder: tempfile::TempDir,
    /// The commands that go on.
    staying: Vec<Child>,
    server: Option<String>,
    nats: Option<NatsServer>,
    #[cfg(feature = "etcd")]
    etcd: Option<EtcdServer>,
    /// Of the block that was run last.
    output: PathBuf,
    /// It goes on, and so may say more.
    goes_on: bool,
    number: usize,
}

impl Stage {
    pub fn new(page: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for part in ["work", "tools"] {
            std::fs::create_dir(path.join(part)).unwrap();
        }
        for (name, script) in [("npm", NPM), ("rustup", RUSTUP)] {
            let file = path.join("tools").join(name);
            std::fs::write(&file, script).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::write(path.join("place"), path.join("work").to_str().unwrap()).unwrap();
        Self {
            page: page.to_owned(),
            output: path.join("nothing"),
            goes_on: false,
            folder,
            staying: Vec::new(),
            server: None,
            nats: None,
            #[cfg(feature = "etcd")]
            etcd: None,
            number: 0,
        }
    }

    /// Where the page has come to.
    pub fn place(&self) -> PathBuf {
        PathBuf::from(std::fs::read_to_string(self.folder.path().join("place")).unwrap().trim())
    }

    /// A text of the page with the addresses of what runs here.
    pub fn with_addresses(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some(server) = &self.server {
            text = text.replace("http://127.0.0.1:8080", server);
        }
        if text.contains("nats://127.0.0.1:4222") {
            text = text.replace("nats://127.0.0.1:4222", &self.nats.get_or_insert_with(NatsServer::start).url());
        }
        #[cfg(feature = "etcd")]
        if text.contains("http://127.0.0.1:2379") {
            text = text.replace("http://127.0.0.1:2379", &self.etcd.get_or_insert_with(EtcdServer::start).url());
        }
        text
    }

    /// Runs a block of commands, which must succeed.
    pub fn run(&mut self, block: &Block) {
        let until = Instant::now() + PATIENCE;
        while !self.succeeds(block) {
            let said = self.said();
            assert!(block.says("patient") && Instant::now() < until, "{}:{}: {said}", self.page, block.line);
            std::thread::sleep(Duration::from_millis(100));
        }
        self.provide();
    }

    fn succeeds(&mut self, block: &Block) -> bool {
        let mut command = self.bash(&format!("{BEGIN}{}", block.text));
        self.goes_on = false;
        let mut child = command.spawn().unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.success();
            }
            if Instant::now() > until {
                signal(&child, "KILL");
                panic!("{}:{} does not end: {}", self.page, block.line, self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts a command that goes on, and waits until it says that it is ready.
    pub fn start(&mut self, block: &Block) {
        let text = block.text.trim_end();
        assert_eq!(text.lines().count(), 1, "{}:{}: one command for each terminal", self.page, block.line);
        // In place of the shell, so that a signal is for the command, and its end is the end.
        let mut command = self.bash(&format!("{BEGIN}trap - EXIT\nexec {text}"));
        let mut child = command.spawn().unwrap();
        let until = Instant::now() + PATIENCE;
        let ready = loop {
            if let Some(line) = self.said().lines().find(|line| line.contains(" is ready")) {
                break line.to_owned();
            }
            let ended = child.try_wait().unwrap();
            let late = ended.is_some() || Instant::now() > until;
            assert!(!late, "{}:{} is not ready, {ended:?}: {}", self.page, block.line, self.said());
            std::thread::sleep(Duration::from_millis(20));
        };
        if let Some(address) = ready.strip_prefix("conveyor is ready at ") {
            self.server = Some(address.to_owned());
        }
        self.staying.push(child);
        self.goes_on = true;
    }

    /// Ends what goes on, as Ctrl-C in each terminal would, the newest first.
    pub fn stop(&mut self) {
        for mut child in self.staying.drain(..).rev() {
            signal(&child, "INT");
            let until = Instant::now() + PATIENCE;
            while child.try_wait().unwrap().is_none() {
                assert!(Instant::now() < until, "{}: what stays does not stop", self.page);
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.server = None;
    }

    /// Waits until the block that was run last has said all of these lines.
    pub fn expect(&mut self, block: &Block) {
        let wanted = self.with_addresses(&block.text);
        let until = Instant::now() + if self.goes_on { PATIENCE } else { Duration::ZERO };
        for line in wanted.lines() {
            while !super::page::found(line, &self.said()) {
                let said = self.said();
                assert!(Instant::now() < until, "{}:{}: {line:?} was not said: {said}", self.page, block.line);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// What a new driver needs of what is here already, so that nothing is fetched and built again.
    fn provide(&self) {
        let place = self.place();
        if place.join("Cargo.toml").exists() && !place.join("Cargo.lock").exists() {
            std::fs::copy(root().join("plugins/Cargo.lock"), place.join("Cargo.lock")).unwrap();
            let name = place.file_name().unwrap().to_str().unwrap();
            let built = root().join("plugins/target").join(format!("docs-{name}"));
            std::fs::create_dir_all(&built).unwrap();
            symlink(built, place.join("target")).unwrap();
        }
    }

    /// A shell for a script, with the tools of the checkout on its path and what it says in a file.
    fn bash(&mut self, script: &str) -> Command {
        let script = self.with_addresses(script);
        let stage = self.folder.path();
        self.number += 1;
        self.output = stage.join(format!("output-{}", self.number));
        let output = File::create(&self.output).unwrap();
        let cache = root().join(".cache");
        let binary = Path::new(env!("CARGO_BIN_EXE_conveyor"));
        let tools =
            [stage.join("tools"), binary.parent().unwrap().into(), cache.join("venv/bin"), cache.join("node/bin")];
        let tools: Vec<String> = tools.iter().map(|folder| folder.display().to_string()).collect();
        let mut command = Command::new("bash");
        command.args(["-c", &script]).process_group(0).stdin(Stdio::null());
        command.stderr(output.try_clone().unwrap()).stdout(output);
        command.env("PATH", format!("{}:{}", tools.join(":"), std::env::var("PATH").unwrap()));
        command.env("STAGE", stage).env("CHECKOUT", root()).env("CONVEYOR_LOG", "warn");
        command.env("CONVEYOR_LISTEN", "127.0.0.1:0").env("TMPDIR", stage);
        // A machine that does much else meanwhile takes longer to compile a component of Python.
        command.env("CONVEYOR_COMPONENT__COMPILE_WALL_MS", "600000").env("CONVEYOR_API__UPLOAD_MS", "600000");
        command.env("CARGO_NET_OFFLINE", "true").env("ZIG_GLOBAL_CACHE_DIR", cache.join("zig"));
        // pip succeeds with what is there, and fetches nothing.
        command.env("PIP_NO_INDEX", "1").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
        if let Some(server) = &self.server {
            command.env("CONVEYOR_SERVER", server);
        }
        let stand_in = cache.join("rust-wasi/bin/rustc");
        if script.contains("conveyor driver build") && stand_in.exists() {
            command.env("RUSTC", stand_in);
        }
        command
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in &mut self.staying {
            signal(child, "KILL");
            // It may be dead already, which is just as well.
            let _ = child.wait();
        }
    }
}

/// To the command and what it started.
fn signal(child: &Child, name: &str) {
    let group = format!("-{}", child.id());
    let _ = Command::new("kill").args([&format!("-{name}"), "--", &group]).status();
}
