//! A run that was exported, and a call of it that is made again where there is no server and no network.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::border::peers::Peer;
use crate::support::command::{Said, conveyor, offline};
use crate::support::guest::{self, built};
use crate::support::server::Server;

fn server() -> Server {
    let http =
        json!([{ "scheme": "any", "host": "*", "port": "any", "methods": ["any"], "addresses": ["127.0.0.0/8"] }]);
    Server::with(&[], &[("CONVEYOR_CAPABILITIES__HTTP", &http.to_string())])
}

/// Exports a run once all that its calls got from outside is written.
async fn exported(server: &Server, run: &str, file: &Path, flags: &[&str]) -> Value {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let mut arguments = vec!["run", "export", run, "--file", file.to_str().unwrap()];
        arguments.extend(flags);
        conveyor(&server.url, &arguments).ok();
        let bundle: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        if bundle["calls"].as_array().unwrap().iter().all(|call| call["transcript"].is_object()) {
            return bundle;
        }
        assert!(Instant::now() < until, "{bundle:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn replay(bundle: &Path, flags: &[&str]) -> Said {
    let mut arguments = vec!["driver", "replay", bundle.to_str().unwrap(), "-o", "json"];
    arguments.extend(flags);
    offline(&arguments, &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_made_again_with_the_time_the_chance_and_the_answers_that_it_had() {
    let (folder, peer, server) = (tempfile::tempdir().unwrap(), Peer::start().await, server());
    server.define("app").await;
    let authority = peer.address.to_string();
    let rule =
        json!({ "scheme": "http", "host": "127.0.0.1", "port": peer.address.port(), "addresses": ["127.0.0.0/8"] });
    let grant = json!({ "http": [rule] }).to_string();
    let query =
        reqwest::Url::parse_with_params("http://x/drivers/probe", [("resources", "app"), ("grant", &grant)]).unwrap();
    let path = format!("{}?{}", query.path(), query.query().unwrap());
    let (status, answer) = server.put_bytes(&path, built("probe")).await;
    assert!(status.is_success(), "{answer}");
    server.upload("other", guest::ok()).await;
    server.pipeline("probing", &[("first", "other"), ("probe", "probe")]).await;
    let acts = json!([
        { "act": "clock" }, { "act": "chance" }, { "act": "http", "authority": authority, "path": "/a?b=c" },
        { "act": "http", "authority": "nobody.example" }, { "act": "clock" }, { "act": "say", "text": "it was here" },
    ]);
    let body = json!({ "name": "one", "resource": "app", "pipeline": "probing", "spec": { "acts": acts } });
    let (status, accepted) = server.post("/resources", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{accepted}");
    let id = accepted["runid"].as_str().unwrap();
    let run = server.succeeded(id).await;
    let told = run.steps[1].result.as_ref().unwrap().data.clone();
    assert_eq!(told[2]["status"], 200, "{told}");

    let (with, without) = (folder.path().join("with.json"), folder.path().join("without.json"));
    // The first step got nothing from outside, so it has no transcript; only the second is waited for.
    let bundle = loop {
        conveyor(&server.url, &["run", "export", id, "--components", "--file", with.to_str().unwrap()]).ok();
        let bundle: Value = serde_json::from_slice(&std::fs::read(&with).unwrap()).unwrap();
        if bundle["calls"][1]["transcript"].is_object() {
            break bundle;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(bundle["calls"][0].get("transcript").is_none(), "{bundle:#}");
    assert_eq!(bundle["calls"][1]["transcript"]["http"][1]["error"], "HttpRequestDenied", "{bundle:#}");
    assert_eq!(bundle["calls"][1]["context"]["results"]["first"]["success"], true, "{bundle:#}");
    assert!(bundle["logs"].to_string().contains("it was here"), "{bundle:#}");
    conveyor(&server.url, &["run", "export", id, "--file", without.to_str().unwrap()]).ok();
    drop((peer, server));

    let said = replay(&with, &["--step", "probe"]).ok().json();
    assert_eq!(
        (&said["equal"], &said["strayed"], &said["result"]["data"]),
        (&json!(true), &json!([]), &told),
        "{said:#}"
    );
    assert_eq!(said["logs"], json!(["info: it was here"]));
    assert_eq!(replay(&with, &["--step", "first"]).ok().json()["equal"], true);
    // Another component asks for nothing of this and answers something else.
    let component = folder.path().join("other.wasm");
    std::fs::write(&component, guest::answer("1")).unwrap();
    let said = replay(&with, &["--step", "probe", "--component", component.to_str().unwrap()]);
    assert_eq!((said.code, &said.json()["equal"]), (13, &json!(false)), "{}", said.out);

    for (bundle, flags, code, text) in [
        (&without, ["--step", "probe"], 3, "--components"),
        (&with, ["--step", "nowhere"], 3, "first 1, probe 1"),
        (&component, ["--step", "probe"], 1, "cannot be read"),
    ] {
        let said = replay(bundle, &flags);
        assert_eq!(said.code, code, "{}", said.err);
        assert!(said.err.contains(text), "{}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_component_is_made_again_as_it_was() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    server.define("app").await;
    let (status, answer) = server.put_bytes("/drivers/policy?resources=app", built("policy-check")).await;
    assert!(status.is_success(), "{answer}");
    server.pipeline("checking", &[("check", "policy")]).await;
    let id = server.submit("one", Some("checking")).await;
    let run = server.finished(&id).await;
    let file = folder.path().join("run.json");
    let bundle = exported(&server, &id, &file, &["--components"]).await;
    assert!(bundle["calls"][0]["transcript"]["seed"].is_string(), "{bundle:#}");
    drop(server);
    let said = replay(&file, &["--step", "check"]).ok().json();
    let told = run.steps[0].result.as_ref().unwrap();
    assert_eq!(
        (&said["equal"], said["result"]["message"].as_str()),
        (&json!(true), Some(told.message.as_str())),
        "{said:#}"
    );
}
