//! The examples in TypeScript, Go and C, from their folders to a run that each of them can stop.

use serde_json::{Value, json};

use super::{Author, root};
use crate::support::server::Server;

const EXAMPLES: [(&str, &str); 3] =
    [("c", "text-check"), ("go", "changelog-check"), ("typescript", "dockerfile-check")];

fn spec() -> Value {
    json!({
        "version": "1.2.0",
        "changelog": "# Changelog\n\n## [1.2.0] - 2026-11-25\n\n- belts\n\n## [1.1.0] - 2026-10-01\n\n- rollers\n",
        "dockerfile": std::fs::read_to_string(root().join("tests/suite/authoring/Dockerfile")).unwrap(),
        "files": { "README.md": std::fs::read_to_string(root().join("README.md")).unwrap(), "empty": "" },
    })
}

/// A run of a release with one field of the spec replaced.
async fn release(server: &Server, name: &str, field: &str, value: &str) -> String {
    let mut spec = spec();
    if let Some(place) = spec.pointer_mut(field) {
        *place = value.into();
    }
    let body = json!({ "name": name, "resource": "release", "pipeline": "publish", "spec": spec });
    let (status, answer) = server.post("/resources", &body).await;
    assert!(status.is_success(), "{answer}");
    answer["runid"].as_str().unwrap().to_owned()
}

/// Memory for a spec is asked for while a component may call nobody, which Go would do to collect garbage.
fn takes_a_large_spec(author: &Author, folder: &str) {
    let file = author.temporary.path().join("large.json");
    let mut spec = spec();
    spec["files"]["empty"] = "0123456789abcde\n".repeat(384 << 10).into();
    let case = json!({ "request": { "resource": { "name": "large", "spec": spec } }, "expect": { "success": true } });
    std::fs::write(&file, case.to_string()).unwrap();
    author.conveyor(&author.folder, &["test", folder, "--event", file.to_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_go_and_c_hold_a_release() {
    let author =
        Author { temporary: tempfile::tempdir().unwrap(), folder: root().join("plugins"), server: Server::start() };
    let server = &author.server;
    server.define("release").await;
    for (folder, _) in EXAMPLES {
        // From outside of the folder: what is relative in its driver.toml is so to the folder.
        for command in ["build", "test", "push"] {
            author.conveyor(&author.folder, &[command, folder]);
        }
        takes_a_large_spec(&author, folder);
    }
    let steps = EXAMPLES.map(|(_, driver)| json!({ "driver": driver }));
    let body = json!({ "name": "publish", "resource": "release", "steps": steps });
    assert!(server.post("/pipelines", &body).await.0.is_success());
    let id = release(server, "good", "/nothing", "").await;
    let run = server.succeeded(&id).await;
    let data: Vec<&Value> = run.steps.iter().map(|step| &step.result.as_ref().unwrap().data).collect();
    assert_eq!((&data[0]["files"], &data[0]["problems"]), (&json!(2), &json!([])));
    assert_eq!((&data[1]["notes"], &data[1]["kind"]), (&json!("- belts"), &json!("minor")));
    assert_eq!((&data[2]["instructions"], &data[2]["problems"]), (&json!(4), &json!([])));
    let conflict = format!("{} HEAD\n", "<".repeat(7));
    for (name, field, value, told, logged) in [
        ("conflict", "/files/empty", conflict.as_str(), "empty:1 has a conflict that was not merged", "warn"),
        ("unchanged", "/version", "1.3.0", "the newest release of the changelog is 1.2.0, not 1.3.0", "warn"),
        ("floating", "/dockerfile", "FROM debian\nUSER app\n", "the image debian has no fixed version", "warn"),
        ("versionless", "/version", "soon", "\"soon\" is no version", ""),
    ] {
        let id = release(server, name, field, value).await;
        let run = server.finished(&id).await;
        assert!(run.head.message.contains(told), "{name}: {}", run.head.message);
        let (_, lines) = server.get(&format!("/logs?runid={id}")).await;
        let warned = lines.as_array().unwrap().iter().any(|line| line["level"] == "warn");
        assert_eq!(warned, logged == "warn", "{name}: {lines}");
    }
}
