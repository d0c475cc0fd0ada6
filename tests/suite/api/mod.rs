//! The HTTP API as clients see it: bodies, codes, bounds.

mod browser;
mod idempotency;
mod lists;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::guest;
use crate::support::server::Server;

/// A request that must be refused, with which status and code, and a word that the text must have.
struct Refusal(Method, &'static str, Value, u16, &'static str, &'static str);

fn post(path: &'static str, body: Value, status: u16, code: &'static str, word: &'static str) -> Refusal {
    Refusal(Method::POST, path, body, status, code, word)
}

fn get(path: &'static str, status: u16, code: &'static str, word: &'static str) -> Refusal {
    Refusal(Method::GET, path, Value::Null, status, code, word)
}

/// The resource that is there, with other fields.
fn resource(fields: &Value) -> Value {
    let mut body = json!({ "name": "one", "resource": "app", "spec": { "steps": 1 } });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn bad_resources() -> Vec<Refusal> {
    let bad = |fields: Value, status, code, word| post("/resources", resource(&fields), status, code, word);
    vec![
        post("/resources", json!("{"), 400, "invalid", "Invalid request payload"),
        bad(json!({ "resource": "" }), 400, "invalid", "Resource type is required"),
        bad(json!({ "name": "a.b" }), 400, "invalid", "'.' at position 2"),
        bad(json!({ "resource": "none" }), 404, "definition_not_found", "none"),
        bad(json!({ "spec": {} }), 400, "spec_invalid", "steps"),
        bad(json!({ "pipeline": "none", "name": "two" }), 404, "pipeline_not_found", "none"),
        bad(json!({ "pipeline": "belt", "resource": "other" }), 400, "pipeline_mismatch", "other"),
        bad(json!({}), 409, "resource_exists", "one"),
        Refusal(Method::PUT, "/resources/app/none", resource(&json!({})), 404, "resource_not_found", "none"),
        Refusal(Method::PUT, "/resources/app/one", resource(&json!({ "name": "two" })), 400, "invalid", "two"),
    ]
}

fn bad_definitions_and_pipelines() -> Vec<Refusal> {
    let definition = |body, status, code, word| post("/resource-definitions", body, status, code, word);
    let pipeline = |resource: &str, steps: Value, status, code, word| {
        post("/pipelines", json!({ "name": "p", "resource": resource, "steps": steps }), status, code, word)
    };
    vec![
        definition(json!({ "name": "app", "schema": {} }), 409, "definition_exists", "app"),
        definition(json!({ "name": "x" }), 400, "invalid", "schema"),
        definition(json!({ "name": "x", "schema": { "type": 7 } }), 400, "invalid", "schema"),
        definition(json!({ "name": "x", "schema": { "$ref": "file:///etc/passwd" } }), 400, "invalid", "schema"),
        Refusal(Method::DELETE, "/resource-definitions/app", Value::Null, 409, "definition_in_use", "one"),
        pipeline("app", json!([{ "driver": "engine" }]), 400, "invalid", "reserved"),
        pipeline("app", json!([{ "driver": "A" }]), 400, "invalid", "steps[0].driver"),
        pipeline("app", json!([]), 400, "invalid", "steps"),
        pipeline("no", json!([{ "driver": "a" }]), 404, "definition_not_found", "no"),
    ]
}

fn bad_paths_and_drivers() -> Vec<Refusal> {
    let driver = |path, status, code, word| Refusal(Method::PUT, path, json!("hello"), status, code, word);
    vec![
        get("/resources", 400, "invalid", "Resource type is required"),
        get("/resources/app/none", 404, "resource_not_found", "none"),
        get("/resources/app/one/9", 404, "resource_not_found", "version 9"),
        get("/pipelines/none", 404, "pipeline_not_found", "none"),
        get("/drivers/none", 404, "driver_not_found", "none"),
        get("/runs/none", 400, "invalid", "none"),
        get("/runs/0199f3ab-0000-7000-8000-000000000000", 404, "run_not_found", "0199f3ab"),
        get("/runs?status=asleep", 400, "invalid", "asleep"),
        get("/runs?colour=red", 400, "invalid", "colour"),
        get("/nowhere", 404, "route_not_found", "/nowhere"),
        Refusal(Method::PATCH, "/pipelines", Value::Null, 405, "method_not_allowed", "PATCH"),
        driver("/drivers/x?resources=app", 422, "component_refused", ""),
        driver("/drivers/x", 400, "invalid", "resources"),
        driver("/drivers/engine?resources=app", 400, "invalid", "reserved"),
    ]
}

#[tokio::test]
async fn bad_requests_get_the_right_code_and_a_text_that_names_the_thing() {
    let server = Server::start();
    let schema = json!({ "type": "object", "required": ["steps"], "properties": { "steps": { "type": "integer" } } });
    let (status, definition) = server.post("/resource-definitions", &json!({ "name": "app", "schema": schema })).await;
    assert_eq!(status, StatusCode::CREATED);
    assert!(!definition["id"].as_str().unwrap().is_empty());
    server.define("other").await;
    server.pipeline("belt", &[("only", "someone")]).await;
    assert_eq!(server.post("/resources", &resource(&json!({}))).await.0, StatusCode::CREATED);
    let client = reqwest::Client::new();
    let cases = bad_resources().into_iter().chain(bad_definitions_and_pipelines()).chain(bad_paths_and_drivers());
    for Refusal(method, path, body, status, code, word) in cases {
        // A text stands for a body that is sent as it is.
        let sent = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let (got, answer) = server.send(client.request(method, server.at(path)).body(sent)).await;
        assert_eq!((got.as_u16(), answer["code"].as_str()), (status, Some(code)), "{path} {body}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(word), "{path} {body}: {answer}");
        assert!(answer.get("details").is_some(), "{answer}");
    }
}

#[tokio::test]
async fn bodies_over_their_bounds_are_refused() {
    let server =
        Server::with(&[], &[("CONVEYOR_COMPONENT__UPLOAD_BYTES", "100000"), ("CONVEYOR_API__BODY_BYTES", "10000")]);
    let long = json!({ "name": "x", "schema": {}, "description": "x".repeat(20_000) });
    let (status, answer) = server.post("/resource-definitions", &long).await;
    assert_eq!((status.as_u16(), answer["code"].as_str()), (413, Some("too_large")), "{answer}");
    let (status, answer) = server.put_bytes("/drivers/x?resources=app", vec![0; 200_000]).await;
    assert_eq!((status.as_u16(), answer["code"].as_str()), (413, Some("too_large")), "{answer}");
}

#[tokio::test]
async fn lists_come_in_parts_and_a_slash_at_the_end_is_no_matter() {
    let server = Server::start();
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    server.pipeline("belt", &[("only", "good")]).await;
    for number in 0..7 {
        let id = server.submit(&format!("r-{number}"), Some("belt")).await;
        server.succeeded(&id).await;
    }
    let (mut names, mut cursor) = (Vec::new(), String::new());
    for limit in [3, 3, 3] {
        let (status, page) = server.get(&format!("/runs/?limit={limit}&pipeline=belt{cursor}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        names.extend(page["items"].as_array().unwrap().iter().map(|run| run["resource"]["name"].clone()));
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let newest_first: Vec<Value> = (0..7).rev().map(|number| json!(format!("r-{number}"))).collect();
    assert_eq!(names, newest_first);
    let (_, filtered) = server.get("/runs?resource=app/r-3&status=succeeded").await;
    assert_eq!(filtered["items"].as_array().unwrap().len(), 1);
    let (_, none) = server.get("/runs?status=failed").await;
    assert_eq!(none["items"], json!([]));
    for (path, count) in [("/resources/app/", 7), ("/pipelines/", 1), ("/resource-definitions/", 1), ("/drivers/", 1)] {
        let (status, page) = server.get(path).await;
        assert_eq!((status, page["items"].as_array().map(Vec::len)), (StatusCode::OK, Some(count)), "{path}: {page}");
    }
    let (_, first) = server.get("/resources/app?limit=4").await;
    let (_, rest) = server.get(&format!("/resources/app?cursor={}", first["cursor"].as_str().unwrap())).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn the_routes_of_the_go_original_answer_as_they_did() {
    let server = Server::start();
    let definition = json!({ "name": "app", "schema": {}, "description": "d", "version": "v" });
    let (status, created) = server.post("/resource-definitions/", &definition).await;
    assert_eq!((status.as_u16(), created["description"].as_str()), (201, Some("d")));
    let (status, applied) = server.post("/resource-definitions/apply", &definition).await;
    assert_eq!((status.as_u16(), &applied["id"]), (201, &created["id"]));
    // Go writes what is empty as null.
    let pipeline = json!({ "name": "belt", "resource": "app", "steps": [{ "id": "", "name": "n", "driver": "d" }], "metadata": null });
    assert_eq!(server.post("/pipelines/", &pipeline).await.0.as_u16(), 201);
    assert_eq!(server.post("/pipelines/", &pipeline).await.0.as_u16(), 201);
    let resource = json!({ "id": "mine", "name": "one", "resource": "app", "metadata": null, "spec": { "a": 1 } });
    let (status, answer) = server.post("/resources/", &resource).await;
    assert_eq!(status.as_u16(), 201);
    assert_eq!(
        (answer["message"].as_str(), answer["name"].as_str(), answer["version"].as_str()),
        (Some("Resource created successfully"), Some("one"), Some("1"))
    );
    assert!(uuid::Uuid::parse_str(answer["runid"].as_str().unwrap()).is_ok());
    let (_, stored) = server.get("/resources/app/one").await;
    assert_ne!(stored["id"], "mine");
    assert_eq!(stored["metadata"], json!({ "version": "1" }));
    let (status, said) =
        server.post("/logs", &json!({ "runid": "r", "driver": "d", "message": "m", "timestamp": "1" })).await;
    assert_eq!((status.as_u16(), said.as_str()), (201, Some("Created")));
    let (_, lines) = server.get("/logs?runid=r&driver=d&pipeline=").await;
    assert_eq!(lines.as_array().unwrap().len(), 1);
    let message = json!({ "event": "create", "payload": "{}", "id": "", "run_id": "r" });
    let (status, said) = server.post("/drivers/broadcast-message", &message).await;
    assert_eq!((status.as_u16(), said), (200, json!({ "message": "message published" })));
    assert_eq!(server.get("/health").await.1["status"], "healthy");
    assert_eq!(server.delete("/resource-definitions/none").await.0.as_u16(), 404);
}

#[tokio::test]
async fn the_description_names_every_route_and_the_metrics_speak_of_runs() {
    let server = Server::start();
    let (_, document) = server.get("/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/resources",
        "/resources/{type}",
        "/resources/{type}/{name}",
        "/resources/{type}/{name}/{version}",
        "/resource-definitions",
        "/resource-definitions/apply",
        "/resource-definitions/{name}",
        "/pipelines",
        "/pipelines/{name}",
        "/drivers",
        "/drivers/{name}",
        "/drivers/broadcast-message",
        "/runs",
        "/runs/{id}",
        "/logs",
        "/logs/pipeline/{runid}",
        "/logs/streams/{driver}/{runid}",
        "/livez",
        "/readyz",
        "/metrics",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    assert_eq!(server.get("/readyz").await.0, StatusCode::OK);
    let (_, page) = server.get("/metrics").await;
    for name in [
        "conveyor_runs_accepted_total",
        "conveyor_runs_active",
        "conveyor_bus_up 1",
        "conveyor_store_up 1",
        "conveyor_engine_queue_depth",
    ] {
        assert!(page.as_str().unwrap().contains(name), "{name}");
    }
}
