//! What `apply` reads.

use conveyor::cli::manifest::{Error, Kind, MAX_BYTES, parse};
use conveyor::model::{Grant, Pipeline};
use serde_json::{Value, json};

#[test]
fn documents_of_every_kind_are_read() {
    let text = "\
# A pipeline and what it takes.
kind: Resource
name: own
resource: lockfile
pipeline: audit
spec:
  path: Cargo.lock
  text: |
    name: x
     --- not a marker
---
kind: Pipeline
name: audit
resource: lockfile
version: 1.0
steps:
  - {id: parse, driver: parser}
  - driver: 'audit'
metadata: {depth: \"2\"}
--- # a comment behind the marker
kind: ResourceDefinition
name: lockfile
schema: {type: object, properties: {n: {minimum: 1.5}}}
...
---
# nothing
";
    let documents = parse(text).unwrap();
    let seen: Vec<(Kind, String)> = documents.iter().map(|document| (document.kind, document.label())).collect();
    let expected = [
        (Kind::Resource, "resource lockfile/own".to_owned()),
        (Kind::Pipeline, "pipeline audit".to_owned()),
        (Kind::ResourceDefinition, "definition lockfile".to_owned()),
    ];
    assert_eq!(seen, expected);
    let bodies: Vec<Value> = documents.into_iter().map(|document| document.body).collect();
    let expected = json!([
        {"name": "own", "resource": "lockfile", "pipeline": "audit",
         "spec": {"path": "Cargo.lock", "text": "name: x\n --- not a marker\n"}},
        {"name": "audit", "resource": "lockfile", "version": "1.0", "metadata": {"depth": "2"},
         "steps": [{"id": "parse", "name": "", "driver": "parser"}, {"id": "", "name": "", "driver": "audit"}]},
        {"name": "lockfile", "schema": {"type": "object", "properties": {"n": {"minimum": 1.5}}}},
    ]);
    assert_eq!(Value::Array(bodies), expected);
}

#[test]
fn json_is_read_too() {
    let resource = json!({"kind": "Resource", "name": "a", "resource": "t", "spec": {"n": [1, null, 1.5, true]}});
    let one = parse(&format!("{resource:#}")).unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].body["spec"], resource["spec"]);
    assert_eq!(parse(&format!("{resource}\n{resource:#}\n{resource}")).unwrap().len(), 3);
    let flow = parse("{kind: Resource, name: a, resource: t}\n---\n{kind: Resource, name: b, resource: t}").unwrap();
    assert_eq!(flow.len(), 2, "YAML may begin with a brace");
}

#[test]
fn yaml_and_json_say_the_same() {
    let yaml =
        "kind: Resource\nname: a\nresource: t\nspec: {a: [1, -2, 1.5, true, null, '1'], 7: x, t: 2026-01-01, n: no}";
    let json = json!({"a": [1, -2, 1.5, true, null, "1"], "7": "x", "t": "2026-01-01", "n": "no"});
    assert_eq!(parse(yaml).unwrap()[0].body["spec"], json);
}

#[test]
fn slips_are_named_with_document_and_line() {
    let good = "kind: Resource\nname: a\nresource: t\n---\n";
    for (rest, line, part) in [
        ("kind: Pipelin\nname: a\n", 5, "Pipelin"),
        ("name: a\n", 5, "kind"),
        ("kind: Resource\nname: a\nresource: t\ncolour: red\n", 8, "colour"),
        ("kind: Pipeline\nname: a\nresource: t\nsteps:\n- driver: x\n  retries: 3\n", 10, "retries"),
        ("kind: Pipeline\nname: a\nresource: t\nsteps: none\n", 8, "sequence"),
        ("kind: Resource\nname: a\nname: b\nresource: t\n", 7, "name"),
        ("kind: Resource\nname: [a\nresource: t\n", 7, ""),
        ("just a text\n", 5, ""),
    ] {
        match parse(&format!("{good}{rest}")).unwrap_err() {
            Error::Document { number: 2, line: Some(found), problem } => {
                assert_eq!(found, line, "{rest}: {problem}");
                assert!(problem.contains(part), "{rest}: {problem}");
                assert!(!problem.contains("line "), "{rest}: {problem}");
            }
            other => panic!("{rest}: {other}"),
        }
    }
}

#[test]
fn slips_in_json_are_named_with_document_and_line() {
    let text = "{\"kind\": \"Resource\", \"name\": \"a\", \"resource\": \"t\"}\n\n{\n  \"kind\": \"Resource\",\n  \"colour\": 1\n}";
    let error = parse(text).unwrap_err();
    assert!(error.to_string().starts_with("document 2, line 5: unknown field `colour`"), "{error}");
}

#[test]
fn what_is_missing_is_named() {
    for (text, field) in [
        ("kind: ResourceDefinition\nname: a", "schema"),
        ("kind: Pipeline\nname: a\nresource: t", "steps"),
        ("kind: Resource\nname: a", "resource"),
        ("kind: Resource\nresource: t", "name"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(field), "{text}: {error}");
    }
}

#[test]
fn bombs_do_not_go_off() {
    let mut bomb = "kind: Resource\nname: a\nresource: t\nspec:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        let line = format!("  a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(", "));
        bomb.push_str(&line);
    }
    let started = std::time::Instant::now();
    assert!(matches!(parse(&bomb), Err(Error::Document { number: 1, .. })));
    let long = "x".repeat(1 << 20);
    let many = ["*a"; 900].join(", ");
    let wide = format!("kind: Resource\nname: a\nresource: t\nspec: [&a {long}, {many}]\n");
    assert!(matches!(parse(&wide), Err(Error::Document { number: 1, .. })));
    let deep = format!("kind: Resource\nname: a\nresource: t\nspec: {}\n", "[".repeat(100_000));
    assert!(matches!(parse(&deep), Err(Error::Document { number: 1, .. })));
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn empty_and_overlong_files_are_refused() {
    for text in ["", "\n# nothing\n---\n", "---\n...\n"] {
        assert_eq!(parse(text), Err(Error::Empty), "{text:?}");
    }
    assert_eq!(parse(&" ".repeat(MAX_BYTES + 1)), Err(Error::TooLong(MAX_BYTES + 1)));
}

/// What the server takes of a pipeline can be said in a file.
#[test]
fn a_manifest_has_every_field_of_a_pipeline() {
    let concurrency = json!({ "group": "g", "limit": 2, "on_conflict": "reject" });
    let body = json!({
        "kind": "Pipeline", "name": "p", "description": "d", "version": "1", "resource": "app", "metadata": { "a": "b" },
        "steps": [{ "id": "s", "driver": "d" }], "deadline": "1h", "concurrency": concurrency,
    });
    let read = parse(&body.to_string()).unwrap().remove(0).body;
    let pipeline: Pipeline = serde_json::from_value(read).unwrap();
    let shown = serde_json::to_value(pipeline).unwrap();
    let fields =
        |value: &Value| value.as_object().unwrap().keys().filter(|key| *key != "kind").cloned().collect::<Vec<_>>();
    assert_eq!(fields(&shown), fields(&body));
    assert_eq!(shown["concurrency"], body["concurrency"]);
}

#[test]
fn the_pipelines_and_the_grant_of_the_readme_are_valid() {
    let (mut pipelines, mut grants) = (0, 0);
    for block in include_str!("../../../README.md").split("```yaml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        if text.starts_with("http:") {
            serde_saphyr::from_str::<Grant>(text).unwrap().validate("grant").unwrap();
            grants += 1;
            continue;
        }
        // One block shows the steps alone.
        let head = if text.starts_with("steps:") { "kind: Pipeline\nname: p\nresource: app\n" } else { "" };
        for document in parse(&format!("{head}{text}")).unwrap() {
            if document.kind == Kind::Pipeline {
                let mut body = document.body;
                body.as_object_mut().unwrap().remove("kind");
                serde_json::from_value::<Pipeline>(body).unwrap().validate().unwrap();
                pipelines += 1;
            }
        }
    }
    assert_eq!((pipelines, grants), (2, 1));
}
