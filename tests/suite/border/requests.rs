//! A request goes where three grants let it go, and one that is refused says what to add.

use std::sync::atomic::Ordering;

use conveyor::model::{Capability, Grant, HttpGrant};
use serde_json::{Value, json};

use super::peers::Peer;
use super::{Field, loopback, rule};

#[tokio::test]
async fn a_request_that_is_granted_arrives_as_it_was_checked() {
    let peer = Peer::start().await;
    let field = Field::new(loopback).await;
    field.grant(json!({ "http": [rule(peer.address)] }));
    let act = json!({ "act": "http", "method": "POST", "authority": peer.address.to_string(), "path": "/a/b?c=d",
        "headers": { "x-mark": "one" }, "body": "text" });
    let outcome = field.acts(json!([act])).await;
    let answer = outcome.only();
    assert_eq!(answer["status"], 200);
    let head = answer["body"].as_str().unwrap();
    assert!(head.starts_with("POST /a/b?c=d HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {}\r\n", peer.address)), "{head}");
    assert!(head.contains("x-mark: one\r\n"), "{head}");
    let [used] = outcome.uses.uses.as_slice() else { panic!("{:?}", outcome.uses) };
    assert!(!used.refused && used.used.capability() == Capability::Http, "{used:?}");
}

/// The line in the log is the cure: added to the grant, it lets the same request through, and nothing else.
#[tokio::test]
async fn a_refusal_names_the_line_that_would_grant_it() {
    let peer = Peer::start().await;
    let field = Field::new(loopback).await;
    let act = |path: &str| json!([{ "act": "http", "authority": peer.address.to_string(), "path": path }]);
    let mut rules: Vec<Value> = Vec::new();
    // The first line grants the destination, the second its address.
    for error in ["HttpRequestDenied", "DestinationIpProhibited"] {
        let outcome = field.acts(act("/v1/things")).await;
        assert!(outcome.error().contains(error), "{}", outcome.error());
        let log = outcome.log();
        let (_, rest) = log.split_once(" is not granted: add ").unwrap_or_else(|| panic!("no line in the log: {log}"));
        let (line, place) = rest.split_once(" to ").unwrap();
        assert_eq!(place.trim(), "\"http\" of the driver's grant");
        rules.push(serde_json::from_str(line).unwrap());
        field.grant(json!({ "http": rules }));
        assert!(outcome.uses.uses.iter().all(|used| used.refused), "{:?}", outcome.uses);
        // Refused, and yet it is told what it would have taken.
        let wanted = outcome.uses.least_grant(&Grant::default(), true);
        assert_eq!(wanted.http, vec![serde_json::from_str::<HttpGrant>(line).unwrap()]);
    }
    assert_eq!(field.acts(act("/v1/things")).await.only()["status"], 200);
    assert!(field.acts(act("/v1/thingsandmore")).await.error().contains("HttpRequestDenied"));
    assert_eq!(peer.met.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_operator_and_the_step_narrow_what_the_driver_was_granted() {
    let peer = Peer::start().await;
    let acts = json!([{ "act": "http", "authority": peer.address.to_string(), "path": "/v1/x" }]);
    let run = || conveyor::model::RunId::new(jiff::Timestamp::now());
    let granted = json!({ "http": [rule(peer.address)] });

    // The operator lets nobody be granted these addresses: the default.
    let field = Field::new(|_| {}).await;
    field.grant(granted.clone());
    let outcome = field.acts(acts.clone()).await;
    assert!(outcome.error().contains("DestinationIpProhibited"), "{}", outcome.error());
    assert!(outcome.log().contains("capabilities.http of the configuration"), "{}", outcome.log());

    let field = Field::new(loopback).await;
    field.grant(granted);
    let step = |value: Value| Some(serde_json::from_value::<Grant>(value).unwrap());
    let narrow = json!({ "scheme": "http", "host": "127.0.0.1", "port": "any", "path": "/v2" });
    for (grant, error) in [
        (json!({}), true),
        (json!({ "http": [narrow] }), true),
        (
            json!({ "http": [
        { "scheme": "http", "host": "*", "port": "any", "path": "/v1" }] }),
            false,
        ),
    ] {
        let outcome = field.acts_of(run(), step(grant.clone()), acts.clone()).await;
        if error {
            assert!(outcome.error().contains("HttpRequestDenied"), "{grant}: {}", outcome.error());
            assert!(outcome.log().contains("\"http\" of the step's grant"), "{}", outcome.log());
        } else {
            assert_eq!(outcome.only()["status"], 200, "{grant}");
        }
    }
}

/// The guest gets an error that it can handle, for what no grant could allow as well.
#[tokio::test]
async fn methods_schemes_and_headers_that_nobody_may_send_are_refused() {
    let peer = Peer::start().await;
    let field = Field::new(loopback).await;
    field.grant(json!({ "http": [{ "scheme": "any", "host": "*", "port": "any", "methods": ["any"],
        "addresses": ["127.0.0.0/8"] }] }));
    let authority = peer.address.to_string();
    let told = field
        .acts(json!([
            { "act": "http", "authority": authority, "method": "CONNECT" },
            { "act": "http", "authority": authority, "method": "TRACE" },
            { "act": "http", "authority": authority, "scheme": "file" },
            { "act": "http", "authority": authority, "headers": { "host": "elsewhere.example" } },
            { "act": "http", "authority": authority, "headers": { "transfer-encoding": "chunked" } },
            { "act": "http", "authority": authority, "headers": { "x-split": "a\r\nx-more: b" } },
            { "act": "http", "authority": authority, "path": "/a\r\nHost: elsewhere" },
        ]))
        .await
        .told();
    for told in &told {
        assert!(told["error"].is_string(), "{told}");
    }
    assert_eq!(peer.met.load(Ordering::SeqCst), 0);
}
