//! `conveyor driver exec`.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use conveyor::model::{RunStatus, StepStatus};
use serde_json::{Value, json};

use super::belt;
use crate::support::command::offline;
use crate::support::nats::NatsServer;
use crate::support::server::{PATIENCE, Server};

/// `conveyor driver exec`, ended with the test.
pub struct Exec(Child);

impl Exec {
    /// Runs a shell script for the driver `tool`.
    pub fn shell(nats: &NatsServer, more: &[&str], script: &str) -> Self {
        Self::start(&[&["--name", "tool", "--resources", "app", "--nats", &nats.url()], more].concat(), script)
    }

    /// The same, where the server tells where NATS is.
    pub fn of(server: &Server, script: &str) -> Self {
        Self::start(&["--name", "tool", "--resources", "app", "--server", &server.url], script)
    }

    fn start(arguments: &[&str], script: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conveyor"));
        command.args(["driver", "exec"]).args(arguments).args(["--", "sh", "-c", script]);
        command.env("CONVEYOR_REMOTE__ACK_WAIT_MS", "1000").env("CONVEYOR_EXEC__KILL_MS", "500").env("SECRET", "s3");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("is ready"), "{line}");
        Self(child)
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn there(path: &Path) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => assert!(Instant::now() < until, "{} does not come", path.display()),
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Waits until there is no process of this id.
async fn gone(process: &str) {
    let until = Instant::now() + PATIENCE;
    let alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.trim()));
        // A dead one whose parent was killed with it stays until the system's first process has looked at it.
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    while alive() {
        assert!(Instant::now() < until, "process {process} goes on");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_gets_the_request_and_gives_lines_and_a_result() {
    let nats = NatsServer::start();
    let server = belt(&nats, "tool").await;
    let folder = tempfile::tempdir().unwrap();
    let directory = format!("{}/{{run}}", folder.path().display());
    let script = r#"
        echo "to out"; echo "to err" >&2
        cat > request.json
        printf '{"name": "%s", "spec": "%s", "secret": "%s%s", "more": "%s"}\n' \
            "$CONVEYOR_NAME" "$CONVEYOR_SPEC_NAME" "$SECRET" "$NATS_SERVER" "$MORE"
    "#;
    let _exec = Exec::shell(&nats, &["--directory", &directory, "--env", "MORE=of it", "--env", "SECRET"], script);
    let id = server.submit("one", Some("belt")).await;
    let run = server.succeeded(&id).await;
    let result = run.steps[0].result.clone().unwrap();
    assert_eq!(result.data, json!({ "name": "one", "spec": "one", "secret": "s3", "more": "of it" }));
    assert_eq!(result.message, "sh ended with exit code 0");
    let request: Value = serde_json::from_str(&there(&folder.path().join(&id).join("request.json")).await).unwrap();
    assert_eq!((&request["run_id"], &request["attempt"]), (&json!(id), &json!(1)));
    assert_eq!(request["resource"]["spec"], json!({ "name": "one" }));
    assert_eq!(request["context"]["metadata"], json!({ "team": "belt" }));
    let lines = server.logged(&id, "driver=tool", 2).await;
    let mut lines: Vec<_> = lines.iter().map(|line| (line["level"].as_str(), line["message"].as_str())).collect();
    lines.sort_unstable();
    assert_eq!(lines, [(Some("info"), Some("to out")), (Some("warn"), Some("to err"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_decides_and_a_file_may_hold_the_result() {
    let nats = NatsServer::start();
    let server = belt(&nats, "tool").await;
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    let script = r#"
        case "$CONVEYOR_NAME" in
            file) echo '{"message": "from the file", "n": 1}' > "$CONVEYOR_RESULT_FILE"; echo '{"n": 2}';;
            list) echo '[1]' > "$CONVEYOR_RESULT_FILE";;
            bad) echo 'no such branch' >&2; exit 3;;
            long) sleep 60 & sleep 60;;
            left) sleep 61 & echo $! > left; echo '{"n": 3}';;
        esac
    "#;
    let arguments = ["--directory", directory, "--result-file", "result.json", "--time-out", "2s"];
    let _exec = Exec::shell(&nats, &arguments, script);
    let mut ended = Vec::new();
    for name in ["file", "left", "list", "bad", "long"] {
        let id = server.submit(name, Some("belt")).await;
        let run = server.finished(&id).await;
        let result = run.steps[0].result.clone().unwrap();
        ended.push((name, result.success, result.message, result.data));
    }
    let [file, left, list, bad, long] = ended.try_into().unwrap();
    assert_eq!(file, ("file", true, "from the file".into(), json!({ "message": "from the file", "n": 1 })));
    assert_eq!((left.1, left.3), (true, json!({ "n": 3 })));
    gone(&there(&folder.path().join("left")).await).await;
    assert!(!list.1 && list.2.ends_with("result.json: it is no JSON object"), "{}", list.2);
    assert_eq!(bad, ("bad", false, "sh ended with exit code 3: no such branch".into(), json!({ "exit_code": 3 })));
    assert!(!long.1 && long.2.contains("ran longer than 2s"), "{}", long.2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_killed_leaves_no_processes_behind() {
    let nats = NatsServer::start();
    let server = belt(&nats, "tool").await;
    let folder = tempfile::tempdir().unwrap();
    let script = "sleep 62 & echo $! > child; echo $$ > own; trap '' TERM; sleep 63";
    let exec = Exec::shell(&nats, &["--directory", folder.path().to_str().unwrap()], script);
    server.submit("one", Some("belt")).await;
    let processes = [there(&folder.path().join("child")).await, there(&folder.path().join("own")).await];
    exec.signal("-9");
    for process in processes {
        gone(&process).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_attempt_ends_with_all_its_processes() {
    let nats = NatsServer::start();
    let server = belt(&nats, "tool").await;
    let folder = tempfile::tempdir().unwrap();
    // The grandchild does not listen when it is asked to end.
    let script = r#"sh -c 'trap "" TERM; echo $$ > child; while :; do sleep 1; done' & echo $$ > self; wait; wait"#;
    let _exec = Exec::shell(&nats, &["--directory", folder.path().to_str().unwrap()], script);
    let id = server.submit("one", Some("belt")).await;
    let processes = [there(&folder.path().join("self")).await, there(&folder.path().join("child")).await];
    server.post(&format!("/runs/{id}/cancel"), &Value::Null).await;
    for process in processes {
        gone(&process).await;
    }
    assert_eq!(server.finished(&id).await.head.status, RunStatus::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_share_work_and_take_over_from_one_that_was_killed() {
    let nats = NatsServer::start();
    let server = belt(&nats, "tool").await;
    let folder = tempfile::tempdir().unwrap();
    let directory = ["--directory", folder.path().to_str().unwrap()];
    let killed = Exec::shell(&nats, &directory, "echo begun > begun; sleep 60");
    let id = server.submit("one", Some("belt")).await;
    there(&folder.path().join("begun")).await;
    killed.signal("-KILL");
    let mut second = Exec::shell(&nats, &directory, "sleep 0.5; echo '{\"by\": \"the second\"}'");
    let run = server.succeeded(&id).await;
    assert_eq!((run.steps[0].attempt, &run.steps[0].result.as_ref().unwrap().data["by"]), (1, &json!("the second")));
    // Asked to stop, it ends what it has begun and takes nothing more.
    let id = server.submit("two", Some("belt")).await;
    server.run_that(&id, "is at work", |run| run.steps[0].status == StepStatus::Running).await;
    second.signal("-TERM");
    assert_eq!(second.0.wait().unwrap().code(), Some(0));
    server.succeeded(&id).await;
}

#[test]
fn what_is_wrong_with_the_command_line_is_said() {
    let run = |arguments: &[&str]| offline(&[&["driver", "exec"], arguments].concat(), &[]);
    let said = run(&["--name", "a.b", "--resources", "app", "--", "true"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("a.b") && said.err.contains("fix:"), "{}", said.err);
    let said = run(&["--name", "a", "--resources", "app", "--ca", "/no/such.pem", "--", "true"]);
    assert!(said.code == 2 && said.err.contains("/no/such.pem"), "{}", said.err);
    for wrong in [&["--name", "a", "--resources", "app"][..], &["--name", "a", "--", "true"]] {
        assert_eq!(run(wrong).code, 2);
    }
}
