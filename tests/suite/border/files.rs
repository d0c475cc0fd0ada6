//! Folders: those that were granted, with the access that was granted, and no way out of them.

use std::os::unix::fs::PermissionsExt as _;

use conveyor::config::{Config, Folder};
use conveyor::model::{Access, RunId};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Field;

/// A workspace of the operator with a file, a link to a file beside it, and one to the folder above.
struct Workspace {
    root: TempDir,
}

impl Workspace {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let inside = root.path().join("work");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(inside.join("inside.txt"), "inside").unwrap();
        std::fs::write(root.path().join("outside.txt"), "outside").unwrap();
        std::os::unix::fs::symlink("../outside.txt", inside.join("link")).unwrap();
        std::os::unix::fs::symlink(root.path(), inside.join("up")).unwrap();
        std::os::unix::fs::symlink("inside.txt", inside.join("good-link")).unwrap();
        Self { root }
    }

    fn config(&self, access: Access) -> impl Fn(&mut Config) {
        let path = self.root.path().join("work");
        move |config| {
            config.capabilities.folders.insert("work".into(), Folder { path: path.clone(), access });
        }
    }

    fn outside(&self) -> String {
        std::fs::read_to_string(self.root.path().join("outside.txt")).unwrap()
    }
}

fn read(path: &str) -> Value {
    json!({ "act": "read", "path": path })
}

fn write(path: &str) -> Value {
    json!({ "act": "write", "path": path, "text": "written" })
}

/// Paths that lead out of a folder, or would for a host that does not look.
fn escapes(folder: &str) -> Vec<String> {
    let inside = [
        "../outside.txt",
        "../../etc/passwd",
        "x/../../outside.txt",
        "./../outside.txt",
        "link",
        "up/outside.txt",
        "up/../outside.txt",
        "..",
        "good-link/../../outside.txt",
        "up",
        "mine",
        "mine-absolute",
        "mine-up/outside.txt",
    ];
    let absolute =
        ["/etc/passwd", "/proc/self/environ", "/outside.txt", "outside.txt", "../outside.txt", "//etc/passwd"];
    inside.iter().map(|path| format!("{folder}/{path}")).chain(absolute.map(str::to_owned)).collect()
}

#[tokio::test]
async fn without_a_grant_there_are_no_files() {
    let field = Field::new(|_| {}).await;
    let told = field.acts(json!([read("/etc/passwd"), { "act": "list", "path": "/" }, write("/tmp/x")])).await.told();
    for told in told {
        assert!(told["error"].is_string(), "{told}");
    }
}

#[tokio::test]
async fn a_folder_that_is_read_is_not_written() {
    let workspace = Workspace::new();
    // The operator lets it be written, the driver was granted to read: the less holds. And the other way round.
    for (maximum, granted) in [(Access::ReadWrite, Access::Read), (Access::Read, Access::ReadWrite)] {
        let field = Field::new(workspace.config(maximum)).await;
        field.grant(json!({ "folders": [{ "name": "work", "access": granted }] }));
        let outcome = field
            .acts(json!([
                read("/work/inside.txt"),
                read("/work/good-link"),
                write("/work/new.txt"),
                write("/work/inside.txt"),
                { "act": "remove", "path": "/work/inside.txt" },
                { "act": "link", "path": "/work/mine", "target": "inside.txt" },
            ]))
            .await;
        let told = outcome.told();
        assert_eq!(told[..2], ["inside", "inside"]);
        for told in &told[2..] {
            assert!(told["error"].is_string(), "{told}");
        }
        let log = outcome.log();
        let line = r#"add {"name":"work","access":"read-write"} to"#;
        assert!(log.contains("refused: writing to the folder \"work\" is not granted") && log.contains(line), "{log}");
        assert!(outcome.uses.uses.iter().any(|used| used.refused && used.count == 4), "{:?}", outcome.uses);
    }
    assert_eq!(std::fs::read_dir(workspace.root.path().join("work")).unwrap().count(), 4, "something was written");
}

#[tokio::test]
async fn no_path_and_no_link_leads_out_of_a_folder() {
    let workspace = Workspace::new();
    let field = Field::new(workspace.config(Access::ReadWrite)).await;
    field.grant(json!({ "folders": [{ "name": "work", "access": "read-write" }] }));
    // The guest's own links, which it may make and cannot follow out.
    let target = workspace.root.path().join("outside.txt").display().to_string();
    let links = json!([
        { "act": "link", "path": "/work/mine", "target": "../outside.txt" },
        { "act": "link", "path": "/work/mine-absolute", "target": target },
        { "act": "link", "path": "/work/mine-up", "target": ".." },
    ]);
    field.acts(links).await.told();
    for path in escapes("/work") {
        let told = field.acts(json!([read(&path), write(&path), { "act": "list", "path": path }])).await.told();
        for told in &told {
            let text = told.to_string();
            // What a path means for the guest may lie inside; what is outside never comes in.
            assert!(!text.contains("outside\"") && !text.contains("root:") && !text.contains("work"), "{path}: {text}");
        }
        assert_eq!(workspace.outside(), "outside", "{path} was written through");
    }
    assert_eq!(field.acts(json!([read("/work/inside.txt")])).await.only(), "inside");
}

#[tokio::test]
async fn the_scratch_folder_is_shared_within_a_run_and_with_nobody_else() {
    let field = Field::new(|_| {}).await;
    field.grant(json!({ "folders": [{ "name": "scratch", "access": "read-write" }] }));
    let (run, other) = (RunId::new(Timestamp::now()), RunId::new(Timestamp::now()));
    assert_eq!(field.acts_of(run, None, json!([write("/scratch/a.txt")])).await.only(), Value::Null);
    assert_eq!(field.acts_of(run, None, json!([read("/scratch/a.txt")])).await.only(), "written");
    let told = field
        .acts_of(
            other,
            None,
            json!([
                read("/scratch/a.txt"),
                read(&format!("/scratch/../{run}/a.txt")),
                { "act": "list", "path": "/scratch" },
            ]),
        )
        .await
        .told();
    assert!(told[0]["error"].is_string() && told[1]["error"].is_string(), "{told:?}");
    assert_eq!(told[2], json!([]));
    let folder = field.data.path().join("scratch").join(run.to_string());
    assert_eq!(std::fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_scratch_folder_does_not_fill_the_disk() {
    let field = Field::new(|config| {
        config.capabilities.scratch_bytes = 8 << 20;
        config.component.wall_time_ms = 20_000;
    })
    .await;
    field.grant(json!({ "folders": [{ "name": "scratch", "access": "read-write" }] }));
    let run = RunId::new(Timestamp::now());
    let fill = json!([{ "act": "fill", "path": "/scratch/large", "mebibytes": 100_000 }]);
    for _ in 0..2 {
        let failure = field.acts_of(run, None, fill.clone()).await.result.unwrap_err().to_string();
        assert!(failure.contains("scratch: more than 8388608 bytes"), "{failure}");
    }
}

#[tokio::test]
async fn a_scratch_folder_is_not_nested_without_end() {
    let field = Field::new(|config| config.component.wall_time_ms = 20_000).await;
    field.grant(json!({ "folders": [{ "name": "scratch", "access": "read-write" }] }));
    let outcome = field.acts(json!([{ "act": "nest", "path": "/scratch", "levels": 1_000_000 }])).await;
    let failure = outcome.result.unwrap_err().to_string();
    assert!(failure.contains("scratch: folders are nested deeper than 64"), "{failure}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_fails_the_call_and_says_so() {
    let field = Field::new(|config| {
        let path = "/nowhere/at/all".into();
        config.capabilities.folders.insert("gone".into(), Folder { path, access: Access::Read });
    })
    .await;
    field.grant(json!({ "folders": [{ "name": "gone" }] }));
    let failure = field.acts(json!([])).await.result.unwrap_err();
    assert_eq!(failure.kind(), "retryable");
    assert!(failure.to_string().contains("the folder \"gone\" cannot be had"), "{failure}");
}
