//! `conveyor doctor` looks at real folders and real servers.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::{Said, offline};
#[cfg(feature = "etcd")]
use crate::support::etcd::EtcdServer;
use crate::support::guest;
use crate::support::nats::NatsServer;
use crate::support::server::{PATIENCE, Server};

/// Every check, in its order: programs may rely on these.
const NAMES: [&str; 23] = [
    "versions",
    "data-folder",
    "data-lock",
    "file-system",
    "free-space",
    "fsync",
    "sqlite-store",
    "sqlite-logs",
    "nats-reach",
    "nats-version",
    "nats-jetstream",
    "nats-streams",
    "nats-sync-interval",
    "nats-max-payload",
    "etcd-reach",
    "etcd-version",
    "etcd-health",
    "etcd-space",
    "etcd-compaction",
    "clock",
    "clock-offset",
    "open-files",
    "listen",
];

/// Asks the doctor; the one that is asked for its monitoring page is at `monitor`, 0 for none.
fn doctor(folder: &Path, arguments: &[&str], monitor: u16) -> Said {
    let (folder, monitor) = (folder.to_str().unwrap(), monitor.to_string());
    let all = [&["doctor", "-o", "json", "--data", folder], arguments].concat();
    let said = offline(&all, &[("CONVEYOR_DOCTOR__NATS_MONITOR_PORT", &monitor)]);
    let report = said.json();
    let checks = report["checks"].as_array().unwrap();
    let names: Vec<&str> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, NAMES, "always the same checks");
    for check in checks {
        let fields: Vec<&str> = check.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["advice", "found", "name", "status"]);
    }
    let worst = ["fail", "warn", "ok"].into_iter().find(|status| checks.iter().any(|check| check["status"] == *status));
    assert_eq!(report["status"].as_str(), worst);
    assert_eq!(said.code, if worst == Some("fail") { 12 } else { 0 }, "{report}");
    said
}

/// The status of a check and what was found.
fn check(said: &Said, name: &str) -> (String, String) {
    let report = said.json();
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&check["status"]), text(&check["found"]))
}

fn assert_found(said: &Said, name: &str, status: &str, part: &str) {
    let (is, found) = check(said, name);
    assert!(is == status && found.contains(part), "{name} is {is}, not {status}: {found} (looked for {part})");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_runs_is_seen_and_goes_on() {
    let server = Server::start();
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    server.pipeline("belt", &[("only", "good")]).await;
    server.succeeded(&server.submit("before", Some("belt")).await).await;
    let address = server.url.trim_start_matches("http://");
    let said = doctor(server.folder(), &["--listen", address], 0);
    assert_eq!(said.code, 0);
    assert_found(&said, "data-folder", "ok", "0700");
    assert_found(&said, "data-lock", "ok", "a Conveyor is running on it");
    assert_found(&said, "listen", "ok", "a Conveyor answers");
    assert_found(&said, "sqlite-store", "ok", "whole");
    assert_found(&said, "sqlite-logs", "ok", "whole");
    assert_found(&said, "nats-reach", "skipped", "in process");
    assert_found(&said, "etcd-reach", "skipped", "");
    assert_found(&said, "clock", "ok", "");
    for part in [env!("CARGO_PKG_VERSION"), "SQLite 3.", "wasmtime ", "conveyor:driver 0.2.0, 0.1.0"] {
        assert_found(&said, "versions", "ok", part);
    }
    assert!(check(&said, "fsync").1.contains("of 32"), "{}", said.out);
    server.succeeded(&server.submit("after", Some("belt")).await).await;
    let left: Vec<_> = fs::read_dir(server.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("doctor")), "{left:?}");
}

#[test]
fn looking_makes_nothing_and_people_get_a_table() {
    let above = TempDir::new().unwrap();
    let folder = above.path().join("deep/belt");
    let said = doctor(&folder, &["--listen", "127.0.0.1:0"], 0);
    assert_eq!(said.code, 0);
    assert_found(&said, "data-folder", "ok", "`conveyor up` makes it");
    assert_found(&said, "sqlite-store", "ok", "not there yet");
    assert_eq!(fs::read_dir(above.path()).unwrap().count(), 0, "nothing is made");
    let table = offline(&["doctor", "--data", folder.to_str().unwrap(), "--listen", "127.0.0.1:0"], &[]).ok();
    for name in NAMES {
        assert!(table.out.lines().any(|line| line.starts_with(name)), "{name} is not in\n{}", table.out);
    }
}

#[test]
fn what_is_broken_fails_with_its_own_code() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("conveyor.db"), [b'x'; 8_192]).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    // It takes connections and never answers.
    let address = taken.local_addr().unwrap().to_string();
    let said = doctor(folder.path(), &["--listen", &address], 0);
    assert_eq!(said.code, 12);
    assert_found(&said, "sqlite-store", "fail", "not a database");
    assert_found(&said, "listen", "fail", "another program");
    let file = folder.path().join("lock");
    fs::write(&file, "").unwrap();
    let said = doctor(&file, &["--listen", "127.0.0.1:0"], 0);
    assert_found(&said, "data-folder", "fail", "not a folder");
    let usage = offline(&["doctor"], &[("CONVEYOR_COLOUR", "red")]);
    assert_eq!(usage.code, 2, "{}", usage.err);
}

/// A nats-server that serves its monitoring page, ended with the test.
struct Monitored {
    process: Child,
    url: String,
    monitor: u16,
    _folder: TempDir,
}

impl Monitored {
    fn start(configuration: &str) -> Self {
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [port, monitor] = free.map(|free| free.local_addr().unwrap().port());
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("nats.conf");
        let store = folder.path().display();
        fs::write(&file, configuration.replace("STORE", &format!("store_dir: {store:?}"))).unwrap();
        let binary = std::env::var_os("NATS_SERVER").unwrap_or_else(|| "nats-server".into());
        let mut command = Command::new(binary);
        command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-m", &monitor.to_string(), "-c"]).arg(file);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + PATIENCE;
        while [port, monitor].iter().any(|&port| TcpStream::connect(("127.0.0.1", port)).is_err()) {
            assert!(Instant::now() < until, "nats-server did not come up");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Self { process, url: format!("nats://127.0.0.1:{port}"), monitor, _folder: folder }
    }
}

impl Drop for Monitored {
    fn drop(&mut self) {
        // It may be dead already, which is just as well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_is_looked_at_from_outside() {
    let folder = TempDir::new().unwrap();
    let nats = Monitored::start("jetstream { STORE }");
    let ask = |url: &str, monitor| doctor(folder.path(), &["--listen", "127.0.0.1:0", "--nats", url], monitor);
    let said = ask(&nats.url, nats.monitor);
    assert_eq!(said.code, 0);
    for (name, part) in [
        ("nats-reach", "127.0.0.1"),
        ("nats-version", "2."),
        ("nats-jetstream", "answers"),
        ("nats-streams", "pipeline is not there yet"),
        ("nats-sync-interval", "flushes every 120 s"),
        ("nats-max-payload", "1.0 MiB"),
        ("clock-offset", "within 500 ms of NATS"),
    ] {
        assert_found(&said, name, "ok", part);
    }
    let server = Server::with_nats(&nats.url);
    server.define("app").await;
    assert_found(&ask(&nats.url, nats.monitor), "nats-streams", "ok", "messages: 0 messages, replicas 1");
    drop(server);
    assert_found(&ask(&nats.url, 0), "nats-sync-interval", "skipped", "cannot see it");
    // The page of another server tells nothing about this one.
    let careful = Monitored::start("jetstream { STORE, sync_interval: always }");
    assert_found(&ask(&nats.url, careful.monitor), "nats-sync-interval", "skipped", "cannot see it");
    assert_found(&ask(&careful.url, careful.monitor), "nats-sync-interval", "ok", "always");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nats_lacks_fails() {
    let folder = TempDir::new().unwrap();
    let ask = |url: &str| doctor(folder.path(), &["--listen", "127.0.0.1:0", "--nats", url], 0);
    let plain = Monitored::start("max_payload: 100KB");
    let said = ask(&plain.url);
    assert_eq!(said.code, 12);
    assert_found(&said, "nats-reach", "ok", "127.0.0.1");
    assert_found(&said, "nats-jetstream", "fail", "does not answer");
    assert_found(&said, "nats-streams", "skipped", "");
    assert_found(&said, "nats-max-payload", "warn", "KiB");
    let (nats, gone) = (NatsServer::start(), NatsServer::stopped());
    let client = async_nats::connect(nats.url()).await.unwrap();
    let foreign = async_nats::jetstream::stream::Config {
        name: "logs".to_owned(),
        subjects: vec!["logs.>".to_owned()],
        ..Default::default()
    };
    async_nats::jetstream::new(client).create_stream(foreign).await.unwrap();
    let said = ask(&format!("{},{}", nats.url(), gone.url()));
    assert_found(&said, "nats-reach", "warn", "1 of 2 cannot be reached");
    assert_found(&said, "nats-streams", "fail", "logs is not usable: retention is limits");
    let said = ask(&gone.url());
    assert_found(&said, "nats-reach", "fail", "1 of 1");
    assert_found(&said, "nats-version", "skipped", "no server was reached");
}

#[cfg(feature = "etcd")]
#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_looked_at_from_outside() {
    let folder = TempDir::new().unwrap();
    let (mut etcd, nats) = (EtcdServer::start(), NatsServer::start());
    let nats = nats.url();
    let ask = |etcd: &str| doctor(folder.path(), &["--listen", "127.0.0.1:0", "--nats", &nats, "--etcd", etcd], 0);
    let said = ask(&etcd.url());
    assert_eq!(said.code, 0);
    for (name, part) in [
        ("etcd-reach", "http://127.0.0.1:"),
        ("etcd-health", "no alarm"),
        ("etcd-space", "at most 2.0 GiB"),
        ("etcd-compaction", "never compacted"),
        ("clock-offset", "etcd http://127.0.0.1:"),
    ] {
        assert_found(&said, name, "ok", part);
    }
    assert!(check(&said, "etcd-version").1.starts_with("3."), "{}", said.out);
    assert_found(&said, "sqlite-store", "skipped", "in etcd");
    etcd.compact().await;
    assert_found(&ask(&etcd.url()), "etcd-compaction", "ok", "compacted up to revision");
    // A database of its own accord grows by a page or two: it is close to this quota or beyond it.
    let small = EtcdServer::with(&["--quota-backend-bytes", "24576"]);
    let (status, found) = check(&ask(&small.url()), "etcd-space");
    let is_told = ["warn", "fail"].contains(&status.as_str()) && found.contains("at most 24.0 KiB");
    assert!(is_told, "etcd-space is {status}: {found}");
    etcd.kill();
    let said = ask(&format!("{},{}", etcd.url(), small.url()));
    assert_found(&said, "etcd-reach", "warn", "1 of 2 cannot be reached");
    let said = ask(&etcd.url());
    assert_eq!(said.code, 12);
    assert_found(&said, "etcd-reach", "fail", "1 of 1");
    assert_found(&said, "etcd-health", "skipped", "no member was reached");
    let alone = doctor(folder.path(), &["--listen", "127.0.0.1:0", "--etcd", &small.url()], 0);
    assert_found(&alone, "nats-reach", "fail", "etcd is configured without NATS");
}
