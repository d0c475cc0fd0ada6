//! The commands on a driver's folder, and what they say of what is wrong.

use std::path::Path;

use crate::support::command::{conveyor, offline};
use crate::support::guest;
use crate::support::server::Server;

const MANIFEST: &str = "
name = 'talker'
resources = ['app', 'site']
build = 'cp made driver.wasm'
component = 'driver.wasm'
";

fn project(manifest: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("driver.toml"), manifest).unwrap();
    std::fs::write(folder.path().join("made"), guest::log(2)).unwrap();
    std::fs::create_dir(folder.path().join("cases")).unwrap();
    folder
}

fn case(folder: &Path, name: &str, expect: &str) -> String {
    let file = folder.join("cases").join(format!("{name}.json"));
    let text = format!(r#"{{ "request": {{ "resource": {{ "name": "one", "spec": {{}} }} }}, "expect": {expect} }}"#);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_built_inspected_tested_and_pushed() {
    let temporary = project(MANIFEST);
    let folder = temporary.path().to_str().unwrap();
    let said = offline(&["driver", "push", folder], &[]);
    assert!(said.code == 3 && said.err.contains("conveyor driver build"), "{}", said.err);
    let built = offline(&["driver", "build", folder, "-o", "json"], &[]).ok().json();
    assert_eq!(built["wit_version"], "0.1.0");
    let file = temporary.path().join("driver.wasm");
    let inspected = offline(&["driver", "inspect", file.to_str().unwrap(), "-o", "json"], &[]).ok().json();
    assert_eq!((&inspected["digest"], &inspected["exports"]), (&built["digest"], &built["exports"]));
    case(temporary.path(), "good", r#"{ "success": true }"#);
    let said = offline(&["driver", "test", folder, "-o", "json"], &[]).ok().json();
    assert_eq!(said[0]["logs"].as_array().unwrap().len(), 2, "{said}");
    let bad = case(temporary.path(), "bad", r#"{ "success": false, "data": { "a": 1 } }"#);
    let said = offline(&["driver", "test", folder], &[]);
    assert!(said.code == 1 && said.err.contains("1 of 2 cases failed"), "{}", said.err);
    assert!(said.out.contains("success is true, expected false"), "{}", said.out);
    assert!(offline(&["driver", "test", folder, "--event", &bad], &[]).err.contains("1 of 1 cases failed"));
    let server = Server::start();
    conveyor(&server.url, &["driver", "push", folder]).ok();
    let pushed = conveyor(&server.url, &["driver", "get", "talker", "-o", "json"]).ok().json();
    assert_eq!(pushed["resources"], serde_json::json!(["app", "site"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_is_tested_and_pushed_with_the_grant_that_it_needs() {
    let needs = format!("{MANIFEST}\n[[grant.folders]]\nname = 'scratch'\naccess = 'read-write'\n");
    let temporary = project(&needs);
    let folder = temporary.path().to_str().unwrap();
    std::fs::write(temporary.path().join("made"), guest::built("probe")).unwrap();
    offline(&["driver", "build", folder], &[]).ok();
    let request = serde_json::json!({ "request": { "resource": { "name": "one", "spec": { "acts": [
        { "act": "write", "path": "/scratch/a", "text": "kept" }, { "act": "read", "path": "/scratch/a" }
    ] } } }, "expect": { "data": [null, "kept"] } });
    std::fs::write(temporary.path().join("cases/keeps.json"), request.to_string()).unwrap();
    offline(&["driver", "test", folder], &[]).ok();
    // Another grant in its place.
    let none = temporary.path().join("none.yaml");
    std::fs::write(&none, "{}").unwrap();
    let said = offline(&["driver", "test", folder, "--grants", none.to_str().unwrap()], &[]);
    assert!(said.code == 1 && said.out.contains("data is"), "{} {}", said.out, said.err);
    std::fs::write(&none, "folders: [{ name: nowhere }]").unwrap();
    let said = offline(&["driver", "test", folder, "--grants", none.to_str().unwrap()], &[]);
    assert!(said.code == 2 && said.err.contains("capabilities.folders"), "{}", said.err);

    let server = Server::start();
    let said = conveyor(&server.url, &["driver", "push", folder]).ok();
    assert!(said.out.contains("--grant driver.toml"), "{}", said.out);
    let file = temporary.path().join("driver.toml");
    let said = conveyor(&server.url, &["driver", "push", folder, "--grant", file.to_str().unwrap()]).ok();
    assert!(!said.out.contains("granted nothing"), "{}", said.out);
    let granted = conveyor(&server.url, &["driver", "grant", "talker", "-o", "json"]).ok().json();
    assert_eq!(granted["folders"][0]["name"], "scratch", "{granted}");
}

#[test]
fn what_is_wrong_is_said_with_the_way_out() {
    let missing = format!("{MANIFEST}\n[[tools]]\nname = 'the kiln'\nprobe = 'false'\ninstall = 'buy a kiln'\n");
    let empty = tempfile::tempdir().unwrap();
    let remote = project("name = 'far'\nresources = ['app']\nrun = 'true'\n");
    let program = project("name = 'far'\nresources = ['app']\nstart = 'python3 far.py'\n");
    for (folder, command, code, told) in [
        (&project(&missing), "build", 2, "buy a kiln"),
        (&project("name = 'x'\nresource = ['app']\n"), "build", 2, "resource"),
        (&empty, "test", 2, "conveyor driver new"),
        (&project(&MANIFEST.replace("cp made", "cp nothing")), "build", 1, "the build failed: cp nothing"),
        (&remote, "push", 2, "conveyor driver exec"),
        (&program, "push", 2, "python3 far.py"),
    ] {
        let said = offline(&["driver", command, folder.path().to_str().unwrap()], &[]);
        assert!(said.code == code && said.err.contains(told), "{command} {} {}", said.code, said.err);
    }
    let there = empty.path().to_str().unwrap();
    for (arguments, told) in [
        (&["new", "a", "--lang", "cobol"][..], "cobol"),
        (&["new", "a", "--lang", "rust", "--folder", there], "--folder"),
        (&["new", "A.b", "--lang", "rust"], "A.b"),
        (&["inspect", "/dev/null"], "empty"),
        (&["push", "/dev/null"], "--name"),
    ] {
        let said = offline(&[&["driver"], arguments].concat(), &[]);
        assert!(said.code == 2 && said.err.contains(told), "{arguments:?} {}", said.err);
    }
}
