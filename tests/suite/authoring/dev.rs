//! `conveyor dev` with the real binary: what is saved is live, and what cannot be built is not.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{root, take};
use crate::support::command::offline;
use crate::support::server::PATIENCE;

/// `conveyor dev`, ended with the test.
struct Dev {
    child: Child,
    lines: Receiver<String>,
}

impl Dev {
    fn start(folder: &Path, temporary: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conveyor"));
        command.arg("dev").arg(folder).args(["--temporary", "--listen", "127.0.0.1:0"]).env("TMPDIR", temporary);
        let tools = ["venv/bin", "node/bin"].map(|tools| root().join(".cache").join(tools).display().to_string());
        command.env("PATH", format!("{}:{}", std::env::var("PATH").unwrap(), tools.join(":")));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// Reads on until a line has this in it.
    fn says(&self, wanted: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let line = self.lines.recv_timeout(until.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("it does not say {wanted:?}, but {seen:#?}"));
            if line.contains(wanted) {
                return line;
            }
            seen.push(line);
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn get(url: &str, path: &str) -> Value {
    let answer = reqwest::Client::builder().no_proxy().build().unwrap().get(format!("{url}{path}")).send();
    answer.await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_is_live_and_a_build_that_fails_leaves_the_old_driver() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("greeter");
    let new = ["driver", "new", "greeter", "--lang", "js", "--folder", folder.to_str().unwrap()];
    offline(&new, &[]).ok();
    take(&folder, "node_modules", ".cache/javascript/node_modules");
    let places = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(&folder, places.path());
    let ready = dev.says("conveyor is ready at");
    let url = ready.rsplit(' ').next().unwrap().to_owned();
    // Nothing was ever run: its first case is made a resource.
    dev.says("driver greeter is live");
    dev.says("resource app/one is made");
    dev.says("Hello, belt!");
    dev.says("█");

    let file = folder.join("reconcile.js");
    let source = std::fs::read_to_string(&file).unwrap();
    let saved = Instant::now();
    std::fs::write(&file, source.replace("Hello", "Welcome")).unwrap();
    dev.says("driver greeter is live");
    println!("a component in JavaScript was live {:.2} s after it was saved", saved.elapsed().as_secs_f64());
    let said = dev.says("Welcome, belt!");
    assert!(said.contains("greeter"), "{said}");
    dev.says("█");

    let digest = get(&url, "/drivers/greeter").await["digest"].clone();
    std::fs::write(&file, "export function reconcile( {").unwrap();
    dev.says("driver greeter: the build failed; the old one stays live");
    assert_eq!(get(&url, "/drivers/greeter").await["digest"], digest);

    // A resource that somebody applies is the last one from then on.
    let body = json!({ "name": "two", "resource": "app", "spec": { "who": "you" } });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer: Value = client.post(format!("{url}/resources")).json(&body).send().await.unwrap().json().await.unwrap();
    let until = Instant::now() + PATIENCE;
    while get(&url, &format!("/runs/{}", answer["runid"].as_str().unwrap())).await["status"] != "succeeded" {
        assert!(Instant::now() < until, "the run does not succeed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    std::fs::write(&file, source.replace("Hello", "Good day")).unwrap();
    dev.says("Good day, you!");

    assert!(Command::new("kill").args(["-INT", &dev.child.id().to_string()]).status().unwrap().success());
    assert_eq!(dev.child.wait().unwrap().code(), Some(0));
    assert_eq!(std::fs::read_dir(places.path()).unwrap().count(), 0, "its data is gone");
}

#[test]
fn what_cannot_be_worked_on_is_named() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = |name: &str, manifest: &str| {
        let folder = temporary.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("driver.toml"), manifest).unwrap();
        folder.display().to_string()
    };
    let one = folder("one", "name = 'same'\nresources = ['app']\ncomponent = 'a.wasm'\n");
    let two = folder("two", "name = 'same'\nresources = ['app']\ncomponent = 'a.wasm'\n");
    let far = folder("far", "name = 'far'\nresources = ['app']\nstart = 'python3 far.py'\n");
    let empty = tempfile::tempdir().unwrap();
    for (folders, told) in [
        (&[one.as_str(), two.as_str()][..], "another name"),
        (&[far.as_str()], "python3 far.py"),
        (&[empty.path().to_str().unwrap()], "conveyor driver new"),
        (&["/no/such/folder"], "/no/such/folder"),
    ] {
        let said = offline(&[&["dev", "--temporary", "--listen", "127.0.0.1:0"], folders].concat(), &[]);
        assert!(said.code != 0 && said.err.contains(told), "{folders:?} {} {}", said.code, said.err);
    }
}
