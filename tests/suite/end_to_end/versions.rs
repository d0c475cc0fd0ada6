//! Versions of a component: each upload is one, runs keep theirs, and people go back.

use std::collections::BTreeMap;

use conveyor::catalog::RunView;
use conveyor::model::Digest;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::command::conveyor;
use crate::support::guest;
use crate::support::server::Server;

/// A component that answers `"v1"` and so on.
fn version(number: usize) -> Vec<u8> {
    guest::answer(&format!("\"v{number}\""))
}

fn data(run: &RunView, step: usize) -> &Value {
    &run.steps[step].result.as_ref().unwrap().data
}

#[tokio::test(flavor = "multi_thread")]
async fn every_upload_is_a_version_and_people_go_back() {
    let server = Server::start();
    server.define("app").await;
    let folder = tempfile::tempdir().unwrap();
    for number in 1..=3 {
        let file = folder.path().join("d.wasm");
        std::fs::write(&file, version(number)).unwrap();
        let (file, note) = (file.to_str().unwrap(), format!("the {number}th"));
        let push = ["driver", "push", file, "--name", "d", "--resources", "app", "--who", "ann", "--note", &note];
        conveyor(&server.url, &push).ok();
    }
    server.pipeline("belt", &[("only", "d"), ("again", "d")]).await;
    let first = server.succeeded(&server.submit("first", Some("belt")).await).await;
    assert_eq!(data(&first, 0), "v3");

    let versions = conveyor(&server.url, &["driver", "versions", "d", "-o", "json"]).ok().json();
    let shown: Vec<(u64, &str, &str)> = versions
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let text = |name: &str| item[name].as_str().unwrap();
            (item["version"].as_u64().unwrap(), text("who"), text("note"))
        })
        .collect();
    assert_eq!(shown, [(3, "ann", "the 3th"), (2, "ann", "the 2th"), (1, "ann", "the 1th")]);

    let said = conveyor(&server.url, &["driver", "rollback", "d", "--who", "bob"]).ok();
    assert!(said.out.contains(&format!("driver d is at version 4, {}", Digest::of(&version(2)))), "{}", said.out);
    let second = server.succeeded(&server.submit("second", Some("belt")).await).await;
    assert_eq!(data(&second, 0), "v2");
    conveyor(&server.url, &["driver", "rollback", "d", "--to", "1", "--note", "again"]).ok();
    let (_, driver) = server.get("/drivers/d").await;
    assert_eq!((&driver["version"], &driver["digest"]), (&json!(5), &json!(Digest::of(&version(1)))));

    // A run that is done again takes the present component, or the one that is asked for.
    let third = Digest::of(&version(3)).to_string();
    let chosen = format!("d={third}");
    let rerun = ["run", "rerun", &first.head.id.to_string(), "--from", "again", "--driver", &chosen, "-o", "json"];
    let again = conveyor(&server.url, &rerun).ok().json();
    let again = server.succeeded(again["runid"].as_str().unwrap()).await;
    assert_eq!((data(&again, 0), data(&again, 1)), (&json!("v3"), &json!("v3")));
    assert_eq!(again.steps[1].digest.as_ref().unwrap().to_string(), third);
    let rerun = format!("/runs/{}/rerun", second.head.id);
    let (_, plain) = server.post(&format!("{rerun}?from=start"), &Value::Null).await;
    let plain = server.succeeded(plain["runid"].as_str().unwrap()).await;
    assert_eq!(data(&plain, 0), "v1");

    for (path, status, part) in [
        (
            "/drivers/d/rollback?to=9".to_owned(),
            StatusCode::NOT_FOUND,
            "\"d\" has no version 9; its versions are 5, 4, 3",
        ),
        ("/drivers/e/rollback".to_owned(), StatusCode::NOT_FOUND, "no driver \"e\""),
        (format!("{rerun}?drivers=d"), StatusCode::BAD_REQUEST, "\"d\" is not NAME=sha256:DIGEST"),
        (format!("{rerun}?drivers=d=sha256:00"), StatusCode::BAD_REQUEST, "drivers: d: \"sha256:00\" is not a digest"),
        (
            format!("{rerun}?from=start&drivers=e={third}"),
            StatusCode::BAD_REQUEST,
            "no step of the run has driver \"e\"",
        ),
        (
            format!("{rerun}?from=start&drivers=d={}", Digest::of(b"other")),
            StatusCode::NOT_FOUND,
            "`conveyor driver versions d`",
        ),
    ] {
        let (is, body) = server.post(&path, &Value::Null).await;
        assert!(is == status && body["error"].as_str().unwrap().contains(part), "{path}: {is} {body}");
    }
    assert_eq!(server.delete("/drivers/d").await.0, StatusCode::OK);
    assert_eq!(server.get("/drivers/d/versions").await.0, StatusCode::NOT_FOUND);
    server.upload("d", version(7)).await;
    assert_eq!(server.get("/drivers/d").await.1["version"], json!(1), "a driver that is new begins anew");
}

/// Every run answers in each of its steps what the component says that it began with, whatever is pushed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_swap_under_load_loses_and_doubles_nothing() {
    let server = Server::start();
    server.define("app").await;
    let answers: BTreeMap<Digest, Value> =
        (0..4).map(|number| (Digest::of(&version(number)), json!(format!("v{number}")))).collect();
    server.upload("d", version(0)).await;
    server.pipeline("belt", &[("one", "d"), ("two", "d"), ("three", "d")]).await;
    let pushing = async {
        for number in 1..20 {
            server.upload("d", version(number % 4)).await;
        }
    };
    let submitting = async {
        let mut runs = Vec::new();
        for number in 0..120 {
            runs.push(server.submit(&format!("r-{number}"), Some("belt")).await);
        }
        runs
    };
    let ((), runs) = tokio::join!(pushing, submitting);
    let mut seen = BTreeMap::<String, usize>::new();
    for id in runs {
        let run = server.succeeded(&id).await;
        let digest = run.steps[0].digest.clone().unwrap();
        for step in &run.steps {
            assert_eq!(step.digest.as_ref(), Some(&digest), "{run:#?}");
            assert_eq!(step.result.as_ref().unwrap().data, answers[&digest], "{run:#?}");
            assert_eq!((step.attempt, step.attempts.len()), (1, 1), "{run:#?}");
        }
        *seen.entry(digest.to_string()).or_default() += 1;
    }
    assert!(seen.len() > 1, "all runs had the same component: {seen:?}");
    assert!(server.metric("conveyor_results_rejected_total", "").await < 1.0);
}
