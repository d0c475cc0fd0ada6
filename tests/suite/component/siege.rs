//! A real server under every attack at one time: its API answers, good runs go on, and each record names the cause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use conveyor::model::RunStatus;
use tokio::task::JoinHandle;

use crate::support::server::Server;
use crate::support::{guest, hostile};

/// Attacks of each kind.
const WAVES: usize = 3;

/// Asks the API again and again, and answers how long each answer took.
fn asking(server: &Server, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<Duration>> {
    let (url, stop) = (server.url.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let client = reqwest::Client::new();
        let mut took = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            for path in ["/runs?limit=5", "/drivers/good", "/healthz"] {
                let began = Instant::now();
                let answer = client.get(format!("{url}{path}")).send().await.unwrap();
                assert!(!answer.status().is_server_error(), "{path}: {}", answer.status());
                answer.bytes().await.unwrap();
                took.push(began.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        took
    })
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[(took.len() - 1) * 99 / 100]
}

/// Sends resources down a pipeline of one good step, one after the other, and answers how many runs succeeded.
async fn good_runs(server: &Server, prefix: &str, count: usize) -> usize {
    let mut good = 0;
    for number in 0..count {
        let run = server.submit(&format!("{prefix}-{number}"), Some("good")).await;
        good += usize::from(server.finished(&run).await.head.status == RunStatus::Succeeded);
    }
    good
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_under_every_attack_answers_and_good_runs_go_on() {
    let environment = [("CONVEYOR_COMPONENT__WALL_TIME_MS", "2000"), ("CONVEYOR_COMPONENT__TRIP_AFTER", "0")];
    let server = Server::with(&[], &environment);
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    server.pipeline("good", &[("only", "good")]).await;
    let attacks = hostile::attacks();
    for attack in &attacks {
        server.upload(attack.name, attack.component.clone()).await;
        server.pipeline(attack.name, &[("only", attack.name)]).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let calm = asking(&server, &stop);
    assert_eq!(good_runs(&server, "calm", 20).await, 20);
    stop.store(true, Ordering::Relaxed);
    let calm = p99(calm.await.unwrap());

    let stop = Arc::new(AtomicBool::new(false));
    let under = asking(&server, &stop);
    let mut runs = Vec::new();
    for wave in 0..WAVES {
        for attack in &attacks {
            let name = format!("{}-{wave}", attack.name);
            runs.push((attack, server.submit(&name, Some(attack.name)).await));
        }
    }
    assert_eq!(good_runs(&server, "siege", 20).await, 20, "good runs go on");
    for (attack, run) in &runs {
        let view = server.finished(run).await;
        let step = &view.steps[0];
        let message = step.result.as_ref().map(|result| result.message.clone()).unwrap_or_default();
        assert!(message.contains(attack.cause), "{}: {message}", attack.name);
        assert!(step.attempts[0].usage.is_some(), "{}: {:?}", attack.name, step.attempts);
    }
    stop.store(true, Ordering::Relaxed);
    let under = p99(under.await.unwrap());
    println!("p99 of the API: {calm:?} in peace, {under:?} under {} attacks", runs.len());
    // An upload that is damaged, or wants what there is not, is refused while all goes on.
    let (status, body) = server.put_bytes("/drivers/bad?resources=app", guest::ok()[..200].to_vec()).await;
    assert_eq!((status.as_u16(), body["code"].as_str()), (422, Some("component_refused")), "{body}");
}
