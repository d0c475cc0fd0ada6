//! What every log must do. A backend joins with a function that opens it and a line `backend!`.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use conveyor::config;
use conveyor::log::{JetStreamLogs, Logs as _, MemoryLogs, NewLine, Query, SharedLogs, SqliteLogs, StoredLine};
use conveyor::model::{LogLine, RunId};
use jiff::Timestamp;

use crate::support::nats::NatsServer;

/// An open log and what must outlive it.
struct Backend {
    logs: SharedLogs,
    _kept: Option<Box<dyn Any + Send>>,
}

async fn memory() -> Backend {
    Backend { logs: Arc::new(MemoryLogs::new()), _kept: None }
}

async fn sqlite() -> Backend {
    let folder = tempfile::tempdir().unwrap();
    Backend {
        logs: Arc::new(SqliteLogs::open(folder.path(), &config::Log::default()).unwrap()),
        _kept: Some(Box::new(folder)),
    }
}

async fn jetstream() -> Backend {
    let server = NatsServer::start();
    Backend { logs: Arc::new(on(&server).await), _kept: Some(Box::new(server)) }
}

async fn on(server: &NatsServer) -> JetStreamLogs {
    let client = async_nats::connect(server.url()).await.unwrap();
    let logs = JetStreamLogs::new(client, &config::Bus::default(), &config::Cluster::default());
    // A line can be appended once the stream is there.
    let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let made = async { while context.get_stream("run-logs").await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), made).await.unwrap();
    logs
}

macro_rules! backend {
    ($open:ident) => {
        backend! { $open: lines_come_back_as_they_arrived, a_redelivered_line_is_stored_once, all_conditions_hold,
            a_follower_misses_nothing, what_was_removed_is_gone_and_no_position_comes_again }
    };
    ($open:ident: $($case:ident),*) => {
        mod $open {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::$open().await).await;
            })*
        }
    };
}

backend!(memory);
backend!(sqlite);
backend!(jetstream);

async fn lines_come_back_as_they_arrived(backend: Backend) {
    let logs = &backend.logs;
    assert_eq!(*logs.newest().borrow(), 0);
    assert_eq!(logs.query(everything()).await.unwrap(), []);
    logs.append(Vec::new()).await.unwrap();
    let full = LogLine {
        runid: "r".into(),
        driver: "d".into(),
        pipeline: "p".into(),
        timestamp: "1700000000".into(),
        message: "grüße\u{1f980}\n\0".into(),
        level: "warn".into(),
        step: "s".into(),
    };
    let lines =
        vec![NewLine { id: "z".into(), line: full.clone() }, NewLine { id: "a".into(), line: LogLine::default() }];
    logs.append(lines).await.unwrap();
    let stored = logs.query(everything()).await.unwrap();
    assert_eq!(stored.iter().map(|stored| &stored.line).collect::<Vec<_>>(), [&full, &LogLine::default()]);
    assert!(stored[0].position > 0 && stored[1].position > stored[0].position);
    assert_eq!(*logs.newest().borrow(), stored[1].position);
}

async fn a_redelivered_line_is_stored_once(backend: Backend) {
    let logs = &backend.logs;
    logs.append(vec![line("1", "r", "d", "p"), line("2", "r", "d", "p"), line("1", "r", "d", "p")]).await.unwrap();
    let newest = *logs.newest().borrow();
    logs.append(vec![line("2", "r", "d", "p")]).await.unwrap();
    assert_eq!(*logs.newest().borrow(), newest);
    logs.append(vec![line("1", "r", "d", "p"), line("3", "r", "d", "p")]).await.unwrap();
    assert_eq!(messages(&logs.query(everything()).await.unwrap()), ["1", "2", "3"]);
}

async fn all_conditions_hold(backend: Backend) {
    let logs = &backend.logs;
    let mut id = 0;
    for run in ["r1", "r2"] {
        for driver in ["d1", "d2"] {
            for pipeline in ["p1", ""] {
                id += 1;
                logs.append(vec![line(&id.to_string(), run, driver, pipeline)]).await.unwrap();
            }
        }
    }
    let some = |text: &str| Some(text.to_owned()).filter(|text| text != "*");
    for (run, driver, pipeline, expected) in [
        ("r1", "*", "*", &["1", "2", "3", "4"][..]),
        ("*", "d2", "*", &["3", "4", "7", "8"]),
        ("*", "*", "", &["2", "4", "6", "8"]),
        ("r2", "d1", "*", &["5", "6"]),
        ("r2", "d1", "p1", &["5"]),
        ("r3", "*", "*", &[]),
    ] {
        let query = Query { run: some(run), driver: some(driver), pipeline: some(pipeline), ..everything() };
        let stored = logs.query(query.clone()).await.unwrap();
        assert_eq!(messages(&stored), expected, "{query:?}");
        // The rest of a listing, and its beginning.
        if let Some(first) = stored.first() {
            let rest = logs.query(Query { after: first.position, ..query.clone() }).await.unwrap();
            assert_eq!(messages(&rest), expected[1..], "{query:?}");
            let first = logs.query(Query { limit: 1, ..query }).await.unwrap();
            assert_eq!(messages(&first), expected[..1]);
        }
    }
    assert_eq!(logs.query(Query { limit: 0, ..everything() }).await.unwrap(), []);
}

/// Who waits for the newest position and queries behind the last one sees every line once.
async fn a_follower_misses_nothing(backend: Backend) {
    const WRITERS: usize = 4;
    const EACH: usize = 100;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let logs = backend.logs.clone();
            tokio::spawn(async move {
                for turn in 0..EACH {
                    logs.append(vec![line(&format!("{writer}/{turn}"), "r", "d", "p")]).await.unwrap();
                }
            })
        })
        .collect();
    let mut newest = backend.logs.newest();
    let (mut after, mut seen) = (0, Vec::new());
    while seen.len() < WRITERS * EACH {
        tokio::time::timeout(Duration::from_secs(20), newest.wait_for(|newest| *newest > after))
            .await
            .unwrap()
            .unwrap();
        let stored = backend.logs.query(Query { after, limit: 10, ..everything() }).await.unwrap();
        after = stored.last().unwrap().position;
        seen.extend(messages(&stored).into_iter().map(str::to_owned));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for writer in 0..WRITERS {
        let of_one: Vec<_> = seen.iter().filter(|id| id.starts_with(&format!("{writer}/"))).collect();
        assert_eq!(
            of_one,
            (0..EACH).map(|turn| format!("{writer}/{turn}")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
        );
    }
}

async fn what_was_removed_is_gone_and_no_position_comes_again(backend: Backend) {
    let logs = &backend.logs;
    let runs = [RunId::new(Timestamp::now()), RunId::new(Timestamp::now()), RunId::new(Timestamp::now())];
    let [first, second, third] = runs.map(|run| run.to_string());
    // Some more than go in one part.
    let many: Vec<_> = (0..2_500).map(|number| line(&format!("first {number}"), &first, "d", "p")).collect();
    logs.append(many).await.unwrap();
    logs.append(vec![line("second", &second, "d", "p"), line("third", &third, "d", "p")]).await.unwrap();
    let newest = *logs.newest().borrow();
    logs.remove(&[]).await.unwrap();
    logs.remove(&[runs[0], runs[2], RunId::new(Timestamp::now())]).await.unwrap();
    assert_eq!(messages(&logs.query(everything()).await.unwrap()), ["second"]);
    let of_first = Query { run: Some(first.clone()), ..everything() };
    assert_eq!(logs.query(of_first.clone()).await.unwrap(), []);
    assert_eq!(*logs.newest().borrow(), newest);
    logs.append(vec![line("late", &first, "d", "p")]).await.unwrap();
    let late = logs.query(of_first).await.unwrap();
    assert_eq!(messages(&late), ["late"]);
    assert!(late[0].position > newest);
}

#[tokio::test]
async fn a_log_opened_again_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let open = || SqliteLogs::open(folder.path(), &config::Log::default()).unwrap();
    let logs = open();
    logs.append(vec![line("1", "r", "d", "p"), line("2", "r", "d", "p")]).await.unwrap();
    let newest = *logs.newest().borrow();
    drop(logs);
    let logs = open();
    assert_eq!(*logs.newest().borrow(), newest);
    logs.append(vec![line("2", "r", "d", "p"), line("3", "r", "d", "p")]).await.unwrap();
    assert_eq!(messages(&logs.query(everything()).await.unwrap()), ["1", "2", "3"]);
    // Nor does it forget how far it was when the newest lines are removed.
    let run = RunId::new(Timestamp::now());
    logs.append(vec![line("4", &run.to_string(), "d", "p")]).await.unwrap();
    let newest = *logs.newest().borrow();
    logs.remove(&[run]).await.unwrap();
    drop(logs);
    assert_eq!(*open().newest().borrow(), newest);
}

/// What one node appends, the others hear of and can read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_follow_each_other() {
    let mut server = NatsServer::start();
    let (one, other) = (on(&server).await, on(&server).await);
    let mut newest = other.newest();
    for turn in 0..3_u64 {
        one.append(vec![line(&turn.to_string(), "r", "d", "p"), line(&format!("x{turn}"), "s", "d", "p")])
            .await
            .unwrap();
        let wanted = (turn + 1) * 2;
        let heard = tokio::time::timeout(Duration::from_secs(20), newest.wait_for(|newest| *newest >= wanted)).await;
        heard.unwrap().unwrap();
        let of_run = Query { run: Some("r".into()), after: turn * 2, ..everything() };
        assert_eq!(messages(&other.query(of_run).await.unwrap()), [turn.to_string()]);
    }
    // A server that comes back with nothing has a stream again as soon as somebody appends.
    server.wipe_and_restart();
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while let Err(error) = one.append(vec![line("again", "r", "d", "p")]).await {
        assert!(std::time::Instant::now() < until, "{error}");
    }
    assert_eq!(messages(&other.query(everything()).await.unwrap()), ["again"]);
    let heard = tokio::time::timeout(Duration::from_secs(20), newest.wait_for(|newest| *newest == 1)).await;
    heard.unwrap().unwrap();
}

/// The message is the id.
fn line(id: &str, run: &str, driver: &str, pipeline: &str) -> NewLine {
    let line = LogLine {
        runid: run.into(),
        driver: driver.into(),
        pipeline: pipeline.into(),
        message: id.into(),
        ..LogLine::default()
    };
    NewLine { id: id.into(), line }
}

fn everything() -> Query {
    Query { limit: 1_000, ..Query::default() }
}

fn messages(stored: &[StoredLine]) -> Vec<&str> {
    stored.iter().map(|stored| stored.line.message.as_str()).collect()
}
