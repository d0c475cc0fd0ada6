//! A full disk: a small file system of its own, which needs the right to mount one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::guest;
use crate::support::server::Server;

/// A file system in memory, unmounted with the test.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// None where this user may not mount one: where they are root that is a failure.
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"])
            .arg(folder.path())
            .output()
            .unwrap();
        if mounted.status.success() {
            return Some(Self { folder });
        }
        let why = String::from_utf8_lossy(&mounted.stderr).into_owned();
        assert!(!rustix::process::geteuid().is_root(), "root cannot mount a tmpfs: {why}");
        println!("chaos: a full disk: NOT TESTED, because this user may not mount a file system: {why}");
        None
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.filler()).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            let block = vec![1; size];
            while file.write_all(&block).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk() {
    let Some(disk) = Disk::mount("32m") else { return };
    let folder = disk.path().join("data");
    let mut server = Server::in_folder(&folder, &[], &[]);
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    server.pipeline("belt", &[("one", "good"), ("two", "good")]).await;
    let mut ids = vec![server.submit("before", Some("belt")).await];
    server.succeeded(&ids[0]).await;
    let mut refused = 0;
    for round in 0..super::times(3) {
        disk.fill();
        refused += refuse(&server, round).await;
        assert_eq!(server.get("/livez").await.0, 200);
        assert_eq!(server.get(&format!("/runs/{}", ids[0])).await.0, 200, "reads go on");
        disk.free();
        ids.extend(take_again(&server, round).await);
    }
    for id in &ids {
        server.succeeded(id).await;
    }
    println!("chaos: a full disk: {} runs, 0 lost; {refused} requests were refused with a reason", ids.len());
    server.terminate();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "db") {
            let sound: String =
                Connection::open(&path).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(sound, "ok", "{}", path.display());
        }
    }
}

/// Creates resources until the store takes no more, and then a few times: the answers say why.
async fn refuse(server: &Server, round: usize) -> usize {
    let mut refused = 0;
    let until = Instant::now() + Duration::from_secs(60);
    for number in 0.. {
        assert!(Instant::now() < until, "the disk does not get full");
        // Large, because what the database has freed itself still takes a little.
        let spec = json!({ "text": "x".repeat(50_000) });
        let body =
            json!({ "name": format!("full-{round}-{number}"), "resource": "app", "pipeline": "belt", "spec": spec });
        let (status, answer) = server.post("/resources", &body).await;
        if status == 201 {
            continue;
        }
        assert!([503, 507].contains(&status.as_u16()), "{status} {answer}");
        let text = answer["error"].as_str().unwrap();
        assert!(text.contains("full"), "the answer does not say why: {answer}");
        refused += 1;
        if refused == 5 {
            return refused;
        }
    }
    unreachable!("it counts for ever")
}

/// Once there is room, runs are accepted again without anybody's help.
async fn take_again(server: &Server, round: usize) -> Option<String> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let body = json!({ "name": format!("after-{round}"), "resource": "app", "pipeline": "belt", "spec": {} });
        let (status, answer): (_, Value) = server.post("/resources", &body).await;
        if status == 201 {
            return answer["runid"].as_str().map(str::to_owned);
        }
        assert!(Instant::now() < until, "{status} {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
