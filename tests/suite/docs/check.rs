//! Blocks that are data: each is read as what the page says it is.

use std::collections::BTreeMap;
use std::process::Command;

use conveyor::cli::manifest::{Kind, parse};
use conveyor::cli::project::Project;
use conveyor::cli::settings::{Flags, load};
use conveyor::model::{CancelSignal, DriverMessage, LogLine, Pipeline, PipelineEvent, Resource, RunId, SharedContext};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::page::Block;
use super::root;

/// Of a message: it is read and written, and is the same; so it has no field that the code does not know.
pub fn json(block: &Block) {
    let value: Value = serde_json::from_str(&block.text).unwrap_or_else(|error| panic!("line {}: {error}", block.line));
    match block.words.first().map(String::as_str) {
        Some("DriverMessage") => {
            let message: DriverMessage = same(&value);
            serde_json::from_str::<Resource>(&message.payload).unwrap();
        }
        Some("PipelineEvent") => drop(same::<PipelineEvent>(&value)),
        Some("LogLine") => drop(same::<LogLine>(&value)),
        Some("CancelSignal") => drop(same::<CancelSignal>(&value)),
        Some("consumer") => assert_eq!(value, consumer()),
        Some("Request") => {
            same::<Resource>(&value["resource"]);
            same::<SharedContext>(&value["context"]);
            same::<RunId>(&value["run_id"]);
            let fields: Vec<&String> = value.as_object().unwrap().keys().collect();
            assert_eq!(fields, ["attempt", "context", "event", "resource", "run_id", "step"]);
        }
        Some(other) => panic!("line {}: {other} is no type that is known here", block.line),
        // A case of a driver.
        None => {
            serde_json::from_value::<Resource>(value["request"]["resource"].clone()).unwrap();
            assert!(value["expect"].is_object());
        }
    }
}

fn same<T: DeserializeOwned + Serialize>(value: &Value) -> T {
    let read: T = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(&serde_json::to_value(&read).unwrap(), value);
    read
}

/// What the library asks for: that of Python, which the others are held to by `remote::conformance`.
fn consumer() -> Value {
    let program = "import json; from remote import wire; \
                   print(json.dumps(wire.consumer('echo', wire.filters('echo', ['app']), 10_000, 1_000)))";
    let python = root().join(".cache/venv/bin/python");
    let said = Command::new(python).args(["-c", program]).current_dir(root().join("plugins/remote/python")).output();
    serde_json::from_slice(&said.unwrap().stdout).unwrap()
}

/// A `driver.toml`, the manifest of a program that embeds us, or settings.
pub fn toml(block: &Block) {
    let folder = tempfile::tempdir().unwrap();
    match block.file() {
        Some("driver.toml") => {
            std::fs::write(folder.path().join("driver.toml"), &block.text).unwrap();
            Project::read(folder.path()).unwrap();
        }
        Some("Cargo.toml") => {
            let said: Value = toml_of(&block.text);
            let own = toml_of(&std::fs::read_to_string(root().join("Cargo.toml")).unwrap());
            for (name, dependency) in said["dependencies"].as_object().unwrap() {
                let known = if name == "conveyor" { &json!({}) } else { &own["dependencies"][name] };
                assert!(!known.is_null(), "{name} is no dependency of ours");
                let version = |value: &Value| value.get("version").unwrap_or(value).clone();
                assert!(name == "conveyor" || version(known) == version(dependency), "{name} has another version here");
            }
        }
        _ => {
            std::fs::write(folder.path().join("conveyor.toml"), &block.text).unwrap();
            load(&Flags::default(), &BTreeMap::new(), folder.path()).unwrap();
        }
    }
}

fn toml_of(text: &str) -> Value {
    toml::from_str(text).unwrap()
}

/// What `apply` takes.
pub fn yaml(block: &Block) {
    for document in parse(&block.text).unwrap_or_else(|error| panic!("line {}: {error}", block.line)) {
        if document.kind == Kind::Pipeline {
            serde_json::from_value::<Pipeline>(document.body).unwrap().validate().unwrap();
        }
    }
}
