//! A guest works with secrets that it never sees, and variables are those that were granted.

use std::path::Path;

use conveyor::config::{Config, Secret};
use serde_json::{Value, json};

use super::peers::Peer;
use super::{Field, loopback, rule};

const VALUE: &str = "s3cr3t-Value-0123456789";

fn with_secret(folder: &Path) -> impl Fn(&mut Config) {
    let file = folder.join("token");
    std::fs::write(&file, format!("{VALUE}\n")).unwrap();
    move |config| {
        loopback(config);
        let secret = Secret { file: Some(file.clone()), ..Secret::default() };
        config.capabilities.secrets.insert("api-token".into(), secret);
    }
}

fn granted(peer: &Peer) -> Value {
    let mut to = rule(peer.address);
    to["path"] = "/private".into();
    json!({ "http": [rule(peer.address)], "secrets": [{ "name": "api-token", "to": [to] }] })
}

#[tokio::test]
async fn the_value_is_put_in_at_the_border_and_the_guest_has_a_placeholder() {
    let (peer, folder) = (Peer::start().await, tempfile::tempdir().unwrap());
    let field = Field::new(with_secret(folder.path())).await;
    field.grant(granted(&peer));
    let act = json!({ "act": "http", "authority": peer.address.to_string(), "path": "/private/x",
        "headers": { "authorization": "Bearer ${API_TOKEN}" } });
    let outcome = field.acts(json!([{ "act": "env" }, act])).await;
    let told = outcome.told();
    let placeholder = told[0]["API_TOKEN"].as_str().unwrap();
    assert!(placeholder.starts_with("conveyor-secret-") && !placeholder.contains(VALUE), "{placeholder}");
    // The peer echoes what it got: it has the value, and the record of the run has not.
    let echoed = told[1]["body"].as_str().unwrap();
    assert!(echoed.contains("authorization: Bearer [secret api-token]\r\n"), "{echoed}");
    assert!(!format!("{:?}{}", outcome.result, outcome.log()).contains(VALUE));
    // The next call has another placeholder.
    let again = field.acts(json!([{ "act": "env" }])).await.only();
    assert_ne!(again["API_TOKEN"], placeholder);
}

#[tokio::test]
async fn a_secret_goes_nowhere_else() {
    let (peer, folder) = (Peer::start().await, tempfile::tempdir().unwrap());
    let field = Field::new(with_secret(folder.path())).await;
    field.grant(granted(&peer));
    let to = |path: &str, headers: Value| json!([{ "act": "http", "authority": peer.address.to_string(), "path": path, "headers": headers }]);
    let outcome = field.acts(to("/public", json!({ "x-leak": "${API_TOKEN}" }))).await;
    assert!(outcome.error().contains("HttpRequestDenied"));
    let log = outcome.log();
    assert!(log.contains("refused: the secret \"api-token\" towards GET http://"), "{log}");
    assert!(log.contains("to \"secrets\" of the driver's grant"), "{log}");
    // In a path or a body it stays what it is: a placeholder that is worth nothing.
    let act = json!([{ "act": "http", "method": "POST", "authority": peer.address.to_string(),
        "path": "/public?t=${API_TOKEN}", "body": "${API_TOKEN}" }]);
    let echoed = field.acts(act).await.only()["body"].as_str().unwrap().to_owned();
    assert!(echoed.contains("t=conveyor-secret-"), "{echoed}");
    // A placeholder that somebody wrote into the resource is nobody's.
    let forged = "conveyor-secret-00000000000000000000000000000000";
    let echoed = field.acts(to("/private", json!({ "x": forged }))).await.only()["body"].as_str().unwrap().to_owned();
    assert!(echoed.contains(forged), "{echoed}");
}

#[tokio::test]
async fn the_value_is_taken_out_of_logs_and_results() {
    let (peer, folder) = (Peer::start().await, tempfile::tempdir().unwrap());
    let field = Field::new(with_secret(folder.path())).await;
    field.grant(granted(&peer));
    // A guest that knows the value, by whatever way.
    let outcome = field
        .acts(json!([
            { "act": "say", "text": format!("before {VALUE} after") },
            { "act": "say", "text": format!("{}{VALUE}", "x".repeat((16 << 10) - 12)) },
            { "act": "tell", "text": format!("twice: {VALUE}{VALUE}") },
            { "act": "read", "path": format!("/{VALUE}") },
        ]))
        .await;
    let told = outcome.told();
    assert_eq!(told[2], "twice: [secret api-token][secret api-token]");
    let all = format!("{:?}{}", outcome.result, outcome.log());
    assert!(!all.contains(VALUE) && !all.contains(&VALUE[..8]), "the value is in the log or the result");
    assert!(outcome.log().contains("before [secret api-token] after"), "{}", outcome.log());
}

#[tokio::test]
async fn a_secret_that_is_replaced_is_used_at_once_and_one_that_is_missing_fails_the_call() {
    let (peer, folder) = (Peer::start().await, tempfile::tempdir().unwrap());
    let field = Field::new(with_secret(folder.path())).await;
    field.grant(granted(&peer));
    let act = json!([{ "act": "tell", "text": "the new value is another-value-42" }]);
    std::fs::write(folder.path().join("token"), "another-value-42").unwrap();
    assert_eq!(field.acts(act.clone()).await.only(), "the new value is [secret api-token]");
    std::fs::remove_file(folder.path().join("token")).unwrap();
    let failure = field.acts(act).await.result.unwrap_err();
    assert_eq!(failure.kind(), "retryable");
    assert!(failure.to_string().contains("the secret \"api-token\" cannot be had"), "{failure}");
}

#[tokio::test]
async fn variables_are_those_that_were_granted() {
    let field = Field::new(|config| {
        config.capabilities.env =
            serde_json::from_value(json!([{ "name": "REGION", "value": "eu" }, { "name": "APP_*" }])).unwrap();
    })
    .await;
    let env = json!([{ "act": "env" }]);
    assert_eq!(field.acts(env.clone()).await.only(), json!({}));
    field.grant(json!({ "env": [{ "name": "REGION" }, { "name": "APP_MODE", "value": "x" }, { "name": "PATH", "value": "/" }] }));
    let outcome = field.acts(env.clone()).await;
    assert_eq!(outcome.only(), json!({ "REGION": "eu", "APP_MODE": "x" }));
    assert_eq!(outcome.uses.uses.len(), 2, "{:?}", outcome.uses);
    let step = serde_json::from_value(json!({ "env": [{ "name": "APP_*" }] })).unwrap();
    let run = conveyor::model::RunId::new(jiff::Timestamp::now());
    assert_eq!(field.acts_of(run, Some(step), env).await.only(), json!({ "APP_MODE": "x" }));
}
