//! One source of a driver, as a component and as a remote driver, in one pipeline.

use std::path::Path;

use serde_json::{Value, json};

use super::Author;

/// The author has pushed the component `greeter`. A remote driver gets its `reconcile`, byte for byte, and says the same.
pub async fn says_the_same(author: &Author, language: &str, reconcile: &str, prepare: impl Fn(&Path)) {
    let far = author.folder.with_file_name("far");
    let new = ["new", "far", "--lang", language, "--remote", "--folder", far.to_str().unwrap()];
    author.conveyor(super::root(), &new);
    std::fs::copy(author.folder.join(reconcile), far.join(reconcile)).unwrap();
    prepare(&far);
    author.build_and_test(&far);
    let _running = author.started(&far);
    let server = &author.server;
    server.pipeline("both", &[("here", "greeter"), ("there", "far")]).await;
    let body = json!({ "name": "two", "resource": "app", "pipeline": "both", "spec": { "who": "<é>" } });
    let (_, answer) = server.post("/resources", &body).await;
    let id = answer["runid"].as_str().unwrap();
    let run = server.succeeded(id).await;
    let [here, mut there] = [0, 1].map(|step| run.steps[step].result.clone().unwrap());
    if language == "rust" {
        // `driver exec` takes the message from the data and leaves it there as well.
        there.data.as_object_mut().unwrap().remove("message");
    }
    assert_eq!((here.message.as_str(), &here.data), ("Hello, <é>!", &json!({ "greeting": "Hello, <é>!" })));
    assert_eq!((here.success, here.message, here.data), (there.success, there.message, there.data));
    let mut lines = server.logged(id, "", 2).await;
    let told = |line: &Value| (line["level"].clone(), line["message"].clone());
    lines.sort_by_key(|line| line["step"].to_string());
    assert_eq!(told(&lines[0]), told(&lines[1]));
    let steps = json!([{ "id": "there", "driver": "far", "retry": { "max_attempts": 3 } }]);
    let body = json!({ "name": "nobody", "resource": "app", "steps": steps });
    assert!(server.post("/pipelines", &body).await.0.is_success());
    let body = json!({ "name": "permanent", "resource": "app", "pipeline": "nobody", "spec": { "who": "" } });
    let (_, answer) = server.post("/resources", &body).await;
    let run = server.finished(answer["runid"].as_str().unwrap()).await;
    assert_eq!(run.steps[0].attempts.len(), 1, "what is permanent is not tried again: {}", run.head.message);
}
