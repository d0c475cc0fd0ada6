//! Limits of a driver from the command line to the record of a run.

use std::fs;

use serde_json::json;

use crate::support::command::conveyor;
use crate::support::guest;
use crate::support::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_pushed_shown_set_and_hold() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let environment = [("CONVEYOR_COMPONENT__TRIP_AFTER", "2"), ("CONVEYOR_COMPONENT__MAXIMUM__HANDLES", "20000")];
    let server = Server::with(&[], &environment);
    let run = |arguments: &[&str]| conveyor(&server.url, arguments);
    let component = file("spin.wasm", &guest::spin());
    let limits = file("limits.yaml", b"wall_time_ms: 50\nfuel: 1000000000\n");
    let push = ["driver", "push", component.as_str(), "--name", "spin", "--resources", "app"];
    let pushed = run(&[push.as_slice(), &["--limits", &limits, "-o", "json"]].concat()).ok().json();
    assert_eq!(pushed["limits"], json!({ "wall_time_ms": 50, "fuel": 1_000_000_000 }));
    let shown = run(&["driver", "limits", "spin", "-o", "json"]).ok().json();
    assert_eq!(shown["effective"]["memory_bytes"], 64 << 20);
    assert_eq!((&shown["own"], &shown["maximum"]["handles"]), (&pushed["limits"], &json!(20_000)));

    server.define("app").await;
    server.pipeline("belt", &[("only", "spin")]).await;
    for name in ["one", "two"] {
        let run = server.finished(&server.submit(name, Some("belt")).await).await;
        let message = &run.steps[0].result.as_ref().unwrap().message;
        assert_eq!(message, "out of budget: time: more than 50 ms");
        assert!(run.steps[0].attempts[0].usage.is_some_and(|usage| usage.fuel.is_some()), "{run:#?}");
    }
    let driver = server.get("/drivers/spin").await.1;
    assert_eq!((&driver["breaker"]["state"], &driver["breaker"]["failures"]), (&json!("open"), &json!(2)), "{driver}");
    assert!(run(&["driver", "list"]).ok().out.contains("open"));
    assert!(server.metric("conveyor_component_cpu_seconds_total", "spin").await > 0.05);
    assert!((server.metric("conveyor_component_tripped", "spin").await - 1.0).abs() < f64::EPSILON);

    let others = file("others.json", br#"{"memory_bytes": 134217728}"#);
    let table = run(&["driver", "limits", "spin", "--set", &others]).ok().out;
    let row = table.lines().find(|line| line.contains("memory_bytes")).unwrap();
    assert!(row.contains("134217728") && row.contains("driver"), "{table}");
    assert_eq!(server.get("/drivers/spin").await.1["limits"], json!({ "memory_bytes": 134_217_728 }));
    for (name, text, cause) in [
        (
            "much.yaml",
            "handles: 20001",
            "limits.handles: 20001 is more than component.maximum.handles allows, which is 20000",
        ),
        ("word.yaml", "handels: 5", "unknown field `handels`"),
        ("none.yaml", "[1", "neither YAML nor JSON"),
    ] {
        let refused = run(&["driver", "limits", "spin", "--set", &file(name, text.as_bytes())]);
        assert!(refused.code != 0 && refused.err.contains(cause), "{}", refused.err);
        let refused = run(&[push.as_slice(), &["--limits", &file(name, text.as_bytes())]].concat());
        assert!(refused.code != 0 && refused.err.contains(cause), "{}", refused.err);
    }
}
