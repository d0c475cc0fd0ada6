//! The same request twice under one key.

use conveyor::model::RunStatus;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::guest;
use crate::support::server::Server;

type Answer = (StatusCode, Value);

/// A request under a key.
async fn keyed(server: &Server, key: &str, method: Method, path: &str, body: &Value) -> Answer {
    let request = reqwest::Client::new().request(method, server.at(path)).header("Idempotency-Key", key);
    server.send(if body.is_null() { request } else { request.json(body) }).await
}

async fn started(server: &Server) -> usize {
    let (_, page) = server.get("/runs").await;
    page["items"].as_array().unwrap().len()
}

fn resource(name: &str, size: u32) -> Value {
    json!({ "name": name, "resource": "app", "pipeline": "belt", "spec": { "size": size } })
}

async fn workshop() -> Server {
    let server = Server::start();
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    server.pipeline("belt", &[("only", "good")]).await;
    server
}

#[tokio::test]
async fn a_change_is_made_once_for_each_key_and_its_answer_survives_a_restart() {
    let mut server = workshop().await;
    let body = resource("one", 1);
    let first = keyed(&server, "create", Method::POST, "/resources", &body).await;
    assert_eq!(first.0, StatusCode::CREATED, "{}", first.1);
    assert_eq!(keyed(&server, "create", Method::POST, "/resources", &body).await, first);
    let run = first.1["runid"].as_str().unwrap().to_owned();
    server.succeeded(&run).await;

    let place = "/resources/app/one";
    let update = keyed(&server, "update", Method::PUT, place, &resource("one", 2)).await;
    assert_eq!((update.0, update.1["metadata"]["version"].as_str()), (StatusCode::OK, Some("2")), "{}", update.1);
    let rerun_path = format!("/runs/{run}/rerun?from=start");
    let rerun = keyed(&server, "rerun", Method::POST, &rerun_path, &Value::Null).await;
    assert_eq!(rerun.0, StatusCode::CREATED, "{}", rerun.1);
    let delete = keyed(&server, "delete", Method::DELETE, place, &Value::Null).await;
    assert_eq!(delete.0, StatusCode::OK, "{}", delete.1);
    assert_eq!(started(&server).await, 4);

    let again = async |server: &Server| {
        // Also of a resource that has another version by then, and of one that is gone.
        assert_eq!(keyed(server, "create", Method::POST, "/resources", &body).await, first);
        assert_eq!(keyed(server, "update", Method::PUT, place, &resource("one", 2)).await, update);
        assert_eq!(keyed(server, "rerun", Method::POST, &rerun_path, &Value::Null).await, rerun);
        assert_eq!(keyed(server, "delete", Method::DELETE, place, &Value::Null).await, delete);
        assert_eq!(started(server).await, 4);
    };
    again(&server).await;
    server.kill();
    server.restart();
    again(&server).await;
    for (_, answer) in [&update, &rerun, &delete] {
        server.succeeded(answer["runid"].as_str().unwrap()).await;
    }
}

#[tokio::test]
async fn a_key_that_was_used_for_something_else_is_refused() {
    let server = workshop().await;
    let (_, first) = keyed(&server, "key", Method::POST, "/resources", &resource("one", 1)).await;
    let run = first["runid"].as_str().unwrap().to_owned();
    server.succeeded(&run).await;
    for (method, path, body) in [
        (Method::POST, "/resources".to_owned(), resource("one", 2)),
        (Method::POST, "/resources".to_owned(), resource("two", 1)),
        (Method::PUT, "/resources/app/one".to_owned(), resource("one", 1)),
        (Method::DELETE, "/resources/app/one".to_owned(), Value::Null),
        (Method::POST, format!("/runs/{run}/rerun?from=start"), Value::Null),
    ] {
        let (status, answer) = keyed(&server, "key", method, &path, &body).await;
        assert_eq!((status.as_u16(), answer["code"].as_str()), (409, Some("idempotency_conflict")), "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(&run), "{answer}");
    }
    let from = async |step| {
        keyed(&server, "again", Method::POST, &format!("/runs/{run}/rerun?from={step}"), &json!(null)).await
    };
    assert_eq!(from("start").await.0, StatusCode::CREATED);
    assert_eq!(from("only").await.1["code"], "idempotency_conflict");
    assert_eq!(started(&server).await, 2);
}

#[tokio::test]
async fn what_was_refused_is_not_remembered_and_keys_are_checked() {
    let server = workshop().await;
    let (status, _) =
        keyed(&server, "key", Method::POST, "/resources", &json!({ "resource": "none", "name": "x" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = keyed(&server, "key", Method::PUT, "/resources/app/one", &resource("one", 1)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, answer) = keyed(&server, "key", Method::POST, "/resources", &resource("one", 1)).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let (status, answer) = keyed(&server, "other", Method::POST, "/resources", &resource("one", 1)).await;
    assert_eq!((status.as_u16(), answer["code"].as_str()), (409, Some("resource_exists")), "{answer}");
    for key in ["", "two words", "tab\there", &"x".repeat(256)] {
        let (status, answer) = keyed(&server, key, Method::POST, "/resources", &resource("two", 1)).await;
        assert_eq!((status.as_u16(), answer["code"].as_str()), (400, Some("invalid")), "{key:?}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains("Idempotency-Key"), "{answer}");
    }
    let request = reqwest::Client::new().post(server.at("/resources")).json(&resource("two", 1));
    let (status, answer) = server.send(request.header("Idempotency-Key", "a").header("Idempotency-Key", "b")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let longest = "x".repeat(255);
    assert_eq!(keyed(&server, &longest, Method::POST, "/resources", &resource("two", 1)).await.0, StatusCode::CREATED);
}

/// Whatever is first, every request gets the one answer, and there is one run.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_race_get_the_same_answer() {
    let server = workshop().await;
    let id = server.submit("zero", Some("belt")).await;
    server.succeeded(&id).await;
    let mut runs = 1;
    for round in 0..8 {
        let name = format!("r-{round}");
        let acts = [
            (Method::POST, "/resources".to_owned(), resource(&name, 1)),
            (Method::PUT, format!("/resources/app/{name}"), resource(&name, 2)),
            (Method::POST, format!("/runs/{id}/rerun?from=start"), Value::Null),
            (Method::DELETE, format!("/resources/app/{name}"), Value::Null),
        ];
        for (number, (method, path, body)) in acts.into_iter().enumerate() {
            let key = format!("{round}/{number}");
            let racing = (0..6).map(|_| keyed(&server, &key, method.clone(), &path, &body));
            let answers = futures_util::future::join_all(racing).await;
            assert!(answers[0].0.is_success(), "{} {path}: {}", method, answers[0].1);
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{method} {path}: {answers:#?}");
            runs += 1;
        }
    }
    assert_eq!(started(&server).await, runs);
    let (_, page) = server.get("/runs?limit=1").await;
    let newest = page["items"][0]["id"].as_str().unwrap();
    assert_eq!(server.finished(newest).await.head.status, RunStatus::Succeeded);
}
