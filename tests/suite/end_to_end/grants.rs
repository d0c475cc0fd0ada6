//! Grants from the outside: given with an upload and after it, told in lists and metrics, looked at before a run begins,
//! and compared with what was used.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::border::peers::Peer;
use crate::support::command::conveyor;
use crate::support::guest::{self, built};
use crate::support::server::Server;

/// A server whose operator lets drivers be granted the loopback addresses, and a secret.
fn server(folder: &Path) -> Server {
    std::fs::write(folder.join("token"), "s3cr3t-of-the-server").unwrap();
    let http =
        json!([{ "scheme": "any", "host": "*", "port": "any", "methods": ["any"], "addresses": ["127.0.0.0/8"] }]);
    let secrets = json!({ "token": { "file": folder.join("token") } });
    let variables = [
        ("CONVEYOR_CAPABILITIES__HTTP", http.to_string()),
        ("CONVEYOR_CAPABILITIES__SECRETS", secrets.to_string()),
        ("CONVEYOR_CAPABILITIES__USE_FLUSH_MS", "50".to_owned()),
        ("CONVEYOR_CAPABILITIES__SCRATCH_SWEEP_MS", "50".to_owned()),
    ];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Server::with(&[], &variables)
}

async fn tried(server: &Server, name: &str, acts: Value) -> Vec<Value> {
    let body = json!({ "name": name, "resource": "app", "pipeline": "probing", "spec": { "acts": acts } });
    let (status, accepted) = server.post("/resources", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{accepted}");
    let run = server.succeeded(accepted["runid"].as_str().unwrap()).await;
    run.steps[0].result.as_ref().unwrap().data.as_array().unwrap().clone()
}

fn grant(port: u16) -> String {
    format!(
        "
http:
  - {{ scheme: http, host: 127.0.0.1, port: {port}, methods: [GET, POST], addresses: [127.0.0.0/8] }}
  - {{ host: unused.example }}
folders: [{{ name: scratch, access: read-write }}]
secrets: [{{ name: token, to: [{{ scheme: http, host: 127.0.0.1, port: {port} }}] }}]
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_is_granted_what_a_file_says_and_its_use_is_compared_with_it() {
    let (folder, peer) = (tempfile::tempdir().unwrap(), Peer::start().await);
    let server = server(folder.path());
    let run = |arguments: &[&str]| conveyor(&server.url, arguments);
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    server.define("app").await;
    let port = peer.address.port();
    let grant = file("grant.yaml", grant(port).as_bytes());
    let component = file("probe.wasm", &built("probe"));
    run(&["driver", "push", &component, "--name", "probe", "--resources", "app", "--grant", &grant]).ok();
    let (_, driver) = server.get("/drivers/probe").await;
    assert_eq!(driver["grant"]["http"][0]["port"], port, "{driver}");
    // New bytes keep the grant.
    run(&["driver", "push", &component, "--name", "probe", "--resources", "app"]).ok();
    assert_eq!(run(&["driver", "grant", "probe", "-o", "json"]).ok().json(), driver["grant"]);

    server.pipeline("probing", &[("probe", "probe")]).await;
    let authority = peer.address.to_string();
    let told = tried(
        &server,
        "first",
        json!([
            { "act": "http", "authority": authority, "path": "/a/b", "headers": { "authorization": "${TOKEN}" } },
            { "act": "http", "authority": authority, "path": "/a/c" },
            { "act": "http", "authority": authority, "path": "/a", "method": "PUT" },
            { "act": "http", "authority": "nobody.example" },
            { "act": "list", "path": "/scratch" },
        ]),
    )
    .await;
    assert!(told[0]["body"].as_str().unwrap().contains("authorization: [secret token]"), "{told:?}");
    assert!(told[2]["error"].as_str().unwrap().contains("HttpRequestDenied"), "{told:?}");
    server.counted("conveyor_capability_refused_total", r#"capability="http""#, 2.0).await;

    let usage = used(&server, |usage| usage["used"].as_array().is_some_and(|used| used.len() >= 3)).await;
    assert_eq!(usage["granted"], driver["grant"]);
    let least = json!({
        "http": [{ "scheme": "http", "host": "127.0.0.1", "port": port, "methods": ["GET"], "path": "/a",
            "addresses": ["127.0.0.1/32"] }],
        "folders": [{ "name": "scratch", "access": "read" }],
        "secrets": [{ "name": "token", "to": [{ "scheme": "http", "host": "127.0.0.1", "port": port, "methods": ["GET"],
            "path": "/a/b" }] }],
    });
    assert_eq!(usage["least"], least, "{usage}");
    assert_eq!(usage["refused"].as_array().unwrap().len(), 2, "{usage}");
    assert!(usage["wanted"].to_string().contains("nobody.example"), "{usage}");
    // What is proposed is a file for the command, and enough for the same again.
    let least = file("least.json", usage["least"].to_string().as_bytes());
    run(&["driver", "grant", "probe", &least]).ok();
    let again = tried(
        &server,
        "second",
        json!([
            { "act": "http", "authority": authority, "path": "/a/b", "headers": { "authorization": "${TOKEN}" } },
            { "act": "http", "authority": authority, "path": "/a/b/../../x" },
            { "act": "list", "path": "/scratch" },
        ]),
    )
    .await;
    assert_eq!(again[0]["status"], 200, "{again:?}");
    assert!(again[1]["error"].is_string(), "{again:?}");
    assert_eq!(again[2], json!([]));
    assert!(run(&["driver", "usage", "probe"]).ok().out.contains("least:"));

    scratch_is_gone(&server).await;
    // A driver of the same name that comes later is granted nothing, and used nothing.
    run(&["driver", "delete", "probe"]).ok();
    run(&["driver", "push", &component, "--name", "probe", "--resources", "app"]).ok();
    let (_, usage) = server.get("/drivers/probe/usage").await;
    assert_eq!((&usage["granted"], &usage["used"]), (&json!({}), &json!([])), "{usage}");
}

/// Waits until the scratch folders of runs that ended are gone.
async fn scratch_is_gone(server: &Server) {
    let scratch = server.folder().join("scratch");
    let until = Instant::now() + Duration::from_secs(10);
    while std::fs::read_dir(&scratch).unwrap().count() > 0 {
        assert!(Instant::now() < until, "the scratch folder of a run that ended is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the uses that were written are as wanted.
async fn used(server: &Server, wanted: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let (status, usage) = server.get("/drivers/probe/usage").await;
        assert_eq!(status, StatusCode::OK, "{usage}");
        if wanted(&usage) {
            return usage;
        }
        assert!(Instant::now() < until, "{usage}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_cannot_be_given_is_refused_with_the_place_and_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    server.define("app").await;
    server.upload("good", guest::ok()).await;
    for (grant, text) in [
        (json!({ "folders": [{ "name": "work" }] }), "grant.folders[0].name: \"work\" cannot be granted"),
        (
            json!({ "secrets": [{ "name": "key", "to": [{ "host": "a.org" }] }] }),
            "capabilities.secrets of the configuration has token",
        ),
        (json!({ "secrets": [{ "name": "token" }] }), "grant.secrets[0].to: name the destinations"),
        (json!({ "env": [{ "name": "REGION" }] }), "grant.env[0].value: \"REGION\" has no value"),
        (json!({ "http": [{ "host": "0x7f.1" }] }), "four decimal numbers"),
    ] {
        let (status, error) = server.put("/drivers/good/grants", &grant).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{grant}: {error}");
        assert!(error["error"].as_str().unwrap().contains(text), "{grant}: {error}");
    }
    let (status, error) = server.put("/drivers/nobody/grants", &json!({})).await;
    assert_eq!((status, error["code"].as_str()), (StatusCode::NOT_FOUND, Some("driver_not_found")));
    let (status, error) = server.put_bytes("/drivers/good?resources=app&grant=%7B%22x%22%3A1%7D", guest::ok()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_cannot_do_is_said_before_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    server.define("app").await;
    server.define("site").await;
    server.upload("good", guest::ok()).await;
    server.upload("probe", built("probe")).await;
    let pipeline = |resource: &str, driver: &str, grant: Value| {
        let mut step = json!({ "id": "one", "driver": driver });
        if !grant.is_null() {
            step["grant"] = grant;
        }
        json!({ "name": "belt", "resource": resource, "steps": [step] })
    };
    let (status, error) = server.post("/pipelines", &pipeline("site", "good", Value::Null)).await;
    assert_eq!((status, error["code"].as_str()), (StatusCode::BAD_REQUEST, Some("driver_mismatch")), "{error}");
    assert!(error["error"].as_str().unwrap().contains("acts on app, not on \"site\""), "{error}");

    let needs = json!({ "http": [{ "host": "a.org" }], "folders": [{ "name": "scratch" }] });
    let (status, error) = server.post("/pipelines", &pipeline("app", "good", needs)).await;
    assert_eq!((status, error["code"].as_str()), (StatusCode::BAD_REQUEST, Some("not_granted")), "{error}");
    assert!(error["error"].as_str().unwrap().contains("needs http and folders"), "{error}");

    let (status, saved) = server.post("/pipelines", &pipeline("app", "good", Value::Null)).await;
    assert_eq!((status, saved.get("warnings")), (StatusCode::CREATED, None), "{saved}");
    let (status, saved) = server.put("/pipelines/belt", &pipeline("app", "probe", Value::Null)).await;
    assert_eq!(status, StatusCode::OK, "{saved}");
    let text = "driver \"probe\" of step \"one\" imports wasi:http/outgoing-handler, but no http is granted";
    assert!(saved["warnings"][0].as_str().unwrap().contains(text), "{saved}");
    let resource = json!({ "name": "shop", "resource": "app", "pipeline": "belt", "spec": { "acts": [] } });
    let (status, accepted) = server.post("/resources", &resource).await;
    assert_eq!(status, StatusCode::CREATED, "{accepted}");
    assert!(accepted["warnings"][0].as_str().unwrap().contains(text), "{accepted}");

    // A driver that was uploaded anew for other types is found when the next resource comes.
    let (status, _) = server.put_bytes("/drivers/probe?resources=site", built("probe")).await;
    assert_eq!(status, StatusCode::OK);
    let other = json!({ "name": "other", "resource": "app", "pipeline": "belt", "spec": { "acts": [] } });
    let (status, error) = server.post("/resources", &other).await;
    assert_eq!((status, error["code"].as_str()), (StatusCode::BAD_REQUEST, Some("driver_mismatch")), "{error}");
}
