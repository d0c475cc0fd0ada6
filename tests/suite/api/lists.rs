//! `GET /runs` as clients see it.

use conveyor::model::RunStatus;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Refusal, get};
use crate::support::guest;
use crate::support::server::Server;

async fn names(server: &Server, query: &str) -> Vec<String> {
    let (status, page) = server.get(&format!("/runs?{query}")).await;
    assert_eq!(status, StatusCode::OK, "{query}: {page}");
    let name = |run: &Value| run["resource"]["name"].as_str().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(name).collect()
}

/// A resource on its way, and its run when that has ended.
async fn submit(server: &Server, name: &str, kind: &str, pipeline: &str, labels: Value) -> String {
    let body = json!({ "name": name, "resource": kind, "pipeline": pipeline, "labels": labels, "spec": {} });
    let (status, answer) = server.post("/resources", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let id = answer["runid"].as_str().unwrap().to_owned();
    server.finished(&id).await;
    id
}

#[tokio::test]
async fn runs_are_found_by_status_pipeline_resource_time_label_and_text() {
    let server = Server::start();
    server.define("app").await;
    server.define("lib").await;
    server.upload("good", guest::ok()).await;
    server.upload("bad", guest::fail()).await;
    server.pipeline("ship", &[("only", "good")]).await;
    server.pipeline("wreck", &[("only", "bad")]).await;
    let first = submit(&server, "shop", "app", "ship", json!({ "team": "belt", "env": "prod" })).await;
    submit(&server, "shop", "lib", "", json!({ "team": "belt" })).await;
    let middle = server.run(&submit(&server, "wharf", "app", "wreck", Value::Null).await).await;
    submit(&server, "dock", "app", "ship", json!({ "team": "crane", "env": "prod" })).await;
    let at = middle.head.created_at;
    for (query, expected) in [
        (String::new(), vec!["dock", "wharf", "shop", "shop"]),
        ("status=failed".to_owned(), vec!["wharf"]),
        ("status=running".to_owned(), vec![]),
        ("status=succeeded&pipeline=ship".to_owned(), vec!["dock", "shop"]),
        ("resource=shop".to_owned(), vec!["shop", "shop"]),
        ("resource=app/shop".to_owned(), vec!["shop"]),
        ("label=team%3Dbelt".to_owned(), vec!["shop", "shop"]),
        ("label=team=belt&label=env=prod".to_owned(), vec!["shop"]),
        ("label=env=prod&label=team=none".to_owned(), vec![]),
        ("text=WRECK".to_owned(), vec!["wharf"]),
        ("text=team%3Dcra".to_owned(), vec!["dock"]),
        (format!("text={}", &first[9..]), vec!["shop"]),
        (format!("since={at}"), vec!["dock", "wharf"]),
        (format!("until={at}"), vec!["shop", "shop"]),
        ("since=1h&until=0s".to_owned(), vec!["dock", "wharf", "shop", "shop"]),
        ("until=1h".to_owned(), vec![]),
    ] {
        assert_eq!(names(&server, &query).await, expected, "{query}");
    }
    assert_eq!(middle.head.status, RunStatus::Failed);
    assert_eq!(server.run(&first).await.head.labels, [("env", "prod"), ("team", "belt")].map(owned).into());
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[tokio::test]
async fn labels_are_kept_changed_by_updates_and_checked() {
    let server = Server::start();
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    server.pipeline("belt", &[("only", "good")]).await;
    let body =
        |labels: Value| json!({ "name": "one", "resource": "app", "pipeline": "belt", "labels": labels, "spec": {} });
    let (status, answer) = server.post("/resources", &body(json!({ "env": "test" }))).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(server.get("/resources/app/one").await.1["labels"], json!({ "env": "test" }));
    let (_, updated) = server.put("/resources/app/one", &body(json!({ "env": "prod", "x.y_z-1": "A" }))).await;
    assert_eq!(updated["labels"], json!({ "env": "prod", "x.y_z-1": "A" }));
    let run = server.succeeded(updated["runid"].as_str().unwrap()).await;
    assert_eq!(run.head.labels.len(), 2);
    let (_, again) = server.post(&format!("/runs/{}/rerun?from=start", run.head.id), &Value::Null).await;
    assert_eq!(server.succeeded(again["runid"].as_str().unwrap()).await.head.labels, run.head.labels);
    let (_, updated) = server.put("/resources/app/one", &body(Value::Null)).await;
    assert_eq!(updated.get("labels"), None, "a resource without labels looks as ever");
    assert_eq!(names(&server, "label=env=prod").await.len(), 2);
    let many: serde_json::Map<String, Value> = (0..17).map(|n| (format!("k{n}"), json!("v"))).collect();
    for (labels, word) in [
        (json!({ "a b": "v" }), "\"a b\""),
        (json!({ "team": "" }), "labels.team"),
        (json!({ "team": "x".repeat(64) }), "labels.team"),
        (json!({ "a/b": "v" }), "labels"),
        (Value::Object(many), "16 is the most"),
        (json!({ "team": 1 }), "Invalid request payload"),
    ] {
        let (status, answer) = server.put("/resources/app/one", &body(labels)).await;
        assert_eq!((status.as_u16(), answer["code"].as_str()), (400, Some("invalid")), "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(word), "{answer}");
    }
}

#[tokio::test]
async fn slips_in_a_query_are_named() {
    let server = Server::start();
    let known = "pipeline, status, resource, since, until, label, text, limit, cursor are known";
    let asked = |path, word| get(path, 400, "invalid", word);
    for Refusal(method, path, _, status, code, word) in [
        asked("/runs?colour=red", known),
        asked("/runs?colour=red", "\"colour\""),
        asked("/runs?status=asleep", "status: \"asleep\" is none: pending, running"),
        asked("/runs?status=failed&status=failed", "status: it is given more than once"),
        asked("/runs?since=yesterday", "since: \"yesterday\" is no time"),
        asked("/runs?until=2026-01-01T00:00:00+02:00", "%2B"),
        asked("/runs?label=team", "label: \"team\" has no \"=\""),
        asked("/runs?label=a/b=c", "the key \"a/b\" is refused"),
        asked("/runs?pipeline=A", "pipeline \"A\""),
        asked("/runs?resource=app/a/b", "resource \"a/b\""),
        asked("/runs?limit=many", "limit: \"many\""),
        asked("/runs?cursor=there", "cursor: \"there\""),
        asked("/pipelines?colour=red", "colour"),
        asked("/runs/none/rerun", "none"),
    ] {
        let method = if path.ends_with("rerun") { Method::POST } else { method };
        let (got, answer) = server.send(reqwest::Client::new().request(method, server.at(path))).await;
        assert_eq!((got.as_u16(), answer["code"].as_str()), (status, Some(code)), "{path}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(word), "{path}: {answer}");
    }
}

#[tokio::test]
async fn the_description_names_filters_keys_and_labels() {
    let server = Server::start();
    let (_, document) = server.get("/openapi.json").await;
    let parameters = |path: &str, method: &str| -> Vec<(String, String)> {
        let listed = document["paths"][path][method]["parameters"].as_array().cloned().unwrap_or_default();
        let text = |parameter: &Value, field: &str| parameter[field].as_str().unwrap().to_owned();
        listed.iter().map(|parameter| (text(parameter, "in"), text(parameter, "name"))).collect()
    };
    for name in ["pipeline", "status", "resource", "since", "until", "label", "text", "limit", "cursor"] {
        assert!(parameters("/runs", "get").contains(&("query".into(), name.into())), "{name}");
    }
    for (path, method) in [
        ("/resources", "post"),
        ("/resources/{type}/{name}", "put"),
        ("/resources/{type}/{name}", "delete"),
        ("/runs/{id}/rerun", "post"),
    ] {
        let key = ("header".to_owned(), "Idempotency-Key".to_owned());
        assert!(parameters(path, method).contains(&key), "{method} {path}");
        assert!(document["paths"][path][method]["responses"].get("4XX").is_some(), "{method} {path}");
    }
    for act in ["cancel", "pause", "resume", "rerun"] {
        assert!(document["paths"][format!("/runs/{{id}}/{act}")]["post"].is_object(), "{act}");
    }
    for schema in ["Resource", "RunHead"] {
        let labels = &document["components"]["schemas"][schema]["properties"]["labels"];
        assert_eq!(labels["additionalProperties"]["type"], "string", "{schema}: {labels}");
    }
    let status = document["paths"]["/runs"]["get"]["parameters"].as_array().unwrap().iter();
    let status = status.clone().find(|parameter| parameter["name"] == "status").unwrap();
    assert!(status.to_string().contains("cancelled"), "{status}");
}
